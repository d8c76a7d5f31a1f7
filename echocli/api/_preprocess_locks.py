"""Who writes to a clip set: locks that die with their process, however it ends."""

from __future__ import annotations

import errno
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from echocli.errors import MachineError

SET_LOCK = "set.lock"
"""Held by whoever writes to a set: by one alone, or shared by those who divide the sources."""
FILES_LOCK = "files.lock"
"""Held for a moment by whoever writes a file that tells of all parts."""
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
"""What a file system answers that knows no locks."""


@contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = False) -> Iterator[bool]:
    """Hold a lock while the block runs, if it can be had.

    The file stays, empty: one that is removed could be locked by two at once.

    Args:
        path: The file that is locked; made if it is not there.
        shared: Let others hold it too, if they share it as well.
        wait: Wait for whoever holds it.

    Yields:
        Whether the lock is held; ``False`` only without ``wait``.

    Raises:
        MachineError: If the file system knows no locks.
    """
    descriptor = _take(path, shared=shared, wait=wait)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _take(path: Path, *, shared: bool, wait: bool) -> int | None:
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if not _lock(descriptor, shared=shared, wait=wait):
            os.close(descriptor)
            return None
        # The folder may have been replaced meanwhile: a lock on a file that is gone is none.
        if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
        os.close(descriptor)


def _lock(descriptor: int, *, shared: bool, wait: bool) -> bool:
    if os.name != "posix":  # Windows has no flock; there, one process at a time is up to users
        return True
    fcntl = importlib.import_module("fcntl")
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
        raise MachineError(
            "The file system of the output knows no locks, so two processes could spoil it.",
            "Choose a place on a local disk, or have the share mounted with locks (flock).",
        ) from None
    return True
