"""What pretraining from scratch buys on held-out phantom patients, and how long it takes.

Trains each method as ``echocli pretrain --preset laptop`` does, keeps the encoder at a few
moments, and judges each by probes on frozen features beside random weights of the same size and
plain pixels. Writes figures and curves of docs/learning.md; what is there already is not made
again, so that a call that was cut off goes on.

    python benchmarks/learning.py                    # all rows: 2 to 3 hours on 2 cores
    python benchmarks/learning.py --only discovr     # one method
    python benchmarks/learning.py --small            # minutes: only to see that it runs
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from learning_clips import (
    Sizes,
    make_clips,
    open_split,
    training_batches,
    training_share,
)
from learning_figures import Judge, pixel_outcome
from learning_report import curves, table

from echocli.api._pretrain.settings import Settings, resolve_settings
from echocli.models.methods.base import Method, load
from echocli.models.training import train
from echocli.models.vit import VisionTransformer

PRESETS = {"discovr": "laptop", "vjepa": "laptop-vjepa", "videomae": "laptop"}
"""Preset of each method."""
MOMENTS = (1 / 24, 1 / 12, 1 / 6, 1 / 3, 2 / 3, 1.0)
"""Shares of the training at which the encoder is judged."""
LABELLED = 1000


@dataclass(frozen=True)
class Moment:
    """An encoder during its training."""

    step: int
    cpu_minutes: float
    """Of all cores together, spent in training steps, loading included."""
    wall_minutes: float
    loss: float


def build(settings: Settings) -> Method:
    """Make a method with fresh weights, as ``pretrain`` does."""
    module = load(settings.method)
    shape = settings.encoder.vit(settings.data)
    generator = torch.Generator().manual_seed(settings.seed)
    return module.build(shape, settings.method_config, generator)


def random_encoder(settings: Settings) -> VisionTransformer:
    """Return the encoder that the method would export before its first step."""
    return build(settings).export_encoder()


def exported(method: Method) -> VisionTransformer:
    """Return what a method exports."""
    return method.export_encoder()


def load_encoder(settings: Settings, file: Path) -> VisionTransformer:
    """Return an encoder that ``pretrain`` wrote."""
    encoder = random_encoder(settings)
    encoder.load_state_dict(torch.load(file, weights_only=True))
    return encoder


def pretrain(
    settings: Settings,
    clips: Path,
    out: Path,
    shares: Sequence[float] = MOMENTS,
    export: Callable[[Method], VisionTransformer] = exported,
) -> None:
    """Train, and write an encoder of the method after some shares of the steps."""
    out.mkdir(parents=True, exist_ok=True)
    known = open_split(clips, "train", settings.data)
    if settings.where == "normal":
        known = known.where("normal")
    method = build(settings)
    grid = settings.encoder.vit(settings.data).grid
    steps = settings.optim.steps
    moments = {round(share * steps) for share in shares}
    scans = (
        scan
        for scan, _ in training_batches(
            known, settings.data, settings.optim.batch, settings.seed
        )
    )
    records = train(
        method,
        scans,
        settings.optim,
        torch.Generator().manual_seed(settings.seed),
        augmentation=settings.augment,
        precision="bf16",
        share=training_share(known, settings.data, grid),
    )
    cpu = wall = 0.0
    losses: list[float] = []
    before = time.process_time(), time.perf_counter()
    for record in records:
        cpu += time.process_time() - before[0]
        wall += time.perf_counter() - before[1]
        losses.append(record.loss)
        done = record.step + 1
        if done % 100 == 0:
            numbers = ", ".join(f"{k} {v:.3f}" for k, v in record.numbers.items())
            print(f"{settings.method} {done}/{steps} {cpu:.0f} s: {numbers}", flush=True)
        if done in moments:
            moment = Moment(done, cpu / 60, wall / 60, float(np.mean(losses[-100:])))
            torch.save(export(method).state_dict(), out / f"{done:06d}.pt")
            (out / f"{done:06d}.json").write_text(json.dumps(vars(moment)))
        before = time.process_time(), time.perf_counter()


def judge_all(settings: Settings, judge: Judge, run: Path) -> None:
    """Judge every encoder of a run that was not judged yet."""
    for file in sorted(run.glob("*.pt")):
        target = file.with_suffix(f".{judge.split}.npz")
        if not target.exists():
            judge(load_encoder(settings, file)).save(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("learning"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--only", nargs="*", default=list(PRESETS), help="methods to train")
    parser.add_argument("--set", nargs="*", default=[], help="settings, as optim.steps=100")
    parser.add_argument("--name", default="", help="added to the names of runs with --set")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sizes = Sizes(100, 60, 60) if options.small else Sizes()
    clips = options.folder / ("small" if options.small else "clips")
    runs = options.folder / ("runs-small" if options.small else "runs")
    make_clips(clips, sizes, options.workers)
    changes = [*options.set, *(["optim.steps=24"] if options.small else [])]

    judge: Judge | None = None
    for name in options.only:
        settings = resolve_settings(method=name, preset=PRESETS[name], changes=changes).value
        if judge is None:
            shape = settings.encoder.vit(settings.data)
            judge = Judge(clips, options.split, settings.data, shape, LABELLED)
        run = runs / f"{name}{options.name}"
        if not (run / f"{settings.optim.steps:06d}.pt").exists():
            pretrain(settings, clips, run, (1.0,) if options.small else MOMENTS)
        random = runs / f"{name}-random"
        random.mkdir(parents=True, exist_ok=True)
        start = random / f"000000.{judge.split}.npz"
        if not start.exists():
            judge(random_encoder(settings)).save(start)
        pixels = runs / f"pixels.{judge.split}.npz"
        if not pixels.exists():
            pixel_outcome(judge).save(pixels)
        judge_all(settings, judge, run)
    assert judge is not None
    print(table(runs, judge))
    curves(runs, judge, options.folder)


if __name__ == "__main__":
    main()
