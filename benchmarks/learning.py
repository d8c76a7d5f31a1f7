"""What training bought, on held-out phantom patients of the hard setting.

Prints the table of docs/learning.md: ejection fraction by a ridge probe on frozen features,
zero-shot anomaly, and a linear segmentation head, for predict-the-mean, pixels, random weights,
DISCOVR, V-JEPA, and a supervised encoder of the same size that shows what could be learnt.

    python benchmarks/learning.py                 # the table; about an hour on 2 cores
    python benchmarks/learning.py --small         # minutes: only to see that it runs
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from echocli.api._segment_frames import masks_to_model, windows_with
from echocli.clips.contract import DataConfig
from echocli.clips.store import ClipSet, ClipSetWriter
from echocli.clips.windows import (
    epoch_order,
    spread_starts,
    to_video,
    why_not,
    window_indices,
    window_start,
)
from echocli.datasets.phantom import PhantomConfig, phantom_clips
from echocli.device import Device, choose_device
from echocli.models.augment import AugmentConfig, augment
from echocli.models.health import health
from echocli.models.layers import cut_patches
from echocli.models.methods.base import load
from echocli.models.optim import OptimConfig
from echocli.models.pooling import pool, pooled_dim
from echocli.models.schedules import cosine
from echocli.models.tasks.anomaly import NearestNormals
from echocli.models.tasks.lvef import RidgeProbe
from echocli.models.tasks.segmentation import LinearSegmenter
from echocli.models.training import step_generator, train
from echocli.models.vit import VisionTransformer, ViTConfig
from echocli.statistics.agreement import agreement
from echocli.statistics.bootstrap import Interval, bootstrap_intervals, weighted_mean
from echocli.statistics.classification import classification
from echocli.statistics.overlap import overlaps

SEED = 11
POOLS = ("mean", "mean_std")
STRUCTURES = ("lv_cavity", "lv_myocardium", "left_atrium")
DATA = DataConfig(frames=16, size=64, seconds=1.0)
ENCODER = ViTConfig(frames=16, size=64, tubelet=(2, 8, 8), dim=192, depth=6, heads=3)
AUGMENTATION = AugmentConfig()
Embed = Callable[[Tensor], Tensor]
"""Normalised clips to tokens."""


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    train: int = 600
    test: int = 250
    steps: int = 600
    batch: int = 16


def make_part(folder: Path, part: int, start: int, count: int, split: str) -> None:
    """Write some phantom patients as one part of a clip set."""
    config = PhantomConfig(difficulty="hard", size=DATA.size)
    with ClipSetWriter(folder, f"{split}{part:03d}") as writer:
        for clip in phantom_clips(config, count, SEED, start=start):
            writer.add(replace(clip, labels={**clip.labels, "split": split}))


def make_clips(folder: Path, sizes: Sizes, workers: int) -> ClipSet:
    """Write the phantoms once, in parallel; test patients are numbered apart."""
    with ProcessPoolExecutor(workers) as pool_:
        jobs = []
        for split, total, first in (("train", sizes.train, 0), ("test", sizes.test, 100_000)):
            for part, start in enumerate(range(0, total, 50)):
                if not (folder / "manifest" / f"part-{split}{part:03d}.parquet").exists():
                    count = min(50, total - start)
                    jobs.append(
                        pool_.submit(make_part, folder, part, first + start, count, split)
                    )
        for job in jobs:
            job.result()
    clips = ClipSet.open(folder)
    fits = [
        row
        for row in range(len(clips))
        if why_not(clips.times_s(row), len(clips.frames(row)), DATA) is None
    ]
    return clips.subset(fits)


def window(clips: ClipSet, row: int, start: float) -> NDArray[np.uint8]:
    """Cut one window."""
    frames = clips.frames(row)
    indices = window_indices(clips.times_s(row), len(frames), DATA, start)
    assert indices is not None
    return np.asarray(frames[indices])


def batches(
    clips: ClipSet, batch: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield clips and their rows, for ever; the order depends on the seed alone."""
    epoch = 0
    while True:
        order = epoch_order(len(clips), SEED, epoch)
        for first in range(0, len(order) - batch + 1, batch):
            rows = order[first : first + batch]
            pixels = [window(clips, int(r), window_start(SEED, epoch, int(r))) for r in rows]
            video = to_video(torch.from_numpy(np.stack(pixels)).to(device), DATA)
            yield video, torch.from_numpy(np.asarray(rows)).to(device)
        epoch += 1


