"""The page of a run, written now and then while it trains."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from echocli.api._pretrain.job import Job
from echocli.api._pretrain.probe import Answer
from echocli.errors import EchoError, writing
from echocli.files import write_text
from echocli.models.collapse import START
from echocli.reports.curves import Curve
from echocli.run import Run

LEAST_S = 15.0
"""Seconds between two writings at least."""
DEAREST = 1 / 200
"""Share of the time that drawing may take at most."""


class Page:
    """``run.html`` in the folder of a run.

    Args:
        job: What is trained.
        run: Where to.
        done: Steps that are done.
    """

    def __init__(self, job: Job, run: Run, done: int) -> None:
        self.job, self.run = job, run
        self._curves: dict[str, Curve] = {}
        self._done = done
        self._next = time.monotonic()
        self._began = (time.monotonic(), done)
        self._answer: Answer | None = None
        self._speed = ""

    @property
    def path(self) -> Path:
        """The file."""
        return self.run.folder / "run.html"

    def add(self, record: Mapping[str, Any]) -> None:
        """Add the metrics of a step to the curves."""
        step = record["step"]
        self._done = step + 1
        for name, value in record.items():
            if value is not None and name != "step":
                place = step if name.startswith(START) else step + 1
                self._curves.setdefault(name.removeprefix(START), Curve()).add(place, value)

    @property
    def is_due(self) -> bool:
        """Whether the page is old enough to be written anew."""
        return self.run.writes and time.monotonic() >= self._next

    def write(self, alarms: Sequence[str], answer: Answer | None, speed: str) -> None:
        """Write the page of a training that goes on.

        Args:
            alarms: Ways in which the run has collapsed.
            answer: Of the last probe.
            speed: How fast it goes, in a line.

        Raises:
            EchoError: If the folder was removed while the run went on.
        """
        self.run.check_there()
        self._answer, self._speed = answer, speed
        self._write("training", alarms, alive=True)

    def end(
        self,
        error: BaseException | None,
        alarms: Sequence[str],
        answer: Answer | None,
        speed: str,
    ) -> None:
        """Write the page for the last time.

        A page that cannot be written hides no error that ended the training.

        Args:
            error: What ended the training, if anything did.
            alarms: Ways in which the run has collapsed.
            answer: Of the last probe.
            speed: How fast it went, in a line.
        """
        if not self.run.writes:
            return
        self._answer, self._speed = answer, speed
        finished = self._done == self.job.settings.optim.steps
        state = "finished" if finished else f"stopped after step {self._done}"
        if isinstance(error, EchoError) and not alarms:
            alarms = [error.problem]
        with nullcontext() if error is None else suppress(EchoError):
            self.run.check_there()
            self._write(state, alarms, alive=False)

    def _write(self, state: str, alarms: Sequence[str], *, alive: bool) -> None:
        from echocli.reports.live import Progress, live_page  # draws: half a second to load

        started = time.process_time()
        settings = self.job.settings
        now = Progress(
            name=self.run.folder.resolve().name,
            method=settings.method,
            state=state,
            alive=alive,
            written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %Z"),
            done=self._done,
            steps=settings.optim.steps,
            seconds_left=self._seconds_left(),
            alarms=alarms,
            details=self._details(),
            **_probe_words(self._answer),
            speed=self._speed,
        )
        with writing("The page of the run", self.run.folder):
            write_text(self.path, live_page(now, self._curves))
        cost = time.process_time() - started
        self._next = time.monotonic() + max(LEAST_S, cost / DEAREST)

    def _seconds_left(self) -> float | None:
        began, before = self._began
        if self._done == before:
            return None
        left = self.job.settings.optim.steps - self._done
        return left * (time.monotonic() - began) / (self._done - before)

    def _details(self) -> list[tuple[str, object]]:
        settings, job = self.job.settings, self.job
        return [
            ("preset", settings.preset),
            ("clips", f"{len(job.rows)}, of {job.patients} patients"),
            ("clips a step", job.stage.batch),
            ("window", f"{job.stage.data.frames} frames of {job.stage.data.size} px"),
            ("device", str(job.device)),
        ]


def _probe_words(answer: Answer | None) -> dict[str, str]:
    if answer is None:
        return {}
    axis, guess = answer.measure, answer.guess_name
    return {"probe": f"Probe: {answer}.", "probe_axis": axis, "guess_name": guess}
