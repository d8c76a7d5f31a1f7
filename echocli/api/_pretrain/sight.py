"""What the encoder in training says of always the same clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from echocli.api._pretrain.job import Job
from echocli.api._sector import Group, groups
from echocli.clips.batches import Batch
from echocli.models.pooling import pool

MOST_KEPT = 64e6
"""Bytes of windows that stay in memory; more are read again at every look."""


class Middles(NamedTuple):
    """The middle windows of clips that can be looked at together."""

    group: Group
    pixels: NDArray[np.uint8]


class Sight:
    """Features of always the same clips, by the encoder as it is.

    Args:
        job: What is trained; its stage decides how clips are read.
        choose: Says which clips, of those of the stage.
    """

    def __init__(self, job: Job, choose: Callable[[], list[int]]) -> None:
        self.job = job
        self.rows: list[int] = []
        """The clips, in the order of their features."""
        self._choose = choose
        self._at: int | None = None
        self._kept: list[Middles] | None = None

    @torch.no_grad()
    def features(self, kind: str = "mean") -> Float[Tensor, "clips dim"]:
        """Return a vector of each clip.

        Args:
            kind: How tokens become one vector; see ``pool``.
        """
        self._enter()
        job, place = self.job, self.job.device
        encoder, found = job.exported(), []
        for (rows, seen), pixels in self._read() if self._kept is None else self._kept:
            keep = None if seen is None else seen.to(place.torch)
            video = job.to_device(Batch(pixels, rows))
            with torch.autocast(
                place.torch.type, torch.bfloat16, enabled=place.precision == "bf16"
            ):
                tokens = encoder(video, keep)
            found.append(pool(tokens.float(), job.grid, kind))
        return torch.cat(found).cpu()

    def _enter(self) -> None:
        """Choose clips anew when a stage begins, and keep their windows if they are few."""
        if self._at == self.job.at:
            return
        self._at, data = self.job.at, self.job.stage.data
        self.rows = [row for group in self._groups(self._choose()) for row in group.rows]
        small = len(self.rows) * data.frames * data.size**2 <= MOST_KEPT
        self._kept = list(self._read()) if small else None

    def _groups(self, rows: Sequence[int]) -> Iterator[Group]:
        job = self.job
        return groups(job.clips, rows, job.stage.data, job.grid, job.stage.batch)

    def _read(self) -> Iterator[Middles]:
        for group in self._groups(self.rows):
            pixels = np.stack([self.job.batches.window(row, 0.5) for row in group.rows])
            yield Middles(group, pixels)


def spread(rows: Sequence[int], most: int) -> list[int]:
    """Return so many rows at most, from the first to the last in even steps."""
    count = min(len(rows), most)
    return [rows[i] for i in np.linspace(0, len(rows) - 1, count).round().astype(int)]