def pretrain(name: str, clips: ClipSet, sizes: Sizes, place: Device) -> Embed:
    """Train a method without labels and return its exported encoder."""
    module = load(name)
    generator = torch.Generator().manual_seed(SEED)
    method = module.build(ENCODER, module.Config(), generator).to(place.torch)
    optim = OptimConfig(steps=sizes.steps, batch=sizes.batch)
    videos = (video for video, _ in batches(clips, sizes.batch, place.torch))
    for record in train(
        method, videos, optim, generator, augmentation=AUGMENTATION, precision=place.precision
    ):
        if record.step % 100 == 0 or record.step == sizes.steps - 1:
            numbers = ", ".join(f"{k} {v:.3f}" for k, v in record.numbers.items())
            print(f"  {name} step {record.step}: {numbers}", flush=True)
    return method.export_encoder().eval()


def supervise(clips: ClipSet, sizes: Sizes, place: Device) -> Embed:
    """Train the same encoder end to end on the ejection fraction."""
    device = place.torch
    generator = torch.Generator().manual_seed(SEED)
    encoder = VisionTransformer(ENCODER, generator).to(device)
    width = pooled_dim(ENCODER.dim, "mean_std")
    # Change over time is small beside the mean; without a common scale the head is deaf to it.
    scale = nn.BatchNorm1d(width, affine=False).to(device)
    head = nn.Linear(width, 1).to(device)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    target = torch.tensor(clips.manifest["ef_percent"].to_numpy(np.float32), device=device)
    centre, spread = target.mean(), target.std()
    weights = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=1e-3, weight_decay=0.05, fused=True)
    for step, (video, rows) in zip(
        range(sizes.steps), batches(clips, sizes.batch, place.torch), strict=False
    ):
        video = augment(video, AUGMENTATION, step_generator(SEED, step))
        rate = 1e-3 * min(1.0, (step + 1) / 60)
        optimizer.param_groups[0]["lr"] = rate * cosine(step / sizes.steps, 1.0, 0.01)
        with torch.autocast(device.type, torch.bfloat16, enabled=place.precision == "bf16"):
            tokens = encoder(video)
        features = pool(tokens.float(), encoder.grid(video.shape), "mean_std")
        wanted = (target[rows] - centre) / spread
        loss = nn.functional.smooth_l1_loss(head(scale(features))[:, 0], wanted)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 3.0)
        optimizer.step()
        if step % 100 == 0 or step == sizes.steps - 1:
            print(f"  supervised step {step}: loss {loss.item():.3f}", flush=True)
    return encoder.eval()


def pixel_tokens(video: Tensor) -> Tensor:
    """Return the raw pixels of every tubelet: the encoder that computes nothing."""
    return cut_patches(video, ENCODER.tubelet)


def pixel_features(tokens: Tensor, kind: str) -> Tensor:
    """Summarise raw pixels place by place: a mean over places would leave one grey level."""
    places = tokens.unflatten(1, (ENCODER.grid[0], -1)).mean(dim=3)
    if kind == "mean":
        return places.mean(dim=1)
    return torch.cat([places.mean(dim=1), places.std(dim=1)], dim=1)


@torch.no_grad()
def encode(embed: Embed, windows: list[NDArray[np.uint8]], place: Device) -> Tensor:
    """Return the tokens of some windows, in the precision that the commands would choose."""
    video = to_video(torch.from_numpy(np.stack(windows)).to(place.torch), DATA)
    if embed is pixel_tokens:
        return embed(video)
    with torch.autocast(place.torch.type, torch.bfloat16, enabled=place.precision == "bf16"):
        return embed(video).float()


