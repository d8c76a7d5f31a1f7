"""Where the scan is in the picture, so that all the rest, text above all, can be blacked out.

The scan is what keeps changing: speckle differs in nearly every pair of frames, while text,
rulers and colour bars stand still, and a clock or an ECG sweep changes a pixel once. So the
share of frame pairs in which a pixel changes draws the sector by itself, on every vendor's
screen, and needs no template. Its largest solid piece is closed to a convex shape (every
sector, trapezium or cut-off fan is one, but for the small arc at the transducer), cut back
where only a narrow bump sticks out, and what is drawn over it is taken out again.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echocli.intake.loop import CineLoop
from echocli.intake.overlays import (
    blot_out,
    changing_strokes,
    coloured_pixels,
    static_strokes,
)
from echocli.intake.reasons import Reason, Refused

CHANGE = 2
"""Grey levels that a pixel must move by to count as changed: above JPEG's flicker on black."""
DARK, BRIGHT, RINGING = 12, 70, 16
"""Grey levels that JPEG's ringing stays below, and that an edge that rings exceeds; pixels that
it spreads at most: the largest block."""
CHANGED_PAIRS = 0.1
"""Share of frame pairs in which a pixel of the scan changes, at least."""
SMOOTHING, SOLID, GAP, RIM = 0.015, 0.02, 0.012, 0.03
"""Window of the local density, radius of the smallest solid part (a line of text is thinner),
gap within a text, and width of the border that rulers mark, as shares of the diagonal."""
LEAST_SHARE, MOST_SHARE = 0.08, 1.0
"""Share of the region that a sector may cover."""
LEAST_FILLED = 0.75
"""Share of the convex shape that must be scan."""
MOST_DRAWN = 0.15
"""Share of the sector that may be covered by graphics."""
DIRECTIONS = 120
"""Half-planes whose intersection is the convex shape."""


@dataclass(frozen=True)
class _Statistics:
    changes: NDArray[np.float32]
    darkest: NDArray[np.uint8]
    brightest: NDArray[np.uint8]


def find_sector(loop: CineLoop) -> NDArray[np.bool_]:
    """Return the pixels that belong to the scan and have nothing drawn over them.

    Args:
        loop: A decoded loop; a sector that came with its data set is used as given.

    Returns:
        Mask of the picture, ``(height, width)``.

    Raises:
        Refused: If no scan is found, or if what is drawn over it covers too much of it. Then
            text cannot be ruled out, and the loop must not be used.
    """
    if loop.sector_known is not None:
        return loop.sector_known
    sector = np.zeros(loop.frames.shape[1:], dtype=bool)
    inside = loop.region.slices if loop.region else (slice(None), slice(None))
    frames, chroma = loop.frames[:, *inside], loop.chroma[inside]
    diagonal = float(np.hypot(*chroma.shape))
    statistics = _statistics(frames)
    scan = _largest_solid_part(statistics, chroma, diagonal)
    shape = _convex_shape(scan, narrowest=SOLID * diagonal)
    _check(scan, shape)
    drawn = _drawn(frames, statistics, chroma, shape, diagonal)
    if (drawn & shape).sum() > MOST_DRAWN * shape.sum():
        raise Refused(Reason.BURNED_IN_TEXT, "graphics cover too much of the scan")
    sector[inside] = shape & ~drawn
    return sector


def _statistics(frames: NDArray[np.uint8]) -> _Statistics:
    """Return how often, and between which values, each pixel changes."""
    counts = np.zeros(frames.shape[1:], dtype=np.uint32)
    darkest, brightest = frames[0].copy(), frames[0].copy()
    for before, after in pairwise(frames):
        counts += np.maximum(before, after) - np.minimum(before, after) > CHANGE
        np.minimum(darkest, after, out=darkest)
        np.maximum(brightest, after, out=brightest)
    changes = (counts / max(len(frames) - 1, 1)).astype(np.float32)
    return _Statistics(changes, darkest, brightest)


