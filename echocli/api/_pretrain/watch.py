"""What is seen of a run while it trains: metrics, health of the features, a probe, alarms."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from echocli.api._pretrain.clock import Clock
from echocli.api._pretrain.job import Job
from echocli.api._pretrain.page import Page
from echocli.api._pretrain.probe import Answer, Probe
from echocli.api._pretrain.sight import Sight, spread
from echocli.api._pretrain.speed import Speed
from echocli.api._pretrain.trouble import DerailedError
from echocli.config import to_table
from echocli.console import Reporter
from echocli.errors import writing
from echocli.models.collapse import SIGNS, START, collapses
from echocli.models.health import health
from echocli.models.training import StepRecord
from echocli.run import Run, read_metrics
from echocli.trackers.base import Tracker, load

EARLY = 5
"""Looks within the first ``health_every`` steps, in which most collapses happen."""
LOOKED = "effective_rank"
"""What the metrics of a step hold if the features were looked at after it."""


class Trail:
    """What each look at a run has shown, gathered from its metrics."""

    def __init__(self) -> None:
        self.looks: list[dict[str, float]] = []
        self.steps: list[int] = []
        """Steps that were done at each look."""
        self._since: dict[str, list[float]] = {}

    def add(self, record: Mapping[str, Any]) -> None:
        """Add the metrics of the next step."""
        now = _measures(record)
        if record["step"] == 0:  # what a step measures, it measures before it learns
            self._close(0, now | _measures(record, START))
        for name, value in now.items():
            self._since.setdefault(name, []).append(value)
        if LOOKED in record:
            means = {name: sum(values) / len(values) for name, values in self._since.items()}
            self._close(record["step"] + 1, means)
            self._since.clear()

    def _close(self, done: int, look: dict[str, float]) -> None:
        self.looks.append(look)
        self.steps.append(done)


def _measures(record: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    told = {sign.measure: record.get(f"{prefix}{sign.measure}") for sign in SIGNS}
    return {name: value for name, value in told.items() if value is not None}


class Watch:
    """Looks at a training, writes what it sees, and tells when it goes wrong.

    Use it in a ``with`` block around the steps. What it measures changes nothing of what is
    trained. All processes of a training look, one writes.

    Args:
        job: What is trained.
        run: Where metrics, page and trackers' files go.
        done: Steps that are done.
        clock: Of the steps.
        reporter: Who is told.
    """

    def __init__(self, job: Job, run: Run, done: int, clock: Clock, reporter: Reporter) -> None:
        self.job, self.run, self.clock, self.reporter = job, run, clock, reporter
        self.speed = Speed(job)
        self.page = Page(job, run, done)
        self._trackers = self._open_trackers(done)
        self._trail = Trail()
        for record in read_metrics(run.folder):
            self._trail.add(record)
            self.page.add(record)
        self.answer: Answer | None = None
        """Of the last probe."""
        self._found = collapses(self._trail.looks)
        self._told: set[str] = set()
        self._remark, self._remark_due = "", 0.0
        self._sight = Sight(job, self._few)
        self._probe = Probe(job, reporter)
        self._start = (
            {f"{START}{k}": v for k, v in self._look(done).items()} if not done else {}
        )
        clock.lap()

    def __enter__(self) -> Self:
        if self.run.writes:
            self.reporter.say(
                f"to follow it, open {self.page.path}; the loss is a moving target, which may "
                "rise while the features get better"
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for tracker in self._trackers:
            tracker.close()
        self.page.end(error, self._alarms(), self.answer, str(self.speed))

    def is_due(self, done: int) -> bool:
        """Return whether to look at the features now.

        Args:
            done: Steps that are done.
        """
        every, steps = self.job.settings.watch.health_every, self.job.settings.optim.steps
        if done < every and every >= 2 * EARLY:
            return done == steps or done % (every // EARLY) == 0
        return done == steps or done % every == 0

    @property
    def remark(self) -> str:
        """How it goes, in a line; told anew twice a second at most."""
        if (now := time.monotonic()) >= self._remark_due:
            self._remark, self._remark_due = self.speed.brief, now + 0.5
        return self._remark

    def write(self, records: list[StepRecord], *, looking: bool) -> float:
        """Write the metrics of some steps.

        Args:
            records: Of these steps; their losses are numbers.
            looking: Whether to look at the features after the last of them.

        Returns:
            The last loss.

        Raises:
            DerailedError: If the features have collapsed, and the settings do not go on.
        """
        seconds, wait = self.clock.lap()
        self.speed.lap(len(records), seconds, wait)
        for record in records[:-1]:
            self._log(record, seconds / len(records), wait, {})
        last = records[-1]
        seen = self._look(last.step + 1) if looking else {}
        more = {**seen, **self.speed.metrics} if looking else {}
        self._log(last, seconds / len(records), wait, more)
        if looking:
            self._flush()
            self._judge()
        if self.page.is_due:
            self.page.write(self._alarms(), self.answer, str(self.speed))
        self.clock.lap()  # looking and writing is no part of a step
        return last.loss

    def _log(
        self, record: StepRecord, seconds: float, wait: float, more: Mapping[str, float]
    ) -> None:
        metrics = {
            **(self._start if record.step == 0 else {}),
            "loss": record.loss,
            "lr": record.lr,
            "grad_norm": record.grad_norm,
            **record.metrics,
            **more,
        }
        numbers = {k: v if math.isfinite(v) else None for k, v in metrics.items()}
        timed = {"seconds": round(seconds, 4), "data_wait": round(wait, 4)}
        told = {"step": record.step, **numbers, **timed}
        self.run.log(told)
        self._trail.add(told)
        self.page.add(told)
        finite = {k: float(v) for k, v in (numbers | timed).items() if v is not None}
        for tracker in self._trackers:
            tracker.log(record.step, finite)

    def _look(self, done: int) -> dict[str, float]:
        """Return what the features of always the same clips are like, and are worth."""
        features = self._sight.features()
        found = asdict(health(features)) if len(features) > 1 else {}
        answer = self._probe.ask(done)
        if answer is not None:
            self.answer = answer
            found |= answer.metrics
            when = f"step {done}" if done else "before training"
            self.reporter.say(f"{when}, probe: {answer}")
        return found

    def _few(self) -> list[int]:
        return spread(self.job.batches.rows, self.job.settings.watch.health_clips)

    def _alarms(self) -> list[str]:
        return [
            f"The features have collapsed: {one}. {one.sign.meaning} {one.sign.helps}"
            for one in self._found
        ]

    def _judge(self) -> None:
        """Tell of a collapse once, in the way that was asked for."""
        self._found = collapses(self._trail.looks)
        new = [one for one in self._found if one.sign.measure not in self._told]
        self._told = {one.sign.measure for one in self._found}
        if not new:
            return
        wish, worst = self.job.settings.watch.on_collapse, new[0]
        told = " ".join([f"{', '.join(map(str, new))}.", *(one.sign.meaning for one in new)])
        problem = f"After step {self._trail.steps[-1]} the features have collapsed: {told}"
        if wish == "warn":
            self.reporter.warn(
                f"{problem} {worst.sign.helps} Training goes on; --set watch.on_collapse=stop "
                "or rollback would not."
            )
            return
        raise DerailedError(
            problem,
            f"{worst.sign.helps} Start anew and gentler: --set "
            f"optim.lr={self.job.settings.optim.lr / 3:.2g} -o another folder.",
            since=min(self._trail.steps[one.since] for one in new),
            back=wish == "rollback",
        )

    def _open_trackers(self, done: int) -> list[Tracker]:
        if not self.run.writes:
            return []
        settings, folder = to_table(self.job.settings), self.run.folder
        modules = [load(name) for name in self.job.settings.watch.trackers]
        name = folder.resolve().name
        return [module.open_tracker(folder, name, settings, done) for module in modules]

    def _flush(self) -> None:
        with writing("The files of a tracker", self.run.folder):
            for tracker in self._trackers:
                tracker.flush()
