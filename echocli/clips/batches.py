"""Batches for training: which window comes when depends on (seed, epoch, sample) alone.

Nothing is remembered between batches, so that a run goes on exactly where it stopped, with any
number of readers.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from echocli.clips.contract import DataConfig
from echocli.clips.store import ClipSet
from echocli.clips.windows import WhyNot, epoch_order, why_not, window_indices, window_start
from echocli.errors import EchoError

AHEAD = 2
"""Batches that are read before they are asked for."""


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

    Raises:
        EchoError: If no clip can fill a window, or frames differ in size.
    """

    clips: ClipSet
    data: DataConfig
    batch: int
    seed: int
    rows: list[int] = field(init=False)
    """Rows that are used."""
    left_out: dict[WhyNot, int] = field(init=False)
    """How many clips cannot fill a window, by reason."""
    _counts: list[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        rows: list[int] = []
        left_out: dict[WhyNot, int] = {}
        counts: list[int] = self.clips.manifest["frames"].tolist()
        for row, count in enumerate(counts):
            reason = why_not(self.clips.times_s(row), count, self.data)
            if reason is None:
                rows.append(row)
            else:
                left_out[reason] = left_out.get(reason, 0) + 1
        object.__setattr__(self, "_counts", counts)
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "left_out", left_out)
        self._check()

    def _check(self) -> None:
        if not self.rows:
            wish = (
                f"{self.data.frames} frames at stride {self.data.stride}"
                if self.data.stride
                else f"{self.data.seconds} s"
            )
            raise EchoError(
                f"None of the {len(self.clips)} clip(s) can fill a window of {wish}: "
                f"{describe_left_out(self.left_out) or 'there are no clips'}.",
                "Choose a shorter window, such as --set data.seconds=0.5, or bring longer "
                "loops; --where may have left out too many.",
            )
        sizes = self.clips.manifest[["height", "width"]].iloc[self.rows].drop_duplicates()
        if len(sizes) > 1:
            raise EchoError(
                f"The clips have {len(sizes)} different frame sizes.",
                "Make one clip set of them: `echocli preprocess SOURCES --size 112 -o clips`.",
            )

    def samples(self, step: int) -> list[tuple[int, float]]:
        """Return row and window start of each sample of a step."""
        count = len(self.rows)
        chosen = []
        for sample in range(step * self.batch, (step + 1) * self.batch):
            epoch, position = divmod(sample, count)
            place = int(_order(count, self.seed, epoch)[position])
            chosen.append((self.rows[place], window_start(self.seed, epoch, place)))
        return chosen

    def read(self, step: int) -> Batch:
        """Return the windows of a step."""
        samples = self.samples(step)
        rows = [row for row, _ in samples]
        counts = self._counts
        height, width = self.clips.frames(rows[0]).shape[1:]
        pixels = np.empty((len(rows), self.data.frames, height, width), np.uint8)
        for place, (row, start) in enumerate(samples):
            times_s = self.clips.times_s(row)
            indices = window_indices(times_s, counts[row], self.data, start)
            assert indices is not None, "rows that cannot fill a window were left out"
            self.clips.window(row, indices, pixels[place])
        return Batch(pixels, rows)

    def stream(self, start: int, steps: int) -> Iterator[Batch]:
        """Yield the windows of the steps from ``start``, read ahead by a thread."""
        filled: queue.Queue[Batch | BaseException | None] = queue.Queue(AHEAD)
        closed = threading.Event()
        reader = threading.Thread(
            target=self._fill, args=(range(start, steps), filled, closed), daemon=True
        )
        reader.start()
        try:
            while (item := filled.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            closed.set()
            reader.join()

    def _fill(
        self,
        steps: range,
        filled: queue.Queue[Batch | BaseException | None],
        closed: threading.Event,
    ) -> None:
        def put(item: Batch | BaseException | None) -> None:
            while not closed.is_set():
                try:
                    filled.put(item, timeout=0.1)
                    return
                except queue.Full:
                    continue

        try:
            for step in steps:
                if closed.is_set():
                    return
                put(self.read(step))
            put(None)
        except BaseException as error:  # told to whoever waits for the batch
            put(error)


def describe_left_out(left_out: dict[WhyNot, int]) -> str:
    """Say how many clips are left out, and why."""
    words = {"no_time": "without frame times", "too_short": "shorter than a window"}
    return ", ".join(f"{count} {words[reason]}" for reason, count in sorted(left_out.items()))


@lru_cache(maxsize=4)
def _order(count: int, seed: int, epoch: int) -> NDArray[np.intp]:
    return epoch_order(count, seed, epoch)
