"""What a run would do on this machine, told before anything is written."""

from __future__ import annotations

import shutil
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echocli.api._pretrain.clock import Clock
from echocli.api._pretrain.job import Job
from echocli.api._pretrain.memory import Room
from echocli.api._pretrain.record import count_numbers, left_out_of, state_bytes
from echocli.api._pretrain.settings import Settings
from echocli.api._pretrain.settle import too_large
from echocli.api._pretrain.stages import Stage
from echocli.clips.batches import Batches, describe_left_out
from echocli.clips.lengths import says, shorter_windows
from echocli.config import Resolved, to_table
from echocli.models.training import StepRecord
from echocli.states import KEPT

WARM_UP = 1
"""Steps that are not timed: kernels are chosen in the first."""
LEAST, MOST = 2, 8
"""Steps that are timed: so many, then more until ``ENOUGH_S`` have passed."""
ENOUGH_S = 3.0
NUMBER = 26
"""Bytes of a number in the metrics, beside its name (measured)."""
TIMED = ("step", "loss", "lr", "grad_norm", "seconds", "data_wait")
"""What every line of the metrics holds, whatever the method."""
LOOK = 400
"""Bytes more of a line after which the features were looked at (measured)."""
TENSOR = 120
"""Bytes of a tensor's entry in the model's file, beside its numbers (measured)."""


@dataclass(frozen=True)
class Plan:
    """What a run would do on this machine; nothing is written."""

    method: str
    preset: str
    run: Path
    clips: int
    patients: int
    not_chosen: int
    """Clips that the condition ``--where`` leaves out."""
    left_out: dict[str, int]
    """Clips that cannot fill a window, by reason."""
    tokens: int
    """Tokens a window; of the last stage, whose input the model will expect."""
    parameters: int
    """Trained numbers."""
    encoder_parameters: int
    """Numbers of the exported encoder."""
    memory: dict[str, int]
    """Bytes that a process needs at its fullest moment, by part, and in ``total``."""
    memory_free: int | None
    """Bytes that are free for it."""
    checkpoint_bytes: int
    """Of one saved state."""
    disk: dict[str, int]
    """Bytes that the run will fill, by part, and in ``total``."""
    disk_free: int
    steps: int
    epochs: float
    device: str
    seconds_per_step: float | None
    """The mean over all steps; ``None`` if a step does not fit into memory."""
    hours: float | None
    stages: list[StagePlan]
    """What is seen when."""
    warnings: list[str]
    """Where the recipe does not fit the clips or the machine."""
    settings: dict[str, Any]
    sources: dict[str, str]
    """Where each setting that is not a default comes from."""


@dataclass(frozen=True)
class StagePlan:
    """Steps that see clips in one way."""

    first_step: int
    steps: int
    frames: int
    size: int
    batch: int
    tokens: int
    """Tokens a window."""
    clips: int
    """Clips that can fill a window."""
    seconds_per_step: float | None


def plan_of(
    job: Job, resolved: Resolved[Settings], room: Room, run: Path, offered: int
) -> Plan:
    """Take a few steps of every stage and return what the whole run would be.

    Args:
        job: Ready to begin; it is trained a little.
        resolved: Its settings.
        room: What it must fit into.
        run: Folder of the run.
        offered: Clips before the condition ``where``.
    """
    settings, clips, steps = resolved.value, len(job.rows), resolved.value.optim.steps
    fits, memory = room.fits(settings), room.needed(settings)
    stages, line = [], 0
    for at, (stage, batches) in enumerate(job.stages):
        seconds, record = _time_steps(job, stage) if fits else (None, None)
        job.enter(at)
        stages.append(_stage_plan(job, stage, batches, seconds))
        line = max(line, 0 if record is None else line_bytes(record))
    timed = [s.seconds_per_step * s.steps for s in stages if s.seconds_per_step is not None]
    total = sum(timed) if fits else None
    disk = disk_bytes(job, line)
    return Plan(
        method=settings.method,
        preset=settings.preset,
        run=run,
        clips=clips,
        patients=job.patients,
        not_chosen=offered - len(job.clips),
        left_out=left_out_of(job),
        tokens=stages[-1].tokens,
        parameters=count_numbers(p for p in job.method.parameters() if p.requires_grad),
        encoder_parameters=count_numbers(job.method.export_encoder().parameters()),
        memory={**vars(memory), "total": memory.total},
        memory_free=room.free,
        checkpoint_bytes=state_bytes(job),
        disk=disk,
        disk_free=disk_free(run),
        steps=steps,
        epochs=sum(stage.steps * stage.batch for stage in stages) / clips,
        device=str(job.device),
        seconds_per_step=None if total is None else total / steps,
        hours=None if total is None else total / 3600,
        stages=stages,
        warnings=[*_about_clips(job), *_about_machine(job, room, run, disk, fits=fits)],
        settings=to_table(settings),
        sources=resolved.sources,
    )


