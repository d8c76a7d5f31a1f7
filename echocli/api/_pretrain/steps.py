"""The steps of a pretraining run: train, watch, save."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing

from echocli.api._pretrain.clock import Clock
from echocli.api._pretrain.job import Job
from echocli.api._pretrain.saver import Saver
from echocli.api._pretrain.trouble import DerailedError, lost_number, roll_back, sound
from echocli.api._pretrain.watch import Watch
from echocli.console import Reporter
from echocli.models.training import StepRecord
from echocli.run import Run
from echocli.states import has_state, load_state, remove, sweep

STEPS_BETWEEN_READS = 10
"""Steps whose numbers stay on a GPU together, so that logging does not make it wait."""
SCORE = "probe_score"
"""Metric of steps that measure what the encoder is worth; the higher, the better."""


def run_steps(
    job: Job, run: Run, stop: Callable[[], bool], reporter: Reporter
) -> tuple[int, float | None]:
    """Train to the end or until asked to stop; metrics and states go to the run folder.

    Returns:
        Steps done, and the last loss.

    Raises:
        DerailedError: If the loss stops being a number or the features collapse, and the
            settings do not wish to go back, or that did not help. The last good state stays.
        SpaceError: If there is no room for a state; those before stay.
    """
    with job.ranks.leader_first():
        start = restore_if_begun(job, run, reporter)
    job.ranks.check_same(
        start,
        f"Not all processes found the same checkpoint in {run.checkpoints}.",
        "Put the run where all machines see the same files.",
    )
    job.share_out()
    while True:
        try:
            return _train(job, run, start, stop, reporter)
        except DerailedError as error:
            start = roll_back(job, run, error, reporter)


def _train(
    job: Job, run: Run, start: int, stop: Callable[[], bool], reporter: Reporter
) -> tuple[int, float | None]:
    steps, every = job.settings.optim.steps, job.settings.watch.checkpoint_every
    together = STEPS_BETWEEN_READS if job.device.torch.type == "cuda" else 1
    clock = Clock()
    done, loss = start, None
    pending: list[StepRecord] = []
    with (
        Saver(run) as saver,
        closing(job.steps(start, clock)) as records,  # type: ignore[type-var]
        Watch(job, run, start, clock, reporter) as watch,
        reporter.progress(f"pretrain {job.settings.method}", steps, start) as advance,
    ):
        if start == job.retry == 0:
            saver.save(job.state(start))  # what cannot be written is told before hours pass
        for record in records:
            pending.append(record)
            done = record.step + 1
            stopping = stop()
            looking = watch.is_due(done)
            saving = done == steps or done % every == 0 or stopping
            if looking or saving or len(pending) >= together:
                loss = _log(job, run, watch, pending, looking=looking)
                advance(len(pending), watch.remark)
                pending.clear()
            if saving:
                saver.save(job.state(done), run.last.get(SCORE))
            saver.check()
            if stopping:
                break
    return done, loss


def _log(
    job: Job, run: Run, watch: Watch, records: list[StepRecord], *, looking: bool
) -> float:
    """Write the metrics of steps, up to one whose loss is no number; return the last loss."""
    broken = next((record for record in records if not sound(record)), None)
    whole = records if broken is None else records[: records.index(broken)]
    loss = math.nan
    if whole:
        loss = watch.write(whole, looking=looking and broken is None)
    if broken is not None:
        raise lost_number(job, run, broken)
    return loss


def restore_if_begun(job: Job, run: Run, reporter: Reporter) -> int:
    """Restore the newest whole state of a run, and let metrics end there.

    Returns:
        Steps that are done.
    """
    if run.writes:
        run.checkpoints.mkdir(exist_ok=True)
        sweep(run.checkpoints)
    start = _restore(job, run, reporter) if has_state(run.checkpoints) else 0
    missing = run.forget_after(start)
    if missing:
        reporter.warn(
            f"metrics.jsonl lacks {missing} of the {start} steps that are done: somebody else "
            "has changed it."
        )
    return start


def _restore(job: Job, run: Run, reporter: Reporter) -> int:
    state, damaged = load_state(run.checkpoints)
    start = job.restore(state)
    if damaged:
        names = " and ".join(saved.path.name for saved in damaged)
        reporter.warn(
            f"The newest checkpoint is damaged ({names}); going on from the one before, after "
            f"step {start}."
        )
    if run.writes:
        for saved in damaged:
            remove(saved)
    return start
