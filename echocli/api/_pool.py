"""Runs a function over many inputs in processes that may crash, hang or eat up memory.

``concurrent.futures`` gives up the whole pool when one process dies, and cannot end a call that
hangs. Here such an input costs only itself: its process is replaced and the rest goes on.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Generic, Protocol, TypeVar

from echocli.api._pool_start import cannot_start, start_worker
from echocli.api._pool_worker import Sign
from echocli.device import allowed_cpus
from echocli.errors import WorkerError
from echocli.intake.reasons import Reason, Refused


class Numbered(Protocol):
    """An input that messages can call by its place."""

    @property
    def position(self) -> int:
        """Place among all inputs, from 1."""


In = TypeVar("In", bound=Numbered)
Out = TypeVar("Out")
Note = Callable[[str], None]
"""Tells the parent what it shall know even if the worker dies afterwards."""


@dataclass(frozen=True)
class Limits:
    """What one file may cost."""

    seconds: float = 30.0
    """Wall-clock time."""
    memory_bytes: int = 2 << 30
    """Memory of a worker process, its libraries (some 130 MB) included."""


@dataclass(frozen=True)
class Job(Generic[In, Out]):
    """What is done with each input."""

    work: Callable[[In, Note], Out]
    """Runs in a worker; a module's function or a ``partial`` of one, so that it can be sent."""
    lost: Callable[[In, str, Refused], Out]
    """Stands in, in the parent, for what cost its worker; gets the last note, if any."""


AHEAD = 4
"""Inputs taken per worker before the oldest is given back. Results that wait for a slow
predecessor stay in memory: this bounds them."""
START_S = 120.0
"""A worker is ready after so many seconds, even on a machine that is busy."""
SLACK_S = 2.0
"""How much later than its limit a worker ends itself if nobody has ended it."""
MOST_WORKERS = 16
"""Workers unless more are asked for: beyond, one waits for the disk."""

CRASHED = "the decoder crashed on this file"
KILLED = "the system ended the decoder, as it does when memory runs short"


def choose_workers(asked: int | None, inputs: int) -> int:
    """Return the number of worker processes.

    Args:
        asked: What the user wants; as many as there are processors for it if ``None``.
        inputs: How much there is to do.
    """
    if asked is None:
        asked = min(allowed_cpus(), MOST_WORKERS)
    return max(1, min(asked, inputs))


def run(
    job: Job[In, Out], inputs: Iterable[In], workers: int, limits: Limits
) -> Generator[Out, None, None]:
    """Yield what became of each input, in their order.

    Closing the generator, or an exception in it such as Ctrl-C, ends the workers at once.

    Args:
        job: What to do.
        inputs: Taken when there is room, not all at once.
        workers: Processes at most; they start when there is something to do.
        limits: What one input may cost.

    Raises:
        WorkerError: If a worker meets a mistake of ours, under ``--debug``.
        EchoError: If the work raises one, or a worker cannot start.
        OSError: If a worker finds the disk full.
    """
    crew = _Crew(job, workers, limits)
    queue = iter(inputs)
    results: dict[int, Out] = {}
    taken = given = 0
    exhausted = False
    try:
        while True:
            while not exhausted and taken - given < AHEAD * workers and crew.has_room():
                try:
                    source = next(queue)
                except StopIteration:
                    exhausted = True
                else:
                    crew.give(taken, source)
                    taken += 1
            # Only now, when all have something to do: the caller may take its time.
            if given in results:
                yield results.pop(given)
                given += 1
            elif exhausted and given == taken:
                return
            results.update(crew.collect(patient=given not in results))
    finally:
        crew.stop()


@dataclass
class _Seat(Generic[In]):
    """A worker and what it is doing."""

    process: BaseProcess
    pipe: Connection
    deadline: float
    ready: bool = False
    hand: tuple[int, In] | None = None
    note: str = ""