def _stage_plan(job: Job, stage: Stage, batches: Batches, seconds: float | None) -> StagePlan:
    return StagePlan(
        first_step=stage.first,
        steps=stage.end - stage.first,
        frames=stage.data.frames,
        size=stage.data.size,
        batch=stage.batch,
        tokens=job.tokens,
        clips=len(batches.rows),
        seconds_per_step=seconds,
    )


def _time_steps(job: Job, stage: Stage) -> tuple[float, StepRecord]:
    """Take a few steps of a stage; return the seconds of one, and the last one's record."""
    clock, seconds = Clock(), []
    until = min(stage.end, stage.first + WARM_UP + MOST)
    began = time.perf_counter()
    with closing(job.steps(stage.first, clock, until=until)) as records:  # type: ignore[type-var]
        for record in records:
            assert record.loss is not None  # waits for the device
            seconds.append(clock.lap()[0])
            if len(seconds) == WARM_UP:
                began = time.perf_counter()
            timed, passed = len(seconds) - WARM_UP, time.perf_counter() - began
            if timed >= LEAST and passed > ENOUGH_S:
                break
    timed_ones = seconds[WARM_UP:] or seconds
    return sum(timed_ones) / len(timed_ones), record


def line_bytes(record: StepRecord) -> int:
    """Return the bytes of a line of the metrics."""
    names = (*TIMED, *record.metrics)
    return sum(len(name) + NUMBER for name in names)


def disk_bytes(job: Job, line: int) -> dict[str, int]:
    """Return the bytes that a run fills at its fullest, by part.

    Args:
        job: The run.
        line: Bytes of a line of the metrics.
    """
    watch, steps = job.settings.watch, job.settings.optim.steps
    # The newest, the best if that is measured, and the one that is being written.
    states = KEPT + 1 + (watch.probe is not None)
    encoder = job.method.export_encoder().state_dict()
    model = sum(int(tensor.nbytes) + TENSOR for tensor in encoder.values())
    found = {
        "checkpoints": states * state_bytes(job),
        "model": model,
        "best": model * (watch.probe is not None),
        "metrics": steps * line + steps // watch.health_every * LOOK,
    }
    return {**found, "total": sum(found.values())}


def disk_free(run: Path) -> int:
    """Return the bytes that are free where a run goes."""
    there = next(path for path in (run, *run.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def _about_clips(job: Job) -> list[str]:
    """Say where the recipe does not fit the clips."""
    said = []
    for stage, batches in job.stages:
        count = len(job.clips)
        if batches.left_out:
            tubelet = job.settings.encoder.tubelet[0]
            ways = shorter_windows(job.clips, stage.data, tubelet)
            keeps = " or ".join(f"--set {way.setting} ({way.clips})" for way in ways)
            said.append(
                f"A window of {says(stage.data)} leaves out {count - len(batches.rows)} of "
                f"{count} clips: {describe_left_out(batches.left_out)}."
                + (f" What keeps 95 % of them: {keeps}." if keeps else "")
            )
        if stage.batch > len(batches.rows):
            said.append(
                f"A step sees {stage.batch} clips, and there are {len(batches.rows)}: some "
                f"come twice. --set optim.batch={len(batches.rows)} would take each once."
            )
    return said


def _about_machine(
    job: Job, room: Room, run: Path, disk: dict[str, int], *, fits: bool
) -> list[str]:
    said = [] if fits else [too_large(job.settings, room)]
    free = disk_free(run)
    if disk["total"] > free:
        said.append(
            f"The run will fill {disk['total'] / 1e9:.1f} GB of the disk, {free / 1e9:.1f} GB "
            "are free. Choose another place with -o."
        )
    return said
