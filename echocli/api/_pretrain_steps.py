"""The steps of a pretraining run: train, log, look at the features, save."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from echocli.api._encode import read_windows
from echocli.api._pretrain_settings import Settings
from echocli.api._pretrain_stages import Stage
from echocli.api._sector import grid_of, groups, sectors_of, share_to_train, tokens_seen
from echocli.checkpoint import has_resume, load_resume, save_resume
from echocli.clips.batches import Batch, Batches
from echocli.clips.store import ClipSet
from echocli.clips.windows import to_video
from echocli.console import Reporter
from echocli.device import Device
from echocli.errors import EchoError
from echocli.models.health import Health, health
from echocli.models.methods.base import Method, load
from echocli.models.optim import build_optimizer
from echocli.models.sector import Scan
from echocli.models.shapes import Grid
from echocli.models.training import StepRecord, train
from echocli.run import Run

STEPS_BETWEEN_READS = 10
"""Steps whose numbers stay on a GPU together, so that logging does not make it wait."""
LEAST_RANK = 1.5
"""Features that fill fewer directions than this describe all clips alike."""
LEAST_STD = 0.01


@dataclass
class Job:
    """What a run trains, on what, where.

    A stage begins as a run goes on: with a method built for its input, and the state of the
    one before.
    """

    settings: Settings
    clips: ClipSet
    device: Device
    stages: list[tuple[Stage, Batches]] = field(init=False)
    """Each with its clips: a longer window leaves out more of them."""
    at: int = field(init=False, default=0)
    """The stage that ``method`` is built for."""
    method: Method = field(init=False)
    optimizer: Optimizer = field(init=False)

    def __post_init__(self) -> None:
        if self.settings.compiled and shutil.which(os.environ.get("CXX", "c++")) is None:
            raise EchoError(
                "Compiling steps needs a C++ compiler, and none is on the path.",
                "Install one, such as g++ or clang, or --set compiled=false.",
            )
        seed = self.settings.seed
        self.stages = [
            (stage, Batches(self.clips, stage.data, stage.batch, seed))
            for stage in self.settings.course
        ]
        self.build()

    @property
    def stage(self) -> Stage:
        """The stage that ``method`` is built for."""
        return self.stages[self.at][0]

    @property
    def batches(self) -> Batches:
        """Where the windows of this stage come from."""
        return self.stages[self.at][1]

    def build(self) -> None:
        """Make method and optimiser, for the input of the stage, with fresh weights."""
        settings = self.settings
        generator = torch.Generator().manual_seed(settings.seed)
        vit = settings.encoder.vit(self.stage.data)
        built = load(settings.method).build(vit, settings.method_config, generator)
        self.method = built.to(self.device.torch)
        self.optimizer = build_optimizer(self.method, settings.optim)

    def enter(self, at: int) -> None:
        """Go to a stage with the weights, teachers and moments as they are."""
        if at != self.at:
            state = self.state(self.stages[at][0].first)
            self.at = at
            self.build()
            self.load(state)

    def load(self, state: dict[str, Any]) -> None:
        """Give method and optimiser a state."""
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(state["optimizer"])

    @property
    def rows(self) -> list[int]:
        """Rows of the clip set that any stage uses."""
        return sorted({row for _, batches in self.stages for row in batches.rows})

    @property
    def patients(self) -> int:
        """How many patients these are."""
        return int(self.clips.manifest["patient_id"].iloc[self.rows].nunique())

    @property
    def grid(self) -> Grid:
        """Tubelets of a window of this stage."""
        return grid_of(self.method.encoder, self.stage.data)

    @property
    def share(self) -> float | None:
        """Of the grid's columns, what the method sees in this stage; ``None`` if it is all."""
        return share_to_train(self.clips, self.batches.rows, self.stage.data, self.grid)

    @property
    def tokens(self) -> int:
        """Tokens of a window that the method sees in this stage."""
        frames, height, width = self.grid
        return frames * math.ceil(height * width * (self.share or 1.0))

    def state(self, step: int) -> dict[str, Any]:
        """Return all that a run needs to go on after so many steps.

        Order, windows, masks and augmentation follow from the seed and the step.
        """
        return {
            "step": step,
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> int:
        """Go back to a state; return the steps that are done."""
        done = int(state["step"])
        self.enter(sum(stage.end < done for stage, _ in self.stages))
        self.load(state)
        return done

    def steps(self, start: int, clock: Clock, until: int | None = None) -> Iterator[StepRecord]:
        """Train from a step on and yield the record of each."""
        settings = self.settings
        stop = settings.optim.steps if until is None else until
        for at, (stage, batches) in enumerate(self.stages):
            first, end = max(start, stage.first), min(stop, stage.end)
            if first >= end:
                continue
            self.enter(at)
            share = self.share
            yield from train(
                self.method,
                clock.waiting(
                    batches.stream(first, end),
                    self.to_device if share is None else self.to_scan,
                ),
                settings.optim,
                torch.Generator().manual_seed(settings.seed),
                start=first,
                optimizer=self.optimizer,
                augmentation=settings.augment,
                precision=self.device.precision,
                share=share or 1.0,
                compiled=settings.compiled,
            )

    def to_scan(self, batch: Batch) -> Scan:
        """Return clips on the device, with their sectors on the CPU."""
        return Scan(self.to_device(batch), sectors_of(self.clips, batch.rows, self.stage.data))

    def to_device(self, batch: Batch) -> Tensor:
        """Send pixels to the device as bytes and normalise them there."""
        pixels = torch.from_numpy(batch.pixels)
        if self.device.torch.type == "cuda":
            pixels = pixels.pin_memory().to(self.device.torch, non_blocking=True)
        return to_video(pixels.to(self.device.torch), self.stage.data)

    @torch.no_grad()
    def look(self) -> Health | None:
        """Measure the features of always the same clips; ``None`` for a single clip."""
        rows = self.batches.rows
        count = min(len(rows), self.settings.watch.health_clips)
        if count < 2:
            return None
        chosen = [rows[i] for i in np.linspace(0, len(rows) - 1, count).round().astype(int)]
        clips, data = self.clips, self.stage.data
        encoder, grid = self.method.export_encoder(), self.grid
        features = []
        for group in groups(clips, chosen, data, grid, self.stage.batch):
            pixels = np.concatenate([read_windows(clips, row, data, 1) for row in group])
            seen = tokens_seen(clips, group, data, grid)
            keep = None if seen is None else seen.to(self.device.torch)
            tokens = encoder(self.to_device(Batch(pixels, group)), keep)
            features.append(tokens.float().mean(dim=1).cpu())
        return health(torch.cat(features))


class Clock:
    """Measures how long steps take, and how much of it is waiting for clips."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.waited = 0.0

    def waiting(
        self, batches: Iterator[Batch], convert: Callable[[Batch], Tensor | Scan]
    ) -> Iterator[Tensor | Scan]:
        """Pass batches on and count the time until each is there."""
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - asked
            if batch is None:
                return
            yield convert(batch)

    def lap(self) -> tuple[float, float]:
        """Return seconds, and the share that was waiting, since the last call."""
        now = time.perf_counter()
        seconds, waited = now - self.started, self.waited
        self.started, self.waited = now, 0.0
        return seconds, waited / max(seconds, 1e-9)


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
                loss = _write(
                    job, run, pending, clock, look=due[1] or done == steps, to=reporter
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


def _write(
    job: Job, run: Run, records: list[StepRecord], clock: Clock, *, look: bool, to: Reporter
) -> float:
    """Write the metrics of some steps; return the last loss."""
    for record in records:
        if not (math.isfinite(record.loss) and math.isfinite(record.grad_norm)):
            raise EchoError(
                f"The loss stopped being a number at step {record.step}. The last good "
                f"checkpoint in {run.checkpoints} is untouched.",
                f"Start anew and gentler: --set optim.lr={job.settings.optim.lr / 3:.2g} "
                "-o another folder.",
            )
    seconds, wait = clock.lap()
    per_step = seconds / len(records)
    seen = job.look() if look else None
    clock.lap()
    for record in records:
        last = record is records[-1]
        run.log(
            {
                "step": record.step,
                "loss": record.loss,
                "lr": record.lr,
                "grad_norm": record.grad_norm,
                **{name: _number(value) for name, value in record.metrics.items()},
                "seconds": round(per_step, 4),
                "data_wait": round(wait, 4),
                **(asdict(seen) if seen and last else {}),
            }
        )
    if seen:
        _tell_health(records[-1], seen, job, to)
    return records[-1].loss


def _tell_health(record: StepRecord, seen: Health, job: Job, reporter: Reporter) -> None:
    steps = job.settings.optim.steps
    reporter.say(
        f"step {record.step + 1}/{steps}: loss {record.loss:.4g}, features fill "
        f"{seen.effective_rank:.1f} directions, mean cosine {seen.mean_cosine:.3f}"
    )
    if seen.effective_rank < LEAST_RANK or seen.feature_std < LEAST_STD:
        reporter.warn(
            "The features have collapsed: the encoder says nearly the same of every clip "
            f"(effective rank {seen.effective_rank:.2f}, spread {seen.feature_std:.4f}). A "
            "lower optim.lr, or a higher momentum of the teacher, usually helps."
        )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
