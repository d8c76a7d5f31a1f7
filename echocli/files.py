"""Files that are either whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from echocli.errors import UsageError


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


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place when the block succeeds.

    Writing in place leaves a truncated file behind a crash or a full disk; a rename does not.

    Args:
        path: Where the whole file shall stand. Its folder is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


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
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def new_folder(folder: Path, *, overwrite: bool = False) -> Path:
    """Make an empty folder for an output.

    Args:
        folder: The folder; it may exist if it is empty.
        overwrite: Remove what is there.

    Raises:
        UsageError: If the folder holds something and ``overwrite`` is off, or is a file.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not overwrite):
        raise UsageError(
            f"{folder} already exists.",
            "Choose another place with -o, or add --overwrite to replace it.",
        )
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def new_file(path: Path, *, overwrite: bool = False) -> Path:
    """Check that a file can be written without replacing another.

    Raises:
        UsageError: If it exists and ``overwrite`` is off.
    """
    if path.exists() and not overwrite:
        raise UsageError(
            f"{path} already exists.",
            "Choose another place with -o, or add --overwrite to replace it.",
        )
    return path
