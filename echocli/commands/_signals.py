"""Ctrl-C and SIGTERM as a wish to stop at the next safe point."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from echocli.errors import ExitCode

NAMES = ("SIGINT", "SIGTERM", "SIGUSR1")
"""Slurm sends SIGUSR1 or SIGTERM some time before it ends a job."""


class StopWish:
    """Whether somebody wants this process to stop, and by what signal."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self) -> bool:
        """Return whether to stop."""
        return self.signal is not None

    @property
    def exit_code(self) -> ExitCode:
        """The exit code that says how the process was stopped."""
        if self.signal == signal.SIGINT:
            return ExitCode.INTERRUPTED
        return ExitCode.TERMINATED

    def note(self, number: int, frame: FrameType | None) -> None:
        """Remember the wish; the second Ctrl-C stops at once."""
        self.signal = number
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def stop_wish() -> Iterator[StopWish]:
    """Yield what tells, while the block runs, whether to stop."""
    wish = StopWish()
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    before = {number: signal.signal(number, wish.note) for number in numbers}
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
