"""The phantom patients of the learning benchmarks, made once, and their windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echocli.api._segment.frames import masks_to_model, windows_with
from echocli.clips.contract import DataConfig
from echocli.clips.store import ClipSet, ClipSetWriter
from echocli.clips.windows import (
    epoch_order,
    to_sector,
    to_video,
    why_not,
    window_indices,
    window_start,
)
from echocli.datasets.phantom import PhantomConfig, phantom_clips
from echocli.models.sector import Scan, choose_places, columns_inside, share_of, share_of_most
from echocli.models.shapes import Grid, Places, Sector

POPULATION = 11
"""Seed of the patients."""
PART = 50
"""Patients a part."""
FIRST = {"train": 0, "test": 100_000, "dev": 200_000}
"""Number of the first patient of each split: ``dev`` chose the recipe, ``test`` judges it."""


@dataclass(frozen=True)
class Sizes:
    """How many patients of each split."""

    train: int = 2000
    dev: int = 300
    test: int = 600


def make_part(folder: Path, part: int, start: int, count: int, split: str) -> None:
    """Write some phantom patients of the hard setting as one part of a clip set."""
    config = PhantomConfig(difficulty="hard", size=64)
    with ClipSetWriter(folder, f"{split}{part:03d}") as writer:
        for clip in phantom_clips(config, count, POPULATION, start=start):
            writer.add(replace(clip, labels={**clip.labels, "split": split}))


def make_clips(folder: Path, sizes: Sizes, workers: int) -> None:
    """Write what is not there yet, in parallel: about 0.3 s a patient and core."""
    with ProcessPoolExecutor(workers) as pool:
        jobs = []
        for split, first in FIRST.items():
            total = getattr(sizes, split)
            for part, start in enumerate(range(0, total, PART)):
                if not (folder / "manifest" / f"part-{split}{part:03d}.parquet").exists():
                    count = min(PART, total - start)
                    jobs.append(
                        pool.submit(make_part, folder, part, first + start, count, split)
                    )
        for job in jobs:
            job.result()


def open_split(folder: Path, split: str, data: DataConfig, most: int | None = None) -> ClipSet:
    """Return the clips of a split that hold a window, the first ``most`` of them."""
    clips = ClipSet.open(folder).where(f"split == '{split}'")
    rows = [
        row
        for row in range(len(clips))
        if why_not(clips.times_s(row), len(clips.frames(row)), data) is None
    ]
    return clips.subset(rows[:most])


def window(clips: ClipSet, row: int, data: DataConfig, start: float) -> NDArray[np.uint8]:
    """Cut one window."""
    frames = clips.frames(row)
    indices = window_indices(clips.times_s(row), len(frames), data, start)
    assert indices is not None
    return np.asarray(frames[indices])


def sectors(clips: ClipSet, data: DataConfig) -> Sector:
    """Return where every clip has anything to see."""
    return torch.cat([to_sector(clips.sector(row)[None], data) for row in range(len(clips))])


def training_share(clips: ClipSet, data: DataConfig, grid: Grid) -> float:
    """Return the share of the grid's columns that a training sees, as ``pretrain`` has it."""
    return share_of_most(columns_inside(sectors(clips, data), grid))


def training_batches(
    clips: ClipSet, data: DataConfig, batch: int, seed: int
) -> Iterator[tuple[Scan, Tensor]]:
    """Yield clips with their sectors, and their rows, for ever."""
    inside = sectors(clips, data)
    epoch = 0
    while True:
        order = epoch_order(len(clips), seed, epoch)
        for first in range(0, len(order) - batch + 1, batch):
            rows = [int(row) for row in order[first : first + batch]]
            cut = [window(clips, r, data, window_start(seed, epoch, r)) for r in rows]
            video = to_video(torch.from_numpy(np.stack(cut)), data)
            yield Scan(video, inside[rows]), torch.tensor(rows)
        epoch += 1


def places_of(some: Sequence[ClipSet], data: DataConfig, grid: Grid) -> list[Places]:
    """Return the columns of the grid in each clip's sector, equally many for all clips."""
    found = [sectors(clips, data) for clips in some]
    counts = columns_inside(torch.cat(found), grid).sum(dim=1)
    share = share_of(int(counts.max()), grid[1] * grid[2])
    return [choose_places(one, grid, share) for one in found]


class LabelledWindow(NamedTuple):
    """A window that holds a labelled frame in its middle, as nearly as the clip allows."""

    clip: int
    indices: NDArray[np.intp]
    position: int
    """Of the frame in the window."""
    mask: Tensor


def labelled_windows(clips: ClipSet, data: DataConfig) -> list[LabelledWindow]:
    """Return a window for every labelled frame that has one."""
    found = []
    for row in range(len(clips)):
        frames, times, masks = clips.frames(row), clips.times_s(row), clips.masks(row)
        assert masks is not None
        for frame, mask in zip(clips.mask_frames(row), masks, strict=True):
            choices = windows_with(frame, times, len(frames), data)
            if choices:
                position = sorted(choices)[len(choices) // 2]
                small = masks_to_model(mask[None], data.size)[0]
                found.append(LabelledWindow(row, choices[position], position, small))
    return found
