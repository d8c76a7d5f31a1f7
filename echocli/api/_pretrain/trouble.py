"""What goes wrong in a training: what it was, and how to go on."""

from __future__ import annotations

import math

from echocli.api._pretrain.job import Job
from echocli.console import Reporter
from echocli.errors import EchoError
from echocli.models.training import StepRecord
from echocli.run import Run
from echocli.states import load_state, save_state

MOST_RETRIES = 3
"""How often a run goes back before it gives up."""
MOST_NAMED = 8
"""Clips that an error names."""


class DerailedError(EchoError):
    """The training has gone wrong, though nothing failed: its numbers make no sense any more.

    Args:
        problem: See ``EchoError``.
        remedy: See ``EchoError``.
        since: Step in which it was seen first, counted from 0.
        back: Whether the settings wish to go back and on more gently.
    """

    def __init__(self, problem: str, remedy: str, *, since: int, back: bool) -> None:
        super().__init__(problem, remedy)
        self.since = since
        self.back = back


def sound(record: StepRecord) -> bool:
    """Return whether loss and gradient of a step are numbers."""
    return math.isfinite(record.loss) and math.isfinite(record.grad_norm)


def lost_number(job: Job, run: Run, record: StepRecord) -> DerailedError:
    """Return what to tell of a step whose loss or gradient is no number.

    Args:
        job: Whose step it was.
        run: Where its good states are.
        record: Of that step.
    """
    numbers = record.numbers.items()
    told = sorted(numbers, key=lambda number: math.isfinite(number[1]))  # the broken ones first
    parts = ", ".join(f"{name} {value:.4g}" for name, value in told)
    what = "The gradient" if math.isfinite(record.loss) else "The loss"
    return DerailedError(
        f"{what} stopped being a number at step {record.step} ({parts}). "
        f"{_input_of(job, record.step)} The last good checkpoint in {run.checkpoints} is "
        "untouched.",
        "Go back to it and on at a third of the learning rate: the same command with --set "
        f"watch.on_nan=rollback. Or start anew: --set optim.lr={job.settings.optim.lr / 3:.2g} "
        "-o another folder.",
        since=record.step,
        back=job.settings.watch.on_nan == "rollback",
    )


def roll_back(job: Job, run: Run, error: DerailedError, reporter: Reporter) -> int:
    """Go back to the newest good state, to go on at a lower learning rate from there.

    What was learnt and logged since is dropped. The lower rate is saved at once, so that a
    crash does not undo it.

    Args:
        job: What is trained.
        run: Where its states are.
        error: What went wrong.
        reporter: Who is told.

    Returns:
        Steps that are done.

    Raises:
        DerailedError: The error, if the settings do not wish to go back, if there is no state
            from before, or if the run has gone back too often.
    """
    if not error.back or job.retry == MOST_RETRIES:
        raise error
    job.ranks.wait()  # until all that was to be saved is
    try:
        state, _ = load_state(run.checkpoints, until=error.since)
    except EchoError:
        raise error from None
    retry = job.retry + 1
    done = job.restore({**state, "retry": retry})
    state = job.state(done)
    job.ranks.wait()  # until nobody reads any more
    if run.writes:
        save_state(run.checkpoints, state)
    run.forget_after(done)
    reporter.warn(
        f"{error.problem} Going back to step {done} and on at {job.optim.lr:.2g} instead of "
        f"{job.settings.optim.lr:.2g} (attempt {retry + 1} of {MOST_RETRIES + 1})."
    )
    return done


def _input_of(job: Job, step: int) -> str:
    """Say whether the clips of a step held numbers, and which they were."""
    batch = job.batches.read(step)
    ids = job.clips.manifest["clip_id"].iloc[batch.rows].tolist()
    whole = job.to_device(batch).isfinite().flatten(1).all(dim=1).tolist()
    broken = [name for name, fine in zip(ids, whole, strict=True) if not fine]
    if broken:
        return f"Normalised clips of that step hold what is no number: {_some(broken)}."
    return f"The clips of that step hold numbers, so it is the training: {_some(ids)}."


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