def _largest_solid_part(
    statistics: _Statistics, chroma: NDArray[np.uint8], diagonal: float
) -> NDArray[np.bool_]:
    """Return the largest connected piece that changes all the time, without holes."""
    active = _without_ringing(statistics.changes >= CHANGED_PAIRS, statistics.brightest)
    active &= ~coloured_pixels(chroma, statistics.brightest, active)
    window = round(SMOOTHING * diagonal) | 1
    dense = ndimage.uniform_filter(active.astype(np.float32), window) > 0.5
    solid = _opened(dense, SOLID * diagonal)
    pieces, count = ndimage.label(solid)
    if count == 0:
        raise Refused(Reason.NO_SECTOR, "nothing in the picture keeps moving")
    largest = np.bincount(pieces.ravel())[1:].argmax() + 1
    return np.asarray(ndimage.binary_fill_holes(pieces == largest), dtype=bool)


def _without_ringing(
    active: NDArray[np.bool_], brightest: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """Remove what flickers darkly beside bright pixels: compression, not scan.

    Dark cavities go too and are filled in later; dark depths of the scan stay, for nothing
    bright is near them.
    """
    bright = active & (brightest >= BRIGHT)
    near = ndimage.distance_transform_edt(~bright) <= RINGING if bright.any() else bright
    return np.asarray(active & ~(near & (brightest < DARK)), dtype=bool)


def _opened(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """Remove what a disc does not fit into; the picture's edge does not count as outside."""
    margin = int(radius) + 1
    padded = np.pad(mask, margin, mode="edge")
    core = ndimage.distance_transform_edt(padded) > radius
    if not core.any():
        return np.zeros_like(mask)
    opened = ndimage.distance_transform_edt(~core) <= radius
    return np.asarray(opened[margin:-margin, margin:-margin], dtype=bool)


def _convex_shape(mask: NDArray[np.bool_], narrowest: float) -> NDArray[np.bool_]:
    """Return the convex shape around a mask, without bumps thinner than ``narrowest``.

    The shape is an intersection of half-planes. Each is moved inwards until the line along its
    border meets enough of the mask, so that a word that touches the sector cannot widen it;
    a corner of the sector loses as little as its angle lets it.
    """
    rows, columns = np.nonzero(mask)
    all_rows = np.arange(mask.shape[0], dtype=np.float32)[:, None]
    all_columns = np.arange(mask.shape[1], dtype=np.float32)[None]
    shape = np.ones_like(mask)
    for angle in np.arange(DIRECTIONS) * (2 * np.pi / DIRECTIONS):
        cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        offsets = columns * cosine + rows * sine
        first = np.floor(offsets.min())
        lengths = np.bincount((offsets - first).astype(np.int64))
        lengths = np.convolve(lengths, np.full(3, 1 / 3), mode="same")
        outermost = np.flatnonzero(lengths >= min(narrowest, lengths.max()))[-1]
        shape &= all_columns * cosine + all_rows * sine <= first + outermost + 1
    return shape


def _check(scan: NDArray[np.bool_], shape: NDArray[np.bool_]) -> None:
    """Refuse what cannot be a sector."""
    area = int(shape.sum())
    if not LEAST_SHARE * shape.size <= area <= MOST_SHARE * shape.size:
        raise Refused(Reason.NO_SECTOR, "what moves covers too little of the picture")
    if (scan & shape).sum() < LEAST_FILLED * area:
        raise Refused(Reason.NO_SECTOR, "what moves has no sector's shape")
    rows, columns = np.nonzero(shape)
    centre = np.array([rows.mean(), columns.mean()]) / np.array(shape.shape)
    if np.abs(centre - 0.5).max() > 0.35:
        raise Refused(Reason.NO_SECTOR, "what moves lies at the edge of the picture")


def _drawn(
    frames: NDArray[np.uint8],
    statistics: _Statistics,
    chroma: NDArray[np.uint8],
    shape: NDArray[np.bool_],
    diagonal: float,
) -> NDArray[np.bool_]:
    """Return the graphics: coloured pixels and thin strokes, each text as one blot."""
    strokes = static_strokes(statistics.darkest, statistics.brightest, shape)
    strokes |= changing_strokes(frames) & shape
    strokes |= coloured_pixels(chroma, statistics.brightest, shape) & shape
    amid = ndimage.distance_transform_edt(np.pad(shape, 1))[1:-1, 1:-1] > RIM * diagonal
    return blot_out(strokes, max(round(GAP * diagonal), 2), amid)
