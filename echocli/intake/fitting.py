"""Fits fans to what moves: on the small picture first, then along their borders to a pixel."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echocli.intake.fan import ABOVE, ACROSS, STILLNESS, Fan, Floats, around, best_fan
from echocli.intake.motion import SOLID, Motion

BAND = 2
"""Half width, in pixels of the small picture, of the band in which borders are refined."""
BAND_STILLNESS = 0.3
"""Share of a strip along the border, one pixel thin, that must move for it to lie inside."""
BAND_PIXELS = 10000
"""Pixels of that band that are looked at."""
INNER = 4
"""Pixels of the small picture within the band that one of them stands for."""
LITTLE = np.float32(0.015)
"""What a dark pixel counts against a fan, where darkness may be a shadow."""


@dataclass(frozen=True)
class Box:
    """Rectangle beyond which a scan is cut off, half-open."""

    row0: int
    row1: int
    column0: int
    column1: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the rectangle in ``(height, width)``."""
        return slice(self.row0, self.row1), slice(self.column0, self.column1)


def fan_gain(density: NDArray[np.float32], piece: NDArray[np.bool_]) -> Floats:
    """Return what each pixel of the small picture counts for a fan that holds it.

    What moves elsewhere, such as a clock or an ECG, counts as still.
    """
    reach = 2.5 * SOLID * float(np.hypot(*piece.shape))
    near = ndimage.distance_transform_edt(~piece) <= reach
    core = ndimage.binary_erosion(piece, iterations=3, border_value=1)
    share = np.where(core, np.float32(1), density * near)
    return np.asarray(share - np.float32(STILLNESS), dtype=np.float32)


class Fitter:
    """Fits fans in the small picture.

    Args:
        gain: What each pixel counts for a fan that holds it.
        piece: Where the scan moves.
        box: Where it is cut off, in pixels of the picture.
        factor: Pixels of the picture in one of the small picture.
    """

    def __init__(self, gain: Floats, piece: NDArray[np.bool_], box: Box, factor: int) -> None:
        places = np.indices(gain.shape).astype(np.float32)
        rows, columns = places[0], places[1]
        used = small_box(gain.shape, box, factor)
        down, across = ndimage.find_objects(piece.astype(np.uint8))[0]
        self._top, self._bottom = float(down.start), float(down.stop - 1)
        self._left, self._right = float(across.start), float(across.stop - 1)
        margin = 0.1 * max(self._bottom - self._top, self._right - self._left)
        used &= (rows >= self._top - margin) & (rows <= self._bottom + margin)
        used &= (columns >= self._left - margin) & (columns <= self._right + margin)
        sparse = used & ((rows + columns) % 2 == 0) & (rows % 2 == 0)
        self._coarse = gain[sparse], rows[sparse], columns[sparse]
        self._fine = gain[used], rows[used], columns[used]
        self._most = max(float(gain[used & (gain > 0)].sum()), 1.0)

    def best(self, aspect: float) -> tuple[float, Fan]:
        """Return the best fan and its score from 0 to 1 (all moves inside, nothing outside)."""
        tries = []
        for down in (True, False):
            for aside in ACROSS:
                for away in ABOVE:
                    height = self._bottom - self._top + 1
                    row = self._top - away * height if down else self._bottom + away * height
                    column = (self._left + self._right) / 2
                    column += aside * (self._right - self._left + 1)
                    start = Fan(row, column, down=down, aspect=aspect)
                    tries.append(around(*self._coarse, start))
        tries.sort(key=lambda each: -each[0])
        return self.near(*(fan for _, fan in tries[:2]))

    def near(self, *starts: Fan) -> tuple[float, Fan]:
        """Return the best fan near some, and its score."""
        nearer = [best_fan(*self._coarse, fan, step=8.0) for fan in starts]
        start = max(nearer, key=lambda each: each[0])[1]
        score, fan = best_fan(*self._fine, start, step=1.0)
        return score / self._most, fan


def refined(motion: Motion, fan: Fan, box: Box, dark: NDArray[np.bool_] | None = None) -> Fan:
    """Return the fan in the picture, its borders found to a pixel.

    Only a band along the borders is looked at in the picture; all within it counts as moving.

    Args:
        motion: Of the loop.
        fan: In the small picture.
        box: Where the scan is cut off.
        dark: Pixels that speak little against a fan that holds them.
    """
    height, width = motion.active.shape
    factor = motion.factor
    small = np.pad(fan.mask(-(-height // factor), -(-width // factor)), BAND, mode="edge")
    wide = ndimage.binary_dilation(small, iterations=BAND)
    deep = ndimage.binary_erosion(small, iterations=BAND)
    wide, deep = (each[BAND:-BAND, BAND:-BAND] for each in (wide, deep))
    full = (wide & ~deep).repeat(factor, 0).repeat(factor, 1)[:height, :width]
    places = np.flatnonzero(within(full, box))
    stride = max(1, len(places) // BAND_PIXELS)
    # Not every n-th pixel: those would lie on lines where the width is a multiple of n.
    steps = np.arange(len(places) // stride)
    places = places[steps * stride + steps * 7 % stride]
    sparse = np.zeros_like(deep)
    sparse[::2, ::2] = deep[::2, ::2]
    inner = (np.argwhere(sparse).T.astype(np.float32) + 0.5) * factor - 0.5
    rows, columns = np.concatenate([np.divmod(places, width), inner], axis=1, dtype=np.float32)
    gain = motion.active.ravel()[places].astype(np.float32) - np.float32(BAND_STILLNESS)
    if dark is not None:
        gain[dark.ravel()[places]] = -LITTLE
    gain = np.concatenate([gain, np.full(inner.shape[1], INNER, np.float32)])
    open_wide = replace(fan.scaled(factor), angle0=-np.pi / 2, angle1=np.pi / 2)
    return best_fan(gain, rows, columns, open_wide, step=2.0)[1]


def within(mask: NDArray[np.bool_], box: Box) -> NDArray[np.bool_]:
    """Return the mask, empty outside the rectangle."""
    out = np.zeros_like(mask)
    out[box.slices] = mask[box.slices]
    return out


def small_box(shape: tuple[int, ...], box: Box, factor: int) -> NDArray[np.bool_]:
    """Return the pixels of the small picture that lie in the rectangle."""
    used = np.zeros(shape, dtype=bool)
    rows = slice(-(-box.row0 // factor), -(-box.row1 // factor))
    used[rows, -(-box.column0 // factor) : -(-box.column1 // factor)] = True
    return used
