"""How windows reach the device: read ahead, sent as bytes, all clips kept there if they fit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echocli.api._pretrain.lane import Arrival, Lane
from echocli.clips.batches import Batches, Sample
from echocli.clips.readers import in_flight, in_order
from echocli.clips.windows import to_sector
from echocli.console import SILENT, Reporter
from echocli.device import free_memory
from echocli.models.shapes import Sector

STEPS_BEFORE_KEEPING = 2
"""Steps after which it is known how much of a GPU's memory a step needs."""
ROOM = 0.8
"""Share of the memory still free that clips may fill: looking at features needs some too."""


class Fed(NamedTuple):
    """The windows of a step, for one process."""

    pixels: Tensor
    """uint8, ``(windows, frames, height, width)``, on the device; they may change once the next
    ones are asked for."""
    sectors: Sector | None
    """Where the windows of all processes have anything to see; ``None`` if nobody asks."""


@dataclass(frozen=True)
class Feed:
    """Windows in their order, on the device: the same, whoever reads and wherever they lie.

    Args:
        batches: Which come when.
        device: Where they go.
        readers: Threads that read ahead.
        sectors: Whether sectors are wanted.
        rank: Of this process among those that share the windows of a step.
        ranks: How many processes share them, equally.
        reporter: Who is told where the clips lie.
    """

    batches: Batches
    device: torch.device
    readers: int
    sectors: bool = False
    rank: int = 0
    ranks: int = 1
    reporter: Reporter = SILENT

    def stream(self, first: int, end: int) -> Iterator[Fed]:
        """Yield the windows of some steps."""
        stored, known = Stored(self.batches), end
        if self.device.type == "cuda":
            known = min(first + STEPS_BEFORE_KEEPING, end)
        else:
            self._tell_memory()
        yield from self._serve(stored, first, known)
        if known < end:
            keep = self._keeps(end - known)
            kept = Kept(self.batches, self.device) if keep else stored
            yield from self._serve(kept, known, end)

    @property
    def own(self) -> slice:
        """The windows of a step that are this process's, as ``Team.own`` cuts them."""
        each = self.batches.batch // self.ranks
        return slice(self.rank * each, (self.rank + 1) * each)

    def _serve(self, source: Source, first: int, end: int) -> Iterator[Fed]:
        each = (self.batches.batch // self.ranks, *source.shape)
        lane = Lane(each, source.kind, in_flight(self.readers), self.device)

        def carry(step: int) -> tuple[Arrival, Sector | None]:
            samples = self.batches.samples(step)
            arrival = lane.carry(step, partial(source.fill, samples[self.own]))
            return arrival, self._sectors(samples)

        tasks = (partial(carry, step) for step in range(first, end))
        for arrival, sectors in in_order(tasks, self.readers):
            yield Fed(source.windows(arrival.take()), sectors)

    def _keeps(self, steps: int) -> bool:
        """Return, and say, whether all clips shall lie on the GPU for so many steps."""
        size, free = self.batches.nbytes, free_memory(self.device) or 0
        if size > ROOM * free:
            self.reporter.say(
                f"the clips, {size / 1e9:.1f} GB, do not fit on the GPU beside the training "
                f"({free / 1e9:.1f} GB are free): {self.readers} thread(s) read ahead"
            )
            return False
        if size > steps * math.prod(self.batches.shape):
            return False  # more bytes than the windows that are still to come
        self.reporter.say(f"all clips, {size / 1e9:.1f} GB, are kept on the GPU")
        return True

    def _tell_memory(self) -> None:
        size, free = self.batches.nbytes, free_memory(self.device)
        room = ""
        if free is not None:
            fit = "fit" if size < free else "do not fit"
            room = f", which {fit} in memory ({free / 1e9:.1f} GB are free)"
        self.reporter.say(f"{self.readers} thread(s) read {size / 1e6:,.1f} MB of clips{room}")

    def _sectors(self, samples: Sequence[Sample]) -> Sector | None:
        if not self.sectors:
            return None
        clips = self.batches.clips  # of one size, so that all are made at once
        sectors = np.stack([clips.sector(sample.row) for sample in samples])
        return to_sector(sectors, self.batches.data)


class Source(Protocol):
    """What readers write for a step, and how windows come of it on the device."""

    kind: torch.dtype
    """Of the numbers that are written."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is written for a window."""

    def fill(self, samples: Sequence[Sample], out: NDArray[Any]) -> None:
        """Write what these samples need."""

    def windows(self, arrived: Tensor) -> Tensor:
        """Return the windows of what was written and has arrived."""


class Stored:
    """Windows that are copied out of the clip set."""

    kind = torch.uint8

    def __init__(self, batches: Batches) -> None:
        self.fill = batches.fill
        self.shape: tuple[int, ...] = batches.shape[1:]

    def windows(self, arrived: Tensor) -> Tensor:
        """Return what arrived."""
        return arrived


class Kept:
    """Windows that are chosen among the frames of all clips, which lie on the device."""

    kind = torch.int64

    def __init__(self, batches: Batches, device: torch.device) -> None:
        self._batches = batches
        self.shape: tuple[int, ...] = (batches.data.frames,)
        clips, rows = batches.clips, batches.rows
        counts = [len(clips.frames(row)) for row in rows]
        ends = np.cumsum(counts).tolist()
        self._first = {row: end - n for row, n, end in zip(rows, counts, ends, strict=True)}
        size = (ends[-1], *batches.shape[2:])
        self._frames = torch.empty(size, dtype=torch.uint8, device=device)
        for row, first in self._first.items():
            frames = np.array(clips.frames(row))  # PyTorch wants memory that may be written
            self._frames[first : first + len(frames)] = torch.from_numpy(frames)

    def fill(self, samples: Sequence[Sample], out: NDArray[np.int64]) -> None:
        """Write the places of the frames of each sample."""
        for place, (row, start) in enumerate(samples):
            out[place] = self._first[row] + self._batches.indices(row, start)

    def windows(self, arrived: Tensor) -> Tensor:
        """Return the frames at these places."""
        return self._frames[arrived]
