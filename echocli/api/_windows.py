"""Windows of stored clips, read while the network works on others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from echocli.api._sector import Group
from echocli.clips.contract import DataConfig
from echocli.clips.readers import in_order
from echocli.clips.store import ClipSet
from echocli.clips.windows import spread_starts, window_indices

READ_BYTES = 4_000_000
"""Pixels that are handed over at once, if a group has not more: to hand over costs as much as
to read a clip."""


def read_ahead(
    clips: ClipSet, asked: Iterable[Group], data: DataConfig, windows: int
) -> Iterator[tuple[Group, NDArray[np.uint8]]]:
    """Yield the windows of each group, ``(clips, windows, frames, height, width)``.

    Those of the next groups are read by a thread of their own meanwhile.

    Args:
        clips: The clips.
        asked: Clips of one size each.
        data: The input contract.
        windows: Windows a clip.
    """

    def read(part: list[Group]) -> list[tuple[Group, NDArray[np.uint8]]]:
        return [(group, read_windows(clips, group.rows, data, windows)) for group in part]

    return chain.from_iterable(
        in_order((partial(read, part) for part in _parts(clips, asked, data, windows)), 1)
    )


def _parts(
    clips: ClipSet, asked: Iterable[Group], data: DataConfig, windows: int
) -> Iterator[list[Group]]:
    """Yield groups that are read together, in their order."""
    groups = iter(asked)
    for first in groups:
        frame = clips.frames(first.rows[0])[0].nbytes
        size = len(first.rows) * windows * data.frames * frame
        yield [first, *islice(groups, max(0, READ_BYTES // size - 1))]


def read_windows(
    clips: ClipSet, rows: Sequence[int], data: DataConfig, windows: int
) -> NDArray[np.uint8]:
    """Return windows of clips of one size, ``(clips, windows, frames, height, width)``."""
    size = clips.frames(rows[0]).shape[1:]
    pixels = np.empty((len(rows), windows, data.frames, *size), np.uint8)
    starts = spread_starts(windows)
    for of_clip, row in zip(pixels, rows, strict=True):
        clips.window(row, window_frames(clips, row, data, starts), of_clip)
    return pixels


def read_window(clips: ClipSet, row: int, data: DataConfig, start: float) -> NDArray[np.uint8]:
    """Return a window of a clip that can fill it; ``start`` is 0 for the first, 1 the last."""
    return clips.window(row, window_frames(clips, row, data, start))


def window_frames(
    clips: ClipSet, row: int, data: DataConfig, start: float | NDArray[np.float64]
) -> NDArray[np.intp]:
    """Return the frames of windows of a clip that can fill them; see ``window_indices``."""
    indices = window_indices(clips.times_s(row), len(clips.frames(row)), data, start)
    assert indices is not None, "readable() says which clips can"
    return indices
