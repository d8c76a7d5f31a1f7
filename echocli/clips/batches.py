"""Batches for training: which window comes when depends on (seed, epoch, sample) alone.

Nothing is remembered between batches, so that a run goes on exactly where it stopped, with any
number of readers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from echocli.clips.contract import DataConfig
from echocli.clips.cycles import Cycle, cycle_of
from echocli.clips.lengths import says, shorter_windows
from echocli.clips.readers import in_order
from echocli.clips.store import ClipSet
from echocli.clips.windows import (
    WhyNot,
    cyclic_indices,
    epoch_order,
    stretch,
    stretched_indices,
    why_not,
    window_indices,
    window_start,
)
from echocli.errors import EchoError

Short = Literal["leave_out", "cycle", "resample"]
Unfit = WhyNot | Literal["no_beat"]
"""Why a training leaves a clip out."""
ANY_TUBELET = 4
"""Frames that are whole tubelets of 1, 2 and 4 frames."""
REASONS: dict[Unfit, str] = {
    "no_time": "without frame times",
    "too_short": "shorter than a window",
    "no_beat": "shorter than a window, without a whole heart beat that could be repeated",
}


@dataclass(frozen=True, kw_only=True)
class FeedConfig:
    """Which windows a training sees beside those that the input contract allows."""

    short: Short = "leave_out"
    """What is done with clips shorter than a window: ``cycle`` repeats whole heart beats, told
    by R waves or seen in the frames; ``resample`` spreads the clip over the window, so that the
    heart seems slower. Frozen or reversed frames never fill a window."""


class Sample(NamedTuple):
    """One window: the row of its clip, and where in the clip it starts, from 0 to 1."""

    row: int
    start: float


class Batch(NamedTuple):
    """Windows of one step, and the rows of the clip set that they come from."""

    pixels: NDArray[np.uint8]
    rows: list[int]


@dataclass(frozen=True)
class Batches:
    """Windows of a clip set, in an order that a seed decides.

    Args:
        clips: The clips; those that cannot fill a window are left out and counted.
        data: The input contract.
        batch: Windows a batch.
        seed: Start of the order.
        short: What is done with clips shorter than a window.

    Raises:
        EchoError: If no clip can fill a window, or frames differ in size.
    """

    clips: ClipSet
    data: DataConfig
    batch: int
    seed: int
    short: Short = "leave_out"
    rows: list[int] = field(init=False, default_factory=list)
    """Rows that are used."""
    left_out: dict[Unfit, int] = field(init=False, default_factory=dict)
    """How many clips cannot fill a window, by reason."""
    cycles: dict[int, Cycle] = field(init=False, default_factory=dict)
    """The whole beats of those clips that go round."""
    stretched: dict[int, float] = field(init=False, default_factory=dict)
    """How many times slower the hearts of stretched clips seem."""
    _counts: list[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_counts", self.clips.manifest["frames"].tolist())
        for row, count in enumerate(self._counts):
            reason = why_not(self.clips.times_s(row), count, self.data)
            problem = self._mend(row) if reason == "too_short" else reason
            if problem is None:
                self.rows.append(row)
            else:
                self.left_out[problem] = self.left_out.get(problem, 0) + 1
        self._check()

    def _mend(self, row: int) -> Unfit | None:
        """Let a short clip fill windows as is wished; return why it cannot."""
        if self.short == "cycle":
            cycle = cycle_of(self.clips, row)
            if cycle is None:
                return "no_beat"
            self.cycles[row] = cycle
            return None
        if self.short == "resample":
            times_s, count = self.clips.times_s(row), self._counts[row]
            if stretched_indices(times_s, count, self.data) is not None:
                factor = stretch(times_s, count, self.data)
                assert factor is not None, "it was stretched"
                self.stretched[row] = factor
                return None
        return "too_short"

    def _check(self) -> None:
        if not len(self.clips):
            raise EchoError(
                "The clip set holds no clip.",
                "Its quarantine.csv says of each source why it became none.",
            )
        if not self.rows:
            ways = shorter_windows(self.clips, self.data, ANY_TUBELET)
            fitting = " or ".join(f"--set {way.setting}" for way in ways)
            if not ways and "no_time" in self.left_out:
                fitting = "by frames where times are unknown: --set data.stride=1"
            raise EchoError(
                f"None of the {len(self.clips)} clip(s) can fill a window of "
                f"{says(self.data)}: {describe_left_out(self.left_out)}.",
                f"Choose a shorter window ({fitting or 'data.seconds, data.frames'}), bring "
                "longer loops, or repeat beats: --set feed.short=cycle. --where may have left "
                "out too many.",
            )
        sizes = self.clips.manifest[["height", "width"]].iloc[self.rows].drop_duplicates()
        if len(sizes) > 1:
            raise EchoError(
                f"The clips have {len(sizes)} different frame sizes.",
                "Make one clip set of them: `echocli preprocess SOURCES --size 112 -o clips`.",
            )

    def samples(self, step: int) -> list[Sample]:
        """Return the samples of a step."""
        count = len(self.rows)
        chosen = []
        for sample in range(step * self.batch, (step + 1) * self.batch):
            epoch, position = divmod(sample, count)
            place = int(_order(count, self.seed, epoch)[position])
            chosen.append(Sample(self.rows[place], window_start(self.seed, epoch, place)))
        return chosen

    def indices(self, row: int, start: float) -> NDArray[np.intp]:
        """Return the frames of a window of a clip that is used; see ``window_indices``."""
        times_s = self.clips.times_s(row)
        if row in self.cycles:
            assert times_s is not None, "beats have times"
            return cyclic_indices(times_s, self.data, start, *self.cycles[row])
        if row in self.stretched:
            indices = stretched_indices(times_s, self._counts[row], self.data)
        else:
            indices = window_indices(times_s, self._counts[row], self.data, start)
        assert indices is not None, "rows that cannot fill a window were left out"
        return indices

    def window(self, row: int, start: float) -> NDArray[np.uint8]:
        """Return a window of a clip that is used, ``(frames, height, width)``."""
        return self.clips.window(row, self.indices(row, start))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of a batch: windows, frames, height, width."""
        return (self.batch, self.data.frames, *self.clips.frames(self.rows[0]).shape[1:])

    @property
    def nbytes(self) -> int:
        """Size of all frames of the clips that are used."""
        height, width = self.shape[2:]
        return sum(self._counts[row] for row in self.rows) * height * width

    def fill(self, samples: Sequence[Sample], out: NDArray[np.uint8]) -> None:
        """Write windows into memory, ``(samples, frames, height, width)``."""
        for place, (row, start) in enumerate(samples):
            self.clips.window(row, self.indices(row, start), out[place])

    def read(self, step: int) -> Batch:
        """Return the windows of a step."""
        samples = self.samples(step)
        pixels = np.empty(self.shape, np.uint8)
        self.fill(samples, pixels)
        return Batch(pixels, [sample.row for sample in samples])

    def stream(self, start: int, steps: int, readers: int = 1) -> Iterator[Batch]:
        """Yield the windows of the steps from ``start``, read ahead by so many threads."""
        return in_order((partial(self.read, step) for step in range(start, steps)), readers)


def describe_left_out(left_out: dict[Unfit, int]) -> str:
    """Say how many clips are left out, and why."""
    return ", ".join(f"{count} {REASONS[reason]}" for reason, count in sorted(left_out.items()))


def describe_mended(batches: Batches) -> list[str]:
    """Say how many short clips are seen as they were not taken."""
    said = []
    if batches.cycles:
        said.append(f"{len(batches.cycles)} short clip(s) go round in whole heart beats")
    if batches.stretched:
        least, most = min(batches.stretched.values()), max(batches.stretched.values())
        said.append(
            f"{len(batches.stretched)} short clip(s) are stretched to a window: their hearts "
            f"seem to beat {least:.2f} to {most:.2f} times slower than they do"
        )
    return said


@lru_cache(maxsize=4)
def _order(count: int, seed: int, epoch: int) -> NDArray[np.intp]:
    return epoch_order(count, seed, epoch)
