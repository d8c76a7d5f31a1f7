"""The inside of a worker process: see ``_pool``. It imports little, for it starts often."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from enum import Enum, auto
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

from echocli.errors import NO_SPACE, EchoError
from echocli.intake.reasons import Reason, Refused


class Sign(Enum):
    """What a message from a worker is."""

    READY = auto()
    NOTE = auto()
    """What the parent shall know even if the worker dies."""
    DONE = auto()
    """The result."""
    LOST = auto()
    """A ``Refused``: the input broke the work, and the worker retires."""
    STOP = auto()
    """An exception that ends the whole run."""
    BUG = auto()
    """Kind and line of a mistake of ours, and the lines that led there."""


Message = tuple[Sign, Any]

_PACKAGE = Path(__file__).parent.parent


def serve(
    connection: Connection,
    work: Callable[[Any, Callable[[str], None]], Any],
    alarm_s: float,
    memory_bytes: int,
) -> None:
    """Answer each input with a message, until the other end of the pipe is closed.

    Args:
        connection: Inputs come in, messages go out.
        work: What to do with an input.
        alarm_s: After so many seconds with one input the kernel ends this process, even if a
            decoder never returns and nobody is left to end it.
        memory_bytes: After which allocations fail.
    """
    _settle(memory_bytes)
    with contextlib.suppress(OSError):  # the parent has gone, and so goes this process
        _send(connection, (Sign.READY, None))
        while True:
            try:
                packed = connection.recv_bytes()
            except EOFError:
                return
            _set_alarm(alarm_s)
            sign, answer = _answer(connection, work, packed)
            _set_alarm(0)
            connection.send_bytes(answer)
            if sign is Sign.LOST:
                return  # who knows what a parser left behind when memory or stack ran out


def _answer(
    connection: Connection,
    work: Callable[[Any, Callable[[str], None]], Any],
    packed: bytes,
) -> tuple[Sign, bytes]:
    def note(text: str) -> None:
        _send(connection, (Sign.NOTE, text))

    try:
        source = pickle.loads(packed)  # noqa: S301 (our parent packed it)
        return Sign.DONE, _packed((Sign.DONE, work(source, note)))
    except MemoryError:
        message = (Sign.LOST, Refused(Reason.OUT_OF_MEMORY))
    except RecursionError:
        message = (Sign.LOST, Refused(Reason.UNREADABLE, "its parts are nested too deeply"))
    except BaseException as error:  # not swallowed: the parent tells what is sent
        message = _told(error)
    return message[0], _packed(message)


def _told(error: BaseException) -> Message:
    """Return what the parent shall know, without a word that may come from a file."""
    if isinstance(error, EchoError):
        return Sign.STOP, error
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return Sign.STOP, OSError(error.errno, os.strerror(error.errno))
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if _PACKAGE in Path(frame.filename).parents]
    *_, last = ours[1:] or frames  # the first of ours is this module
    line = f"{Path(last.filename).name}:{last.lineno}"
    stack = "".join(traceback.format_tb(error.__traceback__))
    return Sign.BUG, (type(error).__name__, line, stack)


def _packed(message: Message) -> bytes:
    return bytes(ForkingPickler.dumps(message))


def _send(connection: Connection, message: Message) -> None:
    connection.send_bytes(_packed(message))


def _settle(memory_bytes: int) -> None:
    """Leave signals to the parent, be silent, and accept a limit."""
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):  # all of a group or a Slurm step get them
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    # Libraries written in C print file names and header text.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
    if sys.platform != "linux":  # elsewhere the kernel does not count, and only the sizes that
        return  # headers declare are checked
    import resource

    # RLIMIT_DATA counts private memory (since Linux 4.7); RLIMIT_AS would count mapped files,
    # too, which cost nothing.
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    limit = memory_bytes if most == resource.RLIM_INFINITY else min(memory_bytes, most)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold a patient's data


def _set_alarm(seconds: float) -> None:
    """Let the kernel end this process after so many seconds; 0 calls it off."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)