def features(embed: Embed, clips: ClipSet, place: Device) -> dict[str, Tensor]:
    """Return one vector a clip for each pooling, averaged over three windows."""
    rows: dict[str, list[Tensor]] = {kind: [] for kind in POOLS}
    for first in range(0, len(clips), 16):
        chosen = range(first, min(first + 16, len(clips)))
        pooled: dict[str, list[Tensor]] = {kind: [] for kind in POOLS}
        for start in spread_starts(3):
            tokens = encode(embed, [window(clips, row, start) for row in chosen], place)
            for kind in POOLS:
                if embed is pixel_tokens:
                    pooled[kind].append(pixel_features(tokens, kind))
                else:
                    pooled[kind].append(pool(tokens, ENCODER.grid, kind))
        for kind in POOLS:
            rows[kind].append(torch.stack(pooled[kind]).mean(dim=0))
    return {kind: torch.cat(parts).cpu() for kind, parts in rows.items()}


def labelled_tokens(
    embed: Embed, clips: ClipSet, place: Device
) -> tuple[Tensor, Tensor, Tensor, list[str]]:
    """Return tokens of the tubelets that hold labelled frames, slots, masks and patients."""
    windows, positions, masks, patients = [], [], [], []
    for row in range(len(clips)):
        frames, times, found = clips.frames(row), clips.times_s(row), clips.masks(row)
        assert found is not None
        for frame, mask in zip(clips.mask_frames(row), found, strict=True):
            choices = windows_with(frame, times, len(frames), DATA)
            if choices:
                positions.append(sorted(choices)[len(choices) // 2])
                windows.append(np.asarray(frames[choices[positions[-1]]]))
                masks.append(masks_to_model(mask[None], DATA.size)[0])
                patients.append(str(clips.manifest["patient_id"].iloc[row]))
    step = ENCODER.tubelet[0]
    tokens = []
    for first in range(0, len(windows), 16):
        batch = encode(embed, windows[first : first + 16], place).unflatten(1, ENCODER.grid)
        slots = [position // step for position in positions[first : first + 16]]
        tokens.append(batch[torch.arange(len(batch)), slots].cpu())
    slots = torch.tensor([position % step for position in positions])
    return torch.cat(tokens), slots, torch.stack(masks).long(), patients


def numbered(patients: list[str]) -> Tensor:
    """Number the patients."""
    return torch.from_numpy(np.unique(np.asarray(patients), return_inverse=True)[1])


def measure(embed: Embed, sets: dict[str, ClipSet], place: Device) -> dict[str, Interval]:
    """Return every figure of one encoder on the test patients."""
    known, unseen = sets["train"].manifest, sets["test"].manifest
    patients = unseen["patient_id"].tolist()
    vectors = {name: features(embed, clips, place) for name, clips in sets.items()}
    figures: dict[str, Interval] = {}
    for kind in POOLS:
        x = {name: one[kind] for name, one in vectors.items()}
        probe = RidgeProbe().fit(
            x["train"],
            torch.tensor(known["ef_percent"].to_numpy(np.float32)),
            numbered(known["patient_id"].tolist()),
            torch.Generator().manual_seed(SEED),
        )
        predicted = probe.predict(x["test"]).numpy()
        measured = unseen["ef_percent"].to_numpy(np.float64)
        figures[f"ef_{kind}"] = agreement(measured, predicted, patients, seed=SEED)["mae"]
        normal = torch.tensor(known["normal"].to_numpy(bool))
        scores = NearestNormals().fit(x["train"][normal]).score(x["test"]).numpy()
        abnormal = ~unseen["normal"].to_numpy(bool)
        test = classification(abnormal, scores, None, patients, seed=SEED)
        figures[f"auroc_{kind}"] = test["auroc"]
    rank = health(vectors["test"]["mean"]).effective_rank
    figures["rank"] = Interval(rank, np.nan, np.nan)
    return figures | dice_figures(embed, sets, place)


def dice_figures(embed: Embed, sets: dict[str, ClipSet], place: Device) -> dict[str, Interval]:
    """Fit the linear head on the training patients and return Dice on the test patients."""
    tokens, slots, masks, _ = labelled_tokens(embed, sets["train"], place)
    generator = torch.Generator().manual_seed(SEED)
    head = LinearSegmenter(ENCODER.tubelet).fit(tokens, slots, masks, generator)
    tokens, slots, masks, patients = labelled_tokens(embed, sets["test"], place)
    maps = head.predict(tokens[:, None])[torch.arange(len(slots)), slots]
    found = [overlaps(a.numpy(), b.numpy()) for a, b in zip(maps, masks, strict=True)]
    values = {n: np.array([one[n][0] for one in found]) for n in STRUCTURES}
    values["mean"] = np.nanmean(np.stack(list(values.values())), axis=0)
    return {
        f"dice_{name}": bootstrap_intervals(
            {"x": lambda w, v=v: weighted_mean(v, w)}, patients, seed=SEED
        )["x"]
        for name, v in values.items()
    }


def mean_figures(sets: dict[str, ClipSet]) -> dict[str, Interval]:
    """Return the error of always saying the mean of the training patients."""
    measured = sets["test"].manifest["ef_percent"].to_numpy(np.float64)
    guess = np.full(len(measured), sets["train"].manifest["ef_percent"].mean())
    error = agreement(measured, guess, sets["test"].manifest["patient_id"], seed=SEED)["mae"]
    return {"ef_mean": error, "ef_mean_std": error}


COLUMNS = {
    "ef_mean": "EF error, mean",
    "ef_mean_std": "EF error, mean and std",
    "auroc_mean": "AUROC, mean",
    "auroc_mean_std": "AUROC, mean and std",
    "dice_mean": "Dice",
    "dice_lv_cavity": "cavity",
    "dice_lv_myocardium": "muscle",
    "dice_left_atrium": "atrium",
    "rank": "effective rank",
}


def markdown(table: dict[str, dict[str, Interval]]) -> str:
    """Return the table as Markdown."""
    lines = ["| frozen features | " + " | ".join(COLUMNS.values()) + " |"]
    lines.append("|---" * (len(COLUMNS) + 1) + "|")
    for name, figures in table.items():
        cells = []
        for column in COLUMNS:
            interval = figures.get(column)
            digits = 1 if column == "rank" else 2 if column.startswith("ef") else 3
            if interval is None:
                cells.append("-")
            elif np.isnan(interval.low):
                cells.append(f"{interval.value:.{digits}f}")
            else:
                low, high = f"{interval.low:.{digits}f}", f"{interval.high:.{digits}f}"
                cells.append(f"{interval.value:.{digits}f} ({low} to {high})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def keep(path: Path, table: dict[str, dict[str, Interval]]) -> None:
    """Add rows to the file of figures, where rows of another call may already stand."""
    content = json.loads(path.read_text()) if path.exists() else {}
    content |= {row: {k: v.as_json() for k, v in one.items()} for row, one in table.items()}
    path.write_text(json.dumps(content, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("learning"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=Sizes.steps)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--only", nargs="*", help="rows of the table; all if left out")
    options = parser.parse_args()
    sizes = Sizes(60, 40, 20, 8) if options.small else Sizes(steps=options.steps)
    place = choose_device()
    clips = make_clips(
        options.folder / ("small" if options.small else "clips"), sizes, options.workers
    )
    sets = {split: clips.where(f"split == '{split}'") for split in ("train", "test")}
    print({split: len(one) for split, one in sets.items()}, place, flush=True)
    rows: dict[str, Callable[[], Embed]] = {
        "pixels": lambda: pixel_tokens,
        "random weights": lambda: VisionTransformer(
            ENCODER, torch.Generator().manual_seed(SEED)
        ).to(place.torch),
        "DISCOVR": lambda: pretrain("discovr", sets["train"], sizes, place),
        "V-JEPA": lambda: pretrain("vjepa", sets["train"], sizes, place),
        "supervised": lambda: supervise(sets["train"], sizes, place),
    }
    table = {"predict the mean": mean_figures(sets)}
    for row, make in rows.items():
        if options.only and row not in options.only:
            continue
        started = time.monotonic()
        embed = make()
        trained = time.monotonic()
        table[row] = measure(embed, sets, place)
        print(f"  {row}: {trained - started:.0f} s to train", flush=True)
        print(markdown({row: table[row]}), flush=True)
        keep(options.folder / f"table-{clips.folder.name}-{sizes.steps}.json", table)
    print(markdown(table))


if __name__ == "__main__":
    main()
