"""Ctrl-C, SIGTERM and their like as a wish to stop at the next safe point."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from echocli.errors import ExitCode

NAMES = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")
"""Ctrl-C; the end of a service, a machine or a job; what Slurm sends some time before that
(``--signal=USR1@300``); and the loss of the terminal."""


class StopWish:
    """Whether somebody wants this process to stop, and by what signal."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._terminals = [s.fileno() for s in (sys.stdout, sys.stderr) if s.isatty()]

    def __call__(self) -> bool:
        """Return whether to stop."""
        return self.signal is not None

    @property
    def exit_code(self) -> ExitCode:
        """The exit code that says how the process was stopped."""
        if self.signal == signal.SIGINT:
            return ExitCode.INTERRUPTED
        return ExitCode.TERMINATED

    @property
    def hint(self) -> str:
        """What to add to how to go on: in a Slurm job, how to let it be queued again."""
        job = os.environ.get("SLURM_JOB_ID")
        return f" In Slurm: scontrol requeue {job}" if job else ""

    def note(self, number: int, frame: FrameType | None) -> None:
        """Remember the wish; the second Ctrl-C stops at once."""
        self.signal = number
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if number == getattr(signal, "SIGHUP", None):
            self._leave_terminals()

    def _leave_terminals(self) -> None:
        """Let words for a terminal that is gone go nowhere, instead of failing."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in self._terminals:
            os.dup2(nowhere, stream)


@contextmanager
def stop_wish() -> Iterator[StopWish]:
    """Yield what tells, while the block runs, whether to stop."""
    wish = StopWish()
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    hup = getattr(signal, "SIGHUP", None)
    if hup and before[hup] == signal.SIG_IGN:  # nohup asked for it
        numbers.remove(hup)
    for number in numbers:
        signal.signal(number, wish.note)
    try:
        yield wish
    finally:
        for number in numbers:
            signal.signal(number, before[number])
