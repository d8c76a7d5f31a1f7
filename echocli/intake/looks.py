"""What only the pixels give away: colour Doppler under a grey header, and a frozen loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echocli.intake.loop import Region

SAMPLES = 12
"""Frames that are looked at for colour and for motion, spread over the loop."""
TINT_TOLERANCE = 40
"""Difference of two colour channels, in grey levels, from what a tint of that grey gives."""
TINT_LEVELS = 11
"""Grey levels, of 32, over which a tint changes slowly."""
COLOUR_SHARE = 0.004
"""Colour Doppler covers more than this share of the region in some frame. Real loops: B-mode at
most 0.0004, tinted or not, with a sweeping green ECG; colour Doppler at least 0.037."""
USUAL_LEVEL = 0.005
"""Share of the region that has one of 32 grey levels, above which its colour is judged."""
SPAN = 511
"""Possible differences of two channels, from -255 to 255."""
LINE_SHARE = 45
"""A line is thinner than the height of the region over this."""
LOOK_ROWS = 300
"""Colour is looked for in about this many rows."""
MOTION_LEVELS = 12
MOTION_SHARE = 0.01
"""In a loop that moves, more than this share of the region changes by that many levels."""


def sample_frames(frames: int) -> NDArray[np.int64]:
    """Return the frames to look at: at most ``SAMPLES``, spread evenly."""
    return np.unique(np.linspace(0, frames - 1, min(frames, SAMPLES)).round().astype(np.int64))


@dataclass(frozen=True)
class Glance:
    """What one frame shows of colour."""

    share: float
    """Share of the region that is coloured beyond a tint, in solid patches."""
    tint: NDArray[np.int16]
    """R-G and B-G that most pixels of each of 32 grey levels have, ``(2, 32)``."""
    usual: NDArray[np.bool_]
    """Grey levels that enough pixels have for that to mean something."""


def glance_at(
    grey: NDArray[np.uint8], red_blue: NDArray[np.int16], region: Region | None
) -> Glance:
    """Look for colour in one frame.

    A tinted grey map gives every grey level one colour; Doppler gives it many. So the median
    colour of each grey level is taken away first. Lines (ECG, box, ruler) are thinner than the
    opening that follows; patches of flow are not.

    Args:
        grey: One frame, ``(height, width)``.
        red_blue: R-G and B-G of that frame, perhaps coarser, ``(2, height, width)``.
        region: Where to look, in pixels of ``grey``; everywhere if ``None``.
    """
    coarse = round(grey.shape[0] / red_blue.shape[1])
    step = coarse * max(1, round(grey.shape[0] / LOOK_ROWS / coarse))
    rows, columns = region.slices if region else (slice(0, None), slice(0, None))
    level = grey[rows, columns][::step, ::step] >> 3
    down, across = (_every(axis, step, coarse) for axis in (rows, columns))
    difference = red_blue[:, down, across]
    height, width = np.minimum(level.shape, difference.shape[1:])
    level, difference = level[:height, :width], difference[:, :height, :width]
    usual = np.bincount(level.ravel(), minlength=32) > USUAL_LEVEL * level.size
    if 2 * np.abs(difference).max(initial=0) <= TINT_TOLERANCE:
        # So grey that no tint could hide anything.
        return Glance(0.0, np.zeros((2, 32), dtype=np.int16), usual)
    tint = _tint(level, difference)
    coloured = (np.abs(difference - tint[:, level]) > TINT_TOLERANCE).any(axis=0)
    if not coloured.any():
        return Glance(0.0, tint, usual)
    share = float(_opened(coloured, max(4, round(height / LINE_SHARE))).mean())
    return Glance(share, tint, usual)


def _tint(level: NDArray[Any], difference: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return R-G and B-G that the grey map gives to each of 32 grey levels.

    A patch of one colour may own a level; it does not own the levels around it, hence the
    running median.
    """
    used = np.flatnonzero(np.bincount(level.ravel(), minlength=32))
    medians = [_medians(level, channel)[used] for channel in difference]
    curves = [np.interp(np.arange(32), used, median) for median in medians]
    smooth = [ndimage.median_filter(curve, TINT_LEVELS, mode="nearest") for curve in curves]
    return np.rint(smooth).astype(np.int16)


def _medians(level: NDArray[Any], difference: NDArray[np.int16]) -> NDArray[np.int64]:
    """Return the median difference of each of 32 grey levels, by counting: sorting is slow."""
    places = level.astype(np.int64) * SPAN + difference + SPAN // 2
    counts = np.bincount(places.ravel(), minlength=32 * SPAN).reshape(32, SPAN).cumsum(axis=1)
    half = (counts[:, -1:] + 1) // 2
    medians: NDArray[np.int64] = (counts >= half).argmax(axis=1) - SPAN // 2
    return medians


def _opened(mask: NDArray[np.bool_], side: int) -> NDArray[np.uint8]:
    """Return the morphological opening with a square, axis by axis: for one, far faster."""
    bits = mask.view(np.uint8)
    for axis in (0, 1):
        bits = ndimage.minimum_filter1d(bits, side, axis=axis, mode="constant")
    if not bits.any():
        return bits
    for axis in (0, 1):
        origin = -1 if side % 2 == 0 else 0
        bits = ndimage.maximum_filter1d(bits, side, axis=axis, mode="constant", origin=origin)
    return bits


def _every(axis: slice, step: int, coarse: int) -> slice:
    """Return the index that reads a coarser plane where ``axis`` is read in steps."""
    stop = None if axis.stop is None else -(-axis.stop // coarse)
    return slice(axis.start // coarse, stop, step // coarse)


def is_colour_doppler(glances: Sequence[Glance]) -> bool:
    """Return whether sampled frames of a loop are those of colour, power or tissue Doppler.

    Flow covers patches of a frame. Tissue Doppler may cover all of the scan and looks like a
    tint then; but it turns from red to blue with the beat, and a grey map stays what it is.
    """
    if max((glance.share for glance in glances), default=0.0) > COLOUR_SHARE:
        return True
    return any(
        bool((np.abs(one.tint - other.tint)[:, one.usual & other.usual] > TINT_TOLERANCE).any())
        for number, one in enumerate(glances)
        for other in glances[:number]
    )


def is_static(frames: NDArray[np.uint8], region: Region | None) -> bool:
    """Return whether a loop repeats one picture, as a frozen one does."""
    rows, columns = region.slices if region else (slice(None), slice(None))
    first, *others = sample_frames(len(frames))
    low = frames[first, rows, columns].copy()
    high = low.copy()
    for other in others:
        np.minimum(low, frames[other, rows, columns], out=low)
        np.maximum(high, frames[other, rows, columns], out=high)
    span = high - low
    return float((span > MOTION_LEVELS).mean()) < MOTION_SHARE
