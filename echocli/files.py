"""Files that are either whole or absent."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TextIO

from echocli.errors import NO_SPACE, UsageError, unwritable
from echocli.locks import lock

LONG, SHORT = 200, 40
"""A name of more bytes is cut to so many letters where something is added to it."""
MOVED = ".old"
"""Ending of what had a name until something new was ready to take it."""
TEMPORARY = re.compile(r"[0-9a-f]{8}\.(tmp(\.[a-z]+)?|old)$")
"""How temporary files and folders end, and what is written beside them."""
LITTER = frozenset((".DS_Store", "Thumbs.db", "desktop.ini"))
"""What file managers leave in every folder that somebody looks at."""
DAMAGED = (ValueError, TypeError, LookupError, AttributeError, RecursionError, csv.Error)
"""What a file that was changed since we wrote it may make its reader raise; what cannot even be
opened is an ``OSError``."""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sums_of(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of some files of a folder by name, to be written beside them."""
    return {name: sha256_of(folder / name) for name in names}


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder survive a power cut, where the system can."""
    if os.name != "posix":  # Windows cannot open a folder to sync it
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(temporary: Path, path: Path) -> None:
    """Sync a finished temporary file and give it its name."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


def hidden_beside(path: Path, ending: str) -> Path:
    """Return a hidden name beside a path, the same each time, that no file system cuts.

    Args:
        path: A file or folder; its own name may have the 255 bytes that a name can have.
        ending: What tells the hidden thing from others.
    """
    name = path.name
    if len(os.fsencode(name)) > LONG:
        name = f"{name[:SHORT]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}"
    return path.with_name(f".{name}.{ending}")


def temporary_beside(path: Path) -> Path:
    """Return a hidden name beside a path that nobody else takes."""
    return hidden_beside(path, f"{uuid.uuid4().hex[:8]}.tmp")


@contextmanager
def claimed(temporary: Path) -> Iterator[None]:
    """Hold a temporary file or folder, so that ``sweep`` knows that somebody is at work on it.

    The system lets go of it when the process ends, however that is.
    """
    descriptor = None
    if os.name == "posix":
        descriptor = os.open(temporary, os.O_RDONLY)
        _is_free(descriptor)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def sweep(folder: Path, names: Iterable[str]) -> None:
    """Remove what processes that were killed left half written; give back what they moved away.

    Args:
        folder: Where.
        names: Of the files and folders that they would have become.
    """
    if os.name != "posix" or not folder.is_dir():
        return
    places = {hidden_beside(folder / name, "").name: folder / name for name in names}
    for left in [*folder.iterdir()]:
        found = TEMPORARY.search(left.name)
        if found is None or left.name[: found.start()] not in places:
            continue
        place = places[left.name[: found.start()]]
        try:
            descriptor = os.open(left, os.O_RDONLY)
        except OSError:
            continue  # its owner has just ended, or is another user
        dead = _is_free(descriptor)
        os.close(descriptor)
        if dead and left.suffix == MOVED and not os.path.lexists(place):
            left.replace(place)
        elif dead and left.is_dir():
            shutil.rmtree(left)
        elif dead:
            left.unlink(missing_ok=True)


def _is_free(descriptor: int) -> bool:
    """Lock a file if nobody else has; where there are no locks, nobody can be told dead."""
    try:
        return lock(descriptor)
    except OSError:  # NFS lets only those lock a file who may write to it
        return False


def take_place(new: Path, folder: Path) -> None:
    """Give a finished folder its name; what stood there goes once the new one is there.

    Args:
        new: The folder, beside where it shall stand.
        folder: Where it shall stand.
    """
    if not os.path.lexists(folder):
        new.replace(folder)
        sync_folder(folder.parent)
        return
    before = temporary_beside(folder).with_suffix(MOVED)
    with claimed(folder) if folder.exists() else nullcontext():
        folder.replace(before)
        try:
            new.replace(folder)
        except OSError:
            before.replace(folder)
            raise
    sync_folder(folder.parent)
    if before.is_dir() and not before.is_symlink():
        shutil.rmtree(before, ignore_errors=True)  # what stays is swept the next time
    else:
        before.unlink()


def opened_by_name(path: Path) -> Path | io.BytesIO:
    """Return what a library can open that takes names for text: other names' bytes."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return io.BytesIO(path.read_bytes())
    return path


def check_place(path: Path) -> None:
    """Check, before long work, that the system lets us write to a place; sweep around it.

    Args:
        path: A file or folder to be made; folders above it may be missing, too.

    Raises:
        UsageError: If the folder is read-only, a file stands in the way, or a name is too long.
    """
    try:
        path.exists()  # a name that is too long is an error
        parent = next(folder for folder in path.absolute().parents if folder.exists())
        probe = temporary_beside(parent / "probe")
        probe.touch()
        probe.unlink()
        sweep(path.parent, [path.name])
    except OSError as error:
        if error.errno in NO_SPACE:
            return  # what there is to write may fit: whoever writes tells
        raise unwritable(path, error) from None


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place when the block succeeds.

    Writing in place leaves a truncated file behind a crash or a full disk; a rename does not.

    Args:
        path: Where the whole file shall stand. Its folder is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        temporary.touch()
        with claimed(temporary):
            yield temporary
            publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def private_text(path: Path) -> Iterator[TextIO]:
    """Yield a text file that only its owner can read; it stands at ``path`` after the block.

    Names of files in it may be of any bytes.
    """
    with atomic_path(path) as temporary:
        temporary.chmod(0o600)  # while it is empty
        with temporary.open(
            "w", newline="", encoding="utf-8", errors="surrogateescape"
        ) as file:
            yield file


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all; names of files in it may be of any bytes."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


def write_json(path: Path, content: Any) -> None:  # noqa: ANN401
    """Write a JSON file, whole or not at all.

    Raises:
        ValueError: If the content holds NaN or infinity, which JSON has no word for.
    """
    write_text(path, to_json(content))


def to_json(content: Any) -> str:  # noqa: ANN401
    """Return the text of a JSON file.

    Raises:
        ValueError: If the content holds NaN or infinity.
    """
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def read_json(path: Path) -> Any:  # noqa: ANN401
    """Read a JSON file.

    Raises:
        ValueError: If it is none.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("nested deeper than anything that is meant") from None


def read_record(path: Path, schema: str) -> dict[str, Any] | None:
    """Return what echocli wrote down of a folder; ``None`` if nothing, damaged or else's.

    Args:
        path: A JSON file.
        schema: What it must say that it is.
    """
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return None
    ours = isinstance(content, dict) and content.get("schema") == schema
    return content if ours else None


def new_folder(folder: Path, *, overwrite: bool = False) -> Path:
    """Make an empty folder for an output.

    Args:
        folder: The folder; it may exist if it is empty.
        overwrite: Remove what is there.

    Raises:
        UsageError: If the folder holds something and ``overwrite`` is off, is a file, or
            cannot be written to.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not overwrite):
        raise UsageError(
            f"{folder} already exists.",
            "Choose another place with -o, or add --overwrite to replace it.",
        )
    check_place(folder)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def new_file(path: Path, *, overwrite: bool = False) -> Path:
    """Check that a file can be written without replacing another.

    Raises:
        UsageError: If it exists and ``overwrite`` is off, or cannot be written to.
    """
    check_place(path)
    if path.exists() and not overwrite:
        raise UsageError(
            f"{path} already exists.",
            "Choose another place with -o, or add --overwrite to replace it.",
        )
    return path
