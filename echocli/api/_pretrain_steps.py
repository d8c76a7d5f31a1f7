"""The steps of a pretraining run: train, watch, save."""

from __future__ import annotations

from collections.abc import Callable

from echocli.api._pretrain_clock import Clock
from echocli.api._pretrain_job import Job
from echocli.api._pretrain_watch import write_metrics
from echocli.checkpoint import has_resume, load_resume, save_resume
from echocli.console import Reporter
from echocli.models.training import StepRecord
from echocli.run import Run

STEPS_BETWEEN_READS = 10
"""Steps whose numbers stay on a GPU together, so that logging does not make it wait."""


def run_steps(
    job: Job, run: Run, stop: Callable[[], bool], reporter: Reporter
) -> tuple[int, float | None]:
    """Train to the end or until asked to stop; metrics and states go to the run folder.

    Returns:
        Steps done, and the last loss.

    Raises:
        EchoError: If the loss stops being a number; the last good state stays.
    """
    start = restore_if_begun(job, run, reporter)
    run.forget_after(start)
    steps, watch = job.settings.optim.steps, job.settings.watch
    together = STEPS_BETWEEN_READS if job.device.torch.type == "cuda" else 1
    clock = Clock()
    done, loss = start, None
    pending: list[StepRecord] = []
    with reporter.progress(f"pretrain {job.settings.method}", steps) as advance:
        advance(start)
        records = job.steps(start, clock)
        for record in records:
            pending.append(record)
            done = record.step + 1
            stopping = stop()
            due = [done % every == 0 for every in (watch.checkpoint_every, watch.health_every)]
            if done == steps or stopping or any(due) or len(pending) >= together:
                loss = write_metrics(
                    job, run, pending, clock, looking=due[1] or done == steps, to=reporter
                )
                advance(len(pending))
                pending.clear()
            if done == steps or stopping or due[0]:
                save_resume(run.checkpoints, job.state(done))
            if stopping:
                break
        records.close()  # type: ignore[attr-defined]
    return done, loss


def restore_if_begun(job: Job, run: Run, reporter: Reporter) -> int:
    """Restore the newest state of a run; return the steps that are done."""
    run.checkpoints.mkdir(exist_ok=True)
    for stale in run.checkpoints.glob(".*.tmp"):
        stale.unlink()
    if not has_resume(run.checkpoints):
        return 0
    state, before = load_resume(run.checkpoints)
    if before:
        reporter.warn(
            "The newest checkpoint is damaged or missing; going on from the one before."
        )
    return job.restore(state)
