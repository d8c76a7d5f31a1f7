"""What is seen of a run while it trains: metrics, health of the features, warnings."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import torch

from echocli.api._pretrain_clock import Clock
from echocli.api._pretrain_job import Job
from echocli.api._sector import groups, tokens_seen
from echocli.clips.batches import Batch
from echocli.console import Reporter
from echocli.models.health import Health, health
from echocli.models.training import StepRecord
from echocli.run import Run

LEAST_RANK = 1.5
"""Features that fill fewer directions than this describe all clips alike."""
LEAST_STD = 0.01


@torch.no_grad()
def look(job: Job) -> Health | None:
    """Measure the features of always the same clips; ``None`` for a single clip."""
    rows = job.batches.rows
    count = min(len(rows), job.settings.watch.health_clips)
    if count < 2:
        return None
    chosen = [rows[i] for i in np.linspace(0, len(rows) - 1, count).round().astype(int)]
    clips, data = job.clips, job.stage.data
    encoder, grid = job.exported(), job.grid
    features = []
    for group in groups(clips, chosen, data, grid, job.stage.batch):
        pixels = np.stack([job.batches.window(row, 0.5) for row in group])
        seen = tokens_seen(clips, group, data, grid)
        keep = None if seen is None else seen.to(job.device.torch)
        tokens = encoder(job.to_device(Batch(pixels, group)), keep)
        features.append(tokens.float().mean(dim=1).cpu())
    return health(torch.cat(features))


def write_metrics(
    job: Job, run: Run, records: list[StepRecord], clock: Clock, *, looking: bool, to: Reporter
) -> float:
    """Write the metrics of some steps; return the last loss."""
    seconds, wait = clock.lap()
    per_step = seconds / len(records)
    seen = look(job) if looking else None
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