class _Crew(Generic[In, Out]):
    """The workers of one run."""

    def __init__(self, job: Job[In, Out], workers: int, limits: Limits) -> None:
        self._job = job
        self._workers = workers
        self._limits = limits
        self._seats: list[_Seat[In]] = []
        # Before multiprocessing's own, which would wait for workers that wait for us.
        atexit.register(self.stop)

    def has_room(self) -> bool:
        """Return whether another input would be begun at once."""
        return len(self._seats) < self._workers or any(not seat.hand for seat in self._seats)

    def give(self, number: int, source: In) -> None:
        """Hand an input to an idle worker, or to a new one."""
        seat = next((seat for seat in self._seats if not seat.hand), None) or self._start()
        seat.hand, seat.note = (number, source), ""
        if seat.ready:
            seat.deadline = time.monotonic() + self._limits.seconds
        seat.pipe.send(source)

    def collect(self, *, patient: bool) -> dict[int, Out]:
        """Return what is finished, or was lost, by number.

        Args:
            patient: Wait until something happens, if there is work in hand.
        """
        busy = [seat for seat in self._seats if seat.hand]
        if not busy:
            return {}
        left = min(seat.deadline for seat in busy) - time.monotonic()
        heard = wait([seat.pipe for seat in busy], max(0.0, left) if patient else 0.0)
        found: dict[int, Out] = {}
        for seat in busy:
            if seat.pipe in heard:
                found.update(self._hear(seat))
            elif time.monotonic() > seat.deadline and not seat.pipe.poll():
                found.update(self._lose(seat, Refused(Reason.TOO_SLOW)))
        return found

    def stop(self) -> None:
        """End all workers at once."""
        atexit.unregister(self.stop)
        for seat in self._seats:
            seat.process.kill()
        while self._seats:
            self._dismiss(self._seats[0])

    def _start(self) -> _Seat[In]:
        ours, theirs = multiprocessing.Pipe()
        alarm_s = self._limits.seconds + SLACK_S
        process = start_worker((theirs, self._job.work, alarm_s, self._limits.memory_bytes))
        theirs.close()  # so that the worker's death can be heard
        seat: _Seat[In] = _Seat(process, ours, time.monotonic() + START_S)
        self._seats.append(seat)
        return seat

    def _hear(self, seat: _Seat[In]) -> dict[int, Out]:
        assert seat.hand is not None  # idle workers say nothing
        number, source = seat.hand
        try:
            sign, content = seat.pipe.recv()
        except (EOFError, OSError):
            return self._lose(seat, None)
        if sign is Sign.READY:
            seat.ready, seat.deadline = True, time.monotonic() + self._limits.seconds
        elif sign is Sign.NOTE:
            seat.note = content
        elif sign is Sign.DONE:
            seat.hand = None
            return {number: content}
        elif sign is Sign.LOST:
            return self._lose(seat, content)
        elif sign is Sign.STOP:
            raise content
        else:
            kind, line, stack = content
            if os.environ.get("ECHOCLI_DEBUG"):
                raise WorkerError(kind, line, source.position, stack)
            # Loud, but no reason to leave the other thousands unread.
            bug = Refused(Reason.BUG, f"a bug in echocli: {kind} at {line}")
            seat.hand = None
            return {number: self._job.lost(source, seat.note, bug)}
        return {}

    def _lose(self, seat: _Seat[In], refused: Refused | None) -> dict[int, Out]:
        """Dismiss a worker; its input is lost, too, for the reason given or told by its end."""
        assert seat.hand is not None  # only workers that have something in hand are heard
        number, source = seat.hand
        was_killed_here = refused is not None
        if was_killed_here:
            seat.process.kill()
        code = self._dismiss(seat)
        if not seat.ready:
            raise cannot_start()
        return {number: self._job.lost(source, seat.note, refused or _cause_of_death(code))}

    def _dismiss(self, seat: _Seat[In]) -> int | None:
        """Forget a worker that is dead or dying and return its exit code."""
        self._seats.remove(seat)
        seat.pipe.close()
        seat.process.join(SLACK_S)  # not for ever: a read from a dead disk cannot be killed
        return seat.process.exitcode


def _cause_of_death(code: int | None) -> Refused:
    by = signal.Signals(-code).name if code is not None and code < 0 else ""
    if by == "SIGALRM":
        return Refused(Reason.TOO_SLOW)
    if by == "SIGKILL":
        return Refused(Reason.OUT_OF_MEMORY, KILLED)
    return Refused(Reason.UNDECODABLE, CRASHED)
