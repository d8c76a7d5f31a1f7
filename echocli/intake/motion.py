"""What moves in a loop: how often each pixel changes, and the solid pieces that keep moving.

The scan is what keeps changing: speckle differs in nearly every pair of frames, while text,
rulers and colour bars stand still, and a clock or an ECG sweep changes a pixel once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

CHANGE = 2
"""Grey levels that a pixel must move by to count as changed: above JPEG's flicker on black."""
PAIRS = 32
"""Pairs of neighbouring frames that are compared, spread over the loop."""
CHANGED_PAIRS = 0.1
"""Share of them in which a pixel of the scan changes, at least."""
RINGING_REACH, RINGING_SHARE = 8, 0.22
"""Pixels that JPEG spreads an edge over (its block), and the share of the edge's brightness
that this ringing stays below down to quality 60."""
SMALL_DIAGONAL = 260
"""Diagonal in pixels, roughly, of the small picture on which shapes are looked for."""
SMOOTHING, SOLID = 0.015, 0.02
"""Window of the local density and radius of the smallest solid part (a line of text is
thinner), as shares of the diagonal."""


@dataclass(frozen=True)
class Motion:
    """Statistics of a loop's pixels."""

    darkest: NDArray[np.uint8]
    """Smallest value of each pixel over all frames."""
    brightest: NDArray[np.uint8]
    """Largest value of each pixel over all frames."""
    active: NDArray[np.bool_]
    """Pixels that keep changing and are not compression's ringing beside brighter ones."""

    @property
    def factor(self) -> int:
        """Side in pixels of the squares that become one pixel of the small picture."""
        return max(1, round(float(np.hypot(*self.active.shape)) / SMALL_DIAGONAL))

    def small(self) -> NDArray[np.float32]:
        """Return the share of active pixels in each square of the small picture."""
        return shrunk(self.active, self.factor)


def motion_of(frames: NDArray[np.uint8]) -> Motion:
    """Return what moves in frames ``(frames, height, width)``."""
    darkest, brightest = frames[0].copy(), frames[0].copy()
    for frame in frames[1:]:
        np.minimum(darkest, frame, out=darkest)
        np.maximum(brightest, frame, out=brightest)
    starts = np.unique(np.linspace(0, len(frames) - 2, PAIRS).astype(int))
    counts = np.zeros(frames.shape[1:], dtype=np.uint8)
    low, high = np.empty_like(counts), np.empty_like(counts)
    for start in starts:
        np.minimum(frames[start], frames[start + 1], out=low)
        np.maximum(frames[start], frames[start + 1], out=high)
        counts += np.subtract(high, low, out=high) > CHANGE
    active = counts >= max(1, np.ceil(CHANGED_PAIRS * len(starts)))
    edge = running(np.maximum, brightest, 2 * RINGING_REACH + 1)
    active &= brightest >= RINGING_SHARE * edge.astype(np.float32)
    return Motion(darkest, brightest, active)


def running(
    extreme: np.ufunc, image: NDArray[np.uint8], width: int, axes: tuple[int, ...] = (0, 1)
) -> NDArray[np.uint8]:
    """Return the minimum or maximum of each square of an odd width, shrunk at the edges.

    Whole rows are compared with shifted rows, so it costs a few passes whatever the width.

    Args:
        extreme: ``np.minimum`` or ``np.maximum``.
        image: Two-dimensional.
        width: Side of the square in pixels, odd.
        axes: Both, or one for a line instead of a square.
    """
    half = width // 2
    out = image
    for axis in axes:
        sides = np.moveaxis(out, axis, 0)
        line = np.concatenate([sides[:1].repeat(half, 0), sides, sides[-1:].repeat(half, 0)])
        covered = 1
        while covered < width:
            step = min(covered, width - covered)
            line = extreme(line[: len(line) - step], line[step:])
            covered += step
        out = np.moveaxis(line, 0, axis)
    return np.asarray(out, dtype=np.uint8)


def shrunk(mask: NDArray[np.bool_], factor: int) -> NDArray[np.float32]:
    """Return the share of set pixels in each square of ``factor`` pixels."""
    image = Image.fromarray(mask.view(np.uint8) * np.uint8(255))
    return np.asarray(image.reduce(factor), dtype=np.float32) / np.float32(255)


def solid_pieces(density: NDArray[np.float32]) -> list[NDArray[np.bool_]]:
    """Return the connected pieces that move all the time, largest first, without holes.

    Args:
        density: Share of active pixels in the small picture.
    """
    diagonal = float(np.hypot(*density.shape))
    window = round(SMOOTHING * diagonal) | 1
    dense = ndimage.uniform_filter(density, window, mode="nearest") > 0.5
    labelled, count = ndimage.label(opened(dense, SOLID * diagonal))
    order = np.argsort(np.bincount(labelled.ravel(), minlength=count + 1)[1:])[::-1] + 1
    return [ndimage.binary_fill_holes(labelled == number) for number in order]


def opened(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """Remove what a disc does not fit into; the picture's edge does not count as outside."""
    margin = int(radius) + 1
    padded = np.pad(mask, margin, mode="edge")
    core = ndimage.distance_transform_edt(padded) > radius
    if not core.any():
        return np.zeros_like(mask)
    kept = ndimage.distance_transform_edt(~core) <= radius
    return np.asarray(kept[margin:-margin, margin:-margin], dtype=bool)
