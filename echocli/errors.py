"""What can go wrong for a user, and the exit code that says so."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""How a system says that a file cannot grow: disk full, quota, limit of a file's size."""

REFUSED = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENAMETOOLONG),
    *(errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EMFILE, errno.ENFILE),
)
"""How a system says that it will not: no right, a broken disk, a name that cannot be."""


class ExitCode(IntEnum):
    """Exit codes of every command; they are stable and documented."""

    DONE = 0
    BUG = 1
    USAGE = 2
    INPUT = 3
    PARTIAL = 4
    MACHINE = 5
    SPACE = 6
    PRIVACY = 7
    INTERRUPTED = 130
    TERMINATED = 143


class EchoError(Exception):
    """Something the user can mend.

    Neither sentence may hold a patient's name, number or date, nor the name of a source file:
    both reach the screen and the log.

    Args:
        problem: What happened, to which input, and why; a full sentence.
        remedy: The command, option or action that mends it; a full sentence.
    """

    code: ExitCode = ExitCode.INPUT

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem} {self.remedy}"


class UsageError(EchoError):
    """The command was called in a way that cannot work."""

    code = ExitCode.USAGE


class MachineError(EchoError):
    """The machine lacks something: a device, a decoder, a library."""

    code = ExitCode.MACHINE


class SpaceError(EchoError):
    """There is no room left to write."""

    code = ExitCode.SPACE


@contextmanager
def writing(what: str, folder: Path) -> Iterator[None]:
    """Tell what could not be written, where and why, if the system refuses in the block.

    Args:
        what: What is being written, such as ``A checkpoint``.
        folder: Where.

    Raises:
        SpaceError: If there is no room.
        MachineError: If the system refuses for another reason.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise SpaceError(
                f"{what} did not fit into {folder}.",
                "Free some space, then run the same command again: it goes on from the last "
                "good state.",
            ) from None
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise MachineError(
            f"{what} could not be written into {folder}: {reason}.",
            "Mend that, then run the same command again, or choose another place with -o.",
        ) from None


def unwritable(path: Path, error: OSError) -> UsageError:
    """Return how to say that the system lets nobody write to a place.

    Args:
        path: The place.
        error: What the system said.
    """
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    return UsageError(
        f"{path} cannot be written to: {reason}.", "Choose another place with -o."
    )


class PrivacyError(EchoError):
    """The privacy guard refused."""

    code = ExitCode.PRIVACY


class WorkerError(RuntimeError):
    """A mistake of ours, met in a worker process. It quotes no value: a value may be a name.

    Args:
        kind: Name of the exception's type.
        line: Where it was raised, such as ``kind.py:17``.
        position: Which of the inputs was being worked on, from 1.
        stack: The lines that led there, without messages.
    """

    def __init__(self, kind: str, line: str, position: int, stack: str) -> None:
        super().__init__(kind, line, position, stack)
        self.kind = kind
        self.line = line
        self.position = position
        self.stack = stack

    def __str__(self) -> str:
        return f"{self.kind} at {self.line}, working on file {self.position}"
