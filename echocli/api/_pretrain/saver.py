"""Saving beside the training: a copy of the state is written while steps go on."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from echocli.errors import EchoError
from echocli.run import Run
from echocli.states import save_state, snapshot


class Saver:
    """Writes states of a run in a thread, one at a time. Use it in a ``with`` block.

    A process that only follows the one that writes has nothing to do here.

    Training waits for the copy alone, and for the state before if that is still being written.
    What goes wrong in the thread is raised by the next call, and by the end of the block.

    Args:
        run: Where to.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="save")
        self._writing: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.shutdown()
        if kind is None:
            self.wait()

    def save(self, state: dict[str, Any], score: float | None = None) -> None:
        """Begin to write a state, as it is now.

        Args:
            state: See ``save_state``.
            score: See ``save_state``.
        """
        if not self._run.writes:
            return
        self.wait()
        self._writing = self._thread.submit(self._write, snapshot(state), score)

    def check(self) -> None:
        """Raise what went wrong, without waiting."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Return when all is written."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write(self, state: dict[str, Any], score: float | None) -> None:
        # Metrics first: whatever state is found later, the numbers of its steps are there.
        self._run.sync()
        try:
            save_state(self._run.checkpoints, state, score)
        except EchoError:
            self._run.check_there()  # a folder that was removed meanwhile is the better reason
            raise
