"""Threads that work ahead and hand over in order.

Threads, not processes: copying frames out of a memory map and waiting for a disk let others
run, nothing is copied between processes, and no thread can die unseen: what it raises reaches
the caller as it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from echocli.device import allowed_cpus

T = TypeVar("T")
AHEAD = 2
"""Tasks that are done before they are asked for, at least."""
MOST = 4
"""Readers unless more are asked for: one serves from memory, more hide a slow disk's delays."""


def usual_readers() -> int:
    """Return how many threads read: no more than there are processors for this process."""
    return min(MOST, allowed_cpus())


def in_flight(readers: int) -> int:
    """Return how many tasks are waiting, under way or done and not asked for, at most."""
    return max(readers, AHEAD) + 1


def in_order(tasks: Iterable[Callable[[], T]], readers: int) -> Iterator[T]:
    """Yield what tasks return, in their order, whoever does them.

    A task begins only when that ``in_flight(readers)`` places before it was handed over.

    Args:
        tasks: What to do.
        readers: Threads that work ahead; with 0 each task is done when it is asked for.

    Raises:
        BaseException: What a task raised, when its turn comes.
    """
    if not readers:
        yield from (task() for task in tasks)
        return
    ahead: deque[Future[T]] = deque()
    with ThreadPoolExecutor(readers, "reader") as pool:
        try:
            for task in tasks:
                ahead.append(pool.submit(task))
                if len(ahead) == in_flight(readers):
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()
