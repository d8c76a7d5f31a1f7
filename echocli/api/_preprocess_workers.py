"""Runs tasks in worker processes and gives the outcomes back in the order of the input."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from echocli.api._preprocess_clip import Outcome, Settings, Task, process, refuse
from echocli.intake.reasons import Reason, Refused

FILES_WORTH_A_WORKER = 4
"""A worker takes about as long to start as this many files take to read."""
MOST_WORKERS = 8
"""Workers unless more are asked for: beyond, the disk is what one waits for."""

_CRASHED = "the decoder crashed on this file"


def choose_workers(asked: int | None, tasks: int) -> int:
    """Return the number of worker processes; 1 means this process itself."""
    if asked is not None:
        return max(1, min(asked, tasks))
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    most = min(processors or os.cpu_count() or 1, MOST_WORKERS)
    return max(1, min(most, tasks // FILES_WORTH_A_WORKER))


@dataclass(frozen=True)
class Limits:
    """What one file may cost."""

    seconds: float = 30.0
    """Wall-clock time."""
    memory_bytes: int = 2 << 30
    """Memory of a worker process, its libraries (some 130 MB) included."""


def outcomes(
    tasks: Iterable[Task], settings: Settings, workers: int, limits: Limits = Limits()
) -> Iterator[Outcome]:
    """Yield what became of each task, in their order.

    A file that kills its worker (a decoder written in C can) is refused; the files that were
    being read beside it are read again.

    Args:
        tasks: What to do.
        settings: How to do it.
        workers: Processes; 1 works in this one.
    """
    if workers == 1:
        yield from (process(task, settings) for task in tasks)
        return
    remaining = deque(tasks)
    while remaining:
        unread = yield from _until_crash(remaining, settings, workers)
        yield from _one_by_one(deque(unread), settings)


def _until_crash(
    remaining: deque[Task], settings: Settings, workers: int
) -> Generator[Outcome, None, list[Task]]:
    """Work through the tasks; return those in hand when a worker died, if one did."""
    in_hand: deque[tuple[Task, Future[Outcome]]] = deque()
    pool = _pool(workers)
    try:
        while remaining or in_hand:
            while remaining and len(in_hand) < 2 * workers:  # bounds the clips held in memory
                task = remaining[0]
                in_hand.append((task, pool.submit(process, task, settings)))
                remaining.popleft()
            yield in_hand[0][1].result()
            in_hand.popleft()
    except BrokenProcessPool:
        return [task for task, _ in in_hand]
    finally:
        pool.shutdown(cancel_futures=True)
    return []


def _one_by_one(suspects: deque[Task], settings: Settings) -> Iterator[Outcome]:
    """Do tasks alone in a process, so that a crash can be blamed on one."""
    while suspects:
        with _pool(1) as pool:
            try:
                while suspects:
                    yield pool.submit(process, suspects[0], settings).result()
                    suspects.popleft()
            except BrokenProcessPool:
                yield refuse(suspects.popleft(), Refused(Reason.UNDECODABLE, _CRASHED))


def _pool(workers: int) -> ProcessPoolExecutor:
    # Started anew rather than forked: forking a process that runs threads can deadlock.
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=spawn, initializer=_leave_interrupts)


def _leave_interrupts() -> None:
    """Let the parent alone answer Ctrl-C: it stops its workers and cleans up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
