"""Locks on files: they die with their process, however it ends."""

from __future__ import annotations

import errno
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from echocli.errors import MachineError

UNKNOWN = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""How a file system of a cluster says that it knows no locks."""
FAR = 1 << 30
"""Windows keeps others from reading what is locked; so far behind there is nothing to read."""


class NoLocksError(OSError):
    """The file system knows no locks."""


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
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = take(path, shared=shared, wait=wait)
    except NoLocksError:
        raise MachineError(
            "The file system of the output knows no locks, so two processes could spoil it.",
            "Choose a place on a local disk, or have the share mounted with locks (flock).",
        ) from None
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def take(path: Path, *, shared: bool = False, wait: bool = False) -> int | None:
    """Open a file, made if it is not there, and lock it.

    Returns:
        The descriptor, which holds the lock until it is closed; ``None`` if somebody else does.

    Raises:
        NoLocksError: If the file system knows no locks.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            held = lock(descriptor, shared=shared, wait=wait)
            # Whoever held it before may have removed it: a lock on a file that is gone is none.
            there = path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())
        except BaseException:
            os.close(descriptor)
            raise
        if held and there:
            return descriptor
        os.close(descriptor)
        if not held:
            return None


def lock(descriptor: int, *, shared: bool = False, wait: bool = False) -> bool:
    """Lock an open file; return ``False`` if somebody else holds it.

    Raises:
        NoLocksError: If the file system knows no locks.
    """
    try:
        if os.name == "posix":
            fcntl = importlib.import_module("fcntl")
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
        elif not shared:  # Windows knows no shared locks
            msvcrt = importlib.import_module("msvcrt")
            os.lseek(descriptor, FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
    except OSError as error:
        if error.errno in UNKNOWN:
            raise NoLocksError(error.errno, os.strerror(error.errno)) from None
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK):
            return False
        raise
    return True
