"""Where a clip set is made: in place, or beside the set that it replaces.

One process writes at a time, or several that divide the sources.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from echocli.api._preprocess.parts import HIDDEN, part_files, sweep
from echocli.api._preprocess.settings import SETTINGS_FILE
from echocli.clips.progress import FILES_LOCK, SET_LOCK, STATE_FOLDER
from echocli.clips.store import ClipSet
from echocli.errors import NO_SPACE, UsageError, unwritable
from echocli.files import sync_folder
from echocli.locks import locked
from echocli.privacy.audit import AUDIT_FILE, FILES
from echocli.privacy.audit_bytes import visible_files


@dataclass(frozen=True)
class Share:
    """Which of the sources a process takes."""

    shard: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str | None) -> Share:
        """Read ``2/4``: the second of four.

        Raises:
            UsageError: If it says something else.
        """
        wish = "1/1" if text is None else text
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", wish)
        share = cls(int(found[1]), int(found[2])) if found else cls(0)
        if not 1 <= share.shard <= share.of:
            raise UsageError(
                f"--shard {text} is no share.", "Write 1/4 to 4/4, one for each process."
            )
        return share

    @property
    def name(self) -> str:
        """Name of the share, such as ``2-of-4``."""
        return f"{self.shard}-of-{self.of}"

    @property
    def alone(self) -> bool:
        """Whether one process takes everything."""
        return self.of == 1

    @property
    def suffix(self) -> str:
        """What the names of its parts end with."""
        return "" if self.alone else f"-{self.shard}of{self.of}"

    def takes(self, place: str) -> bool:
        """Tell whether a source belongs to this share, from its path below its root alone."""
        digest = hashlib.sha256(os.fsencode(place)).digest()
        return int.from_bytes(digest[:8], "big") % self.of == self.shard - 1


@contextmanager
def writing_to(out: Path, share: Share, *, overwrite: bool) -> Iterator[Path]:
    """Yield the folder to write to, locked and swept.

    Args:
        out: The clip set, which may not be there yet.
        share: This process's share of the sources.
        overwrite: Write beside the set that stands there, and replace it at the end.

    Raises:
        UsageError: If something else stands there, it cannot be written, or somebody writes.
        MachineError: If the file system knows no locks.
    """
    if overwrite and not share.alone:
        raise UsageError(
            "--overwrite and --shard do not go together: each process would undo the others.",
            "Remove the old clip set first, or choose another place with -o.",
        )
    with ExitStack() as stack:
        real = Path(os.path.realpath(out))  # what a link leads to is replaced, not the link
        try:
            bring_back(real)
            _refuse_others(out)
            empty = not out.exists() or not os.listdir(out)
            _lock(out, share, stack)
            if share.alone:
                _sweep_beside(real)
            sweep(out, share.name)
            _sweep_files(out, share)
            _refuse_strangers(out)
        except OSError as error:
            _explain(out, error)
        if overwrite and ((out / SETTINGS_FILE).exists() or ClipSet.is_one(out)):
            with _beside(real, stack) as folder:
                yield folder
            return
        try:
            yield out
        finally:
            shutil.rmtree(out / f"{HIDDEN}{share.name}", ignore_errors=True)
            if empty and share.alone and not part_files(out):
                shutil.rmtree(out, ignore_errors=True)


def _lock(out: Path, share: Share, stack: ExitStack) -> None:
    state = out / STATE_FOLDER
    held = stack.enter_context(locked(state / SET_LOCK, shared=not share.alone))
    if not held:
        raise UsageError(
            f"Another `echocli preprocess` is writing to {out}.",
            "Wait until it ends; to work side by side, give each process its --shard.",
        )
    if share.alone:
        return
    if not stack.enter_context(locked(state / f"{share.name}.lock")):
        raise UsageError(
            f"Another process is working on share {share.shard} of {share.of} of {out}.",
            "Give each process another --shard.",
        )


def _explain(out: Path, error: OSError) -> NoReturn:
    if error.errno in NO_SPACE:
        raise error
    raise unwritable(out, error) from None


def _refuse_others(out: Path) -> None:
    """Refuse what is no clip set: it is never touched."""
    if not os.path.lexists(out) or (out / SETTINGS_FILE).is_file():
        return
    if out.is_dir():
        begun = all(name == STATE_FOLDER or _is_ours(name) for name in os.listdir(out))
        if begun or ((out / AUDIT_FILE).is_file() and ClipSet.is_one(out)):
            return
    raise UsageError(
        f"{out} already exists and is no clip set.", "Choose another place with -o."
    )


def _refuse_strangers(out: Path) -> None:
    """Refuse a clip set among files of somebody else, before any work is done.

    They would be lost with ``--overwrite``, and shared with the set; its audit finds them.
    """
    names = (path.relative_to(out).as_posix() for path in visible_files(out))
    strangers = sum(not (FILES.fullmatch(name) or _is_ours(Path(name).name)) for name in names)
    if strangers:
        raise UsageError(
            f"{out} holds {strangers} file(s) that no clip set has.",
            "Move them elsewhere, or choose another place with -o.",
        )


def _is_ours(name: str) -> bool:
    """Tell whether a killed process of ours left a file or folder of that name."""
    return name.startswith(HIDDEN) or re.fullmatch(r"\..+\.[0-9a-f]{8}\.tmp", name) is not None


def _sweep_files(out: Path, share: Share) -> None:
    """Remove the temporary files of processes that were killed while they wrote a list."""
    with locked(out / STATE_FOLDER / FILES_LOCK, wait=True):
        for path in out.iterdir():
            if path.is_file() and _is_ours(path.name):
                path.unlink()
    for path in (out / STATE_FOLDER).iterdir():
        if _is_ours(path.name) and (share.alone or f".{share.name}." in path.name):
            path.unlink()


@contextmanager
def _beside(out: Path, locks: ExitStack) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of ``out`` when the block succeeds.

    Args:
        out: The clip set.
        locks: Files that are open in it.
    """
    tail = secrets.token_hex(4)
    temporary = out.with_name(f".{out.name}.{tail}.tmp")
    replaced = out.with_name(f".{out.name}.{tail}.old")
    temporary.mkdir()
    try:
        yield temporary
        for hidden in temporary.glob(f"{HIDDEN}*"):
            shutil.rmtree(hidden)
        _let_rename(locks)
        os.replace(out, replaced)
        try:
            os.replace(temporary, out)
        except OSError:
            os.replace(replaced, out)
            raise
        sync_folder(out.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def _let_rename(locks: ExitStack) -> None:
    if os.name != "posix":  # Windows renames no folder in which a file is open
        locks.close()


def bring_back(out: Path) -> None:
    """Put a set back whose replacement was killed between two renames."""
    if out.exists():
        return
    for replaced in _leftovers(out, "old"):
        with ExitStack() as locks:
            if locks.enter_context(locked(replaced / STATE_FOLDER / SET_LOCK)):
                _let_rename(locks)
                os.replace(replaced, out)
                return


def _sweep_beside(out: Path) -> None:
    """Remove what killed replacements left; who holds the lock of ``out`` is the only one."""
    for ending in ("tmp", "old"):
        for stale in _leftovers(out, ending):
            shutil.rmtree(stale, ignore_errors=True)


def _leftovers(out: Path, ending: str) -> list[Path]:
    named = re.compile(rf"\.{re.escape(out.name)}\.[0-9a-f]{{8}}\.{ending}")
    beside = out.parent.iterdir() if out.parent.is_dir() else ()
    return sorted(path for path in beside if named.fullmatch(path.name))
