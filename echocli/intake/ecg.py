"""Finds the ECG on the screen and reads its trace, column by column, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echocli.intake.dicom import UltrasoundRegion
from echocli.intake.loop import Region

WAVE_FORM, ECG_TYPE = 4, 10  # Region Spatial Format and Data Type, PS3.3 C.8.5.5.1.1 and .2
SECONDS = 4  # Physical Units X Direction, PS3.3 C.8.5.5.1.15

COLOURED, SATURATED = 60, 0.4
"""Difference between two primaries, in grey levels and as a share of the brightness, above
which a pixel was drawn in colour and is no tinted tissue."""
NARROWEST, TALLEST = 0.2, 0.3
"""Width at least and height at most of the strip, as shares of the picture."""
LOWEST = 12
"""Rows of a strip at least; a trace in fewer cannot show which wave is which."""
MARGIN = 0.06
"""A margin above or below the scan is searched if it has this share of the picture's rows."""
LIT = 0.65
"""A pixel is part of a drawing if it has this share of the brightness that drawings have."""
DARK = 30
"""Grey levels that nothing drawn stays below, and that compression noise does."""
TALL = 0.6
"""A column lit over this share of the strip's height is a bar and no trace."""


@dataclass(frozen=True)
class Strip:
    """Where an ECG may be."""

    rows: slice
    columns: slice
    seconds_per_column: float | None = None
    """As the header tells it."""


@dataclass(frozen=True)
class Trace:
    """What is drawn in a strip in each frame."""

    lit: NDArray[np.bool_]
    """``(frames, rows, columns)``."""
    top: NDArray[np.float64]
    """First lit row of each column, ``(frames, columns)``; nan where nothing or a bar is."""
    bar: NDArray[np.bool_]
    """Columns that a bar or cursor fills, ``(frames, columns)``."""
    cut_above: bool
    """Whether something is drawn in the strip's first row, so perhaps comes from outside."""
    cut_below: bool


def find_strips(
    regions: Sequence[UltrasoundRegion],
    scan: Region | None,
    frames: NDArray[np.uint8],
    chroma: NDArray[np.uint8],
) -> Iterator[Strip]:
    """Yield where an ECG may be, the likeliest first.

    Told by the header; else what is drawn in colour, flat and wide; else the margins above and
    below the scan, for traces drawn in white.

    Args:
        regions: Of the header, in pixels of the picture.
        scan: The two-dimensional scan.
        frames: The whole pictures, ``(frames, height, width)``.
        chroma: Largest difference of two primaries over all frames, ``(height, width)``.
    """
    height, width = chroma.shape
    for region in regions:
        told = (region.spatial_format, region.data_type) == (WAVE_FORM, ECG_TYPE)
        fits = 0 <= region.x0 < region.x1 <= width and 0 <= region.y0 < region.y1 <= height
        if told and fits:
            calibrated = region.units_x == SECONDS and region.delta_x > 0
            yield Strip(
                slice(max(region.y0 - 4, 0), region.y1 + 5),
                slice(max(region.x0 - 4, 0), region.x1 + 9),
                region.delta_x if calibrated else None,
            )
    yield from _coloured_strips(frames, chroma)
    if scan is not None:
        for rows in (slice(scan.row1, height), slice(0, scan.row0)):
            if rows.stop - rows.start >= MARGIN * height:
                yield Strip(rows, slice(0, width))


def _coloured_strips(frames: NDArray[np.uint8], chroma: NDArray[np.uint8]) -> Iterator[Strip]:
    height, width = chroma.shape
    drawn = chroma > COLOURED
    lines = np.flatnonzero(drawn.sum(axis=1) >= 2)
    if len(lines) == 0:
        return
    inside = slice(lines[0], lines[-1] + 1)
    brightest = frames[:, inside].max(axis=0)
    drawn[inside] &= chroma[inside] > SATURATED * brightest.astype(np.float32)
    if not drawn.any() or drawn.mean() > TALLEST:
        return
    joined = ndimage.maximum_filter(drawn.view(np.uint8), (3, 9))
    pieces, _ = ndimage.label(joined)
    boxes = [
        (rows, columns)
        for rows, columns in ndimage.find_objects(pieces)
        if columns.stop - columns.start >= NARROWEST * width
        and LOWEST <= rows.stop - rows.start <= TALLEST * height
    ]
    for rows, columns in sorted(boxes, key=lambda box: box[1].start - box[1].stop)[:2]:
        yield Strip(rows, columns)


def read_trace(frames: NDArray[np.uint8], strip: Strip) -> Trace | None:
    """Return what is drawn in a strip, or ``None`` if nothing is.

    Args:
        frames: The whole pictures, ``(frames, height, width)``.
        strip: Where to look.
    """
    inside = frames[:, strip.rows, strip.columns]
    # Of a column in a frame, not over all frames: by then a bright cursor has been everywhere.
    brightness = inside.max(axis=1)
    drawn = brightness[brightness > DARK]
    if len(drawn) < NARROWEST * brightness.size:
        return None
    lit = inside > max(LIT * float(np.median(drawn)), DARK)
    rows = np.flatnonzero(lit.any(axis=(0, 2)))
    cut_above, cut_below = bool(rows[0] == 0), bool(rows[-1] == lit.shape[1] - 1)
    lit = lit[:, rows[0] : rows[-1] + 1]
    if lit.shape[1] < LOWEST:
        return None
    bar = lit.mean(axis=1) >= TALL
    top = np.where(lit.any(axis=1) & ~bar, lit.argmax(axis=1), np.nan)
    return Trace(lit, top, bar, cut_above, cut_below)
