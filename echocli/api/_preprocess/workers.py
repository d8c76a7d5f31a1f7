"""Runs tasks in worker processes and gives the outcomes back in the order of the input."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from functools import partial

from echocli.api._pool import Job, Limits, Note, choose_workers, run
from echocli.api._preprocess.clip import Outcome, Settings, Task, lost, process

__all__ = ["Limits", "choose_workers", "outcomes"]

STANDARD = Limits()


def outcomes(
    tasks: Iterable[Task], settings: Settings, workers: int, limits: Limits = STANDARD
) -> Generator[Outcome, None, None]:
    """Yield what became of each task, in their order.

    No source is ever opened in this process: a file that crashes a decoder, hangs it or makes
    it eat up the memory is refused, and the rest goes on. Closing the generator ends all
    workers.

    Args:
        tasks: What to do; taken when a worker is free, so they may be made on the way.
        settings: How to do it.
        workers: Processes at most.
        limits: What one file may cost.

    Raises:
        WorkerError: If a worker meets a mistake of ours, under ``--debug``.
        EchoError: If a worker cannot start, or the privacy guard refuses a copy.
        OSError: If the disk is full.
    """
    job: Job[Task, Outcome] = Job(partial(_work, settings), lost)
    return run(job, tasks, workers, limits)


def _work(settings: Settings, task: Task, note: Note) -> Outcome:
    return process(task, settings, note)
