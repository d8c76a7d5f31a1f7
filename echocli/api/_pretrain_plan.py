"""What a run would do on this machine, told before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echocli.api._pretrain_clock import Clock
from echocli.api._pretrain_job import Job
from echocli.api._pretrain_record import count_numbers, left_out_of, state_bytes
from echocli.api._pretrain_settings import Settings
from echocli.api._pretrain_stages import Stage
from echocli.clips.batches import Batches
from echocli.config import Resolved, to_table

PLAN_STEPS = 2
"""Steps that a plan measures, after one to warm up."""


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
    checkpoint_bytes: int
    """Of one saved state; two are kept."""
    steps: int
    epochs: float
    device: str
    seconds_per_step: float
    """The mean over all steps."""
    hours: float
    stages: list[StagePlan]
    """What is seen when."""
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
    seconds_per_step: float


def plan_of(job: Job, resolved: Resolved[Settings], run: Path, offered: int) -> Plan:
    """Take a few steps of every stage and return what the whole run would be.

    Args:
        job: Ready to begin; it is trained a little.
        resolved: Its settings.
        run: Folder of the run.
        offered: Clips before the condition ``where``.
    """
    settings, clips = resolved.value, len(job.rows)
    stages = [_plan_stage(job, stage, batches) for stage, batches in job.stages]
    steps = settings.optim.steps
    seconds = sum(stage.seconds_per_step * stage.steps for stage in stages)
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
        checkpoint_bytes=state_bytes(job),
        steps=steps,
        epochs=sum(stage.steps * stage.batch for stage in stages) / clips,
        device=str(job.device),
        seconds_per_step=seconds / steps,
        hours=seconds / 3600,
        stages=stages,
        settings=to_table(settings),
        sources=resolved.sources,
    )


def _plan_stage(job: Job, stage: Stage, batches: Batches) -> StagePlan:
    """Take a few steps of a stage and say what it costs."""
    until = min(stage.end, stage.first + 1 + PLAN_STEPS)
    clock = Clock()
    seconds = []
    for record in job.steps(stage.first, clock, until=until):
        assert record.loss is not None  # waits for the device
        seconds.append(clock.lap()[0])
    return StagePlan(
        first_step=stage.first,
        steps=stage.end - stage.first,
        frames=stage.data.frames,
        size=stage.data.size,
        batch=stage.batch,
        tokens=job.tokens,
        clips=len(batches.rows),
        seconds_per_step=sum(seconds[1:] or seconds) / max(1, len(seconds) - 1),
    )
