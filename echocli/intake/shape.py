"""The outline of the scan: a fan where one fits what moves, a convex shape where none does."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echocli.intake.convex import convex_shape
from echocli.intake.fan import ABOVE, ACROSS, STILLNESS, Fan, Floats, around, best_fan
from echocli.intake.motion import SOLID, Motion

GOOD_SCORE = 0.78
"""Share of the largest sum of gains that a fan must reach."""
MOST_OUTSIDE = 0.02
"""Share of what moves that may lie outside a fan."""
WITHIN_REACH = 0.8
"""Share of a piece that another piece's beams must reach for both to be one scan."""
BAND = 2
"""Half width, in pixels of the small picture, of the band in which borders are refined."""
BAND_STILLNESS = 0.3
"""Share of a strip along the border, one pixel thin, that must move for it to lie inside."""
BAND_PIXELS = 16000
"""Pixels of that band that are looked at."""
ABRUPT, BEFORE, ABRUPT_REACH, ABRUPT_LENGTH = 0.7, 0.25, 0.03, 0.1
"""A picture cut off along a straight line: share of the count behind that the first two lines
hold at least, and the line before them at most; how far behind that is, and the least length,
as shares of the diagonal."""
LOPSIDED = 0.02
"""Radians by which the sides of a fan differ before the smaller one is looked at again."""
WIDEST_DARK = 0.5
"""Radians by which a fan may be widened over the dark to stand upright."""
STRIP, HARD_EDGE = 0.03, 0.75
"""Radians along a side, and share of them that moves where that side is no shadow's."""
COMPLETIONS = 4
"""How often the fan around a dark side is fitted anew."""
DARK, MOST_BRIGHT, LITTLE = 25, 0.02, 0.05
"""Grey levels that are dark, share of pixels above it that a widening may meet, and what each
dark pixel weighs against one that moves when two ways to widen are compared."""


@dataclass(frozen=True)
class Outline:
    """Where the scan is."""

    mask: NDArray[np.bool_]
    """In the picture."""
    piece: NDArray[np.bool_]
    """What moves in it, in the small picture."""
    fan: Fan | None
    """The fan that it is, if it is one."""


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


def outline(
    motion: Motion, pieces: list[NDArray[np.bool_]], aspect: float
) -> tuple[Outline, list[NDArray[np.bool_]]]:
    """Return the scan's outline, and the pieces that do not belong to it.

    Args:
        motion: Of the loop.
        pieces: What moves in the small picture, the largest first.
        aspect: Width of a pixel over its height.
    """
    piece, size = pieces[0], motion.active.shape
    box = cut_off(motion, piece)
    fitter = Fitter(fan_gain(motion.small(), piece), piece, box, motion.factor)
    score, fan = fitter.best(aspect)
    parts, others = _same_scan(fan if score >= GOOD_SCORE else None, pieces[1:])
    if parts:
        piece = np.logical_or.reduce([piece, *parts])
        fitter = Fitter(fan_gain(motion.small(), piece), piece, box, motion.factor)
        score, fan = fitter.near(fan)
    if score >= GOOD_SCORE:
        fan = widened(motion, fan, fitter, box)
        shape = within(fan.mask(*size), box)
        half = motion.factor // 2
        inside = shape[half :: motion.factor, half :: motion.factor]
        held = piece[: inside.shape[0], : inside.shape[1]]
        if (held & ~inside).sum() <= MOST_OUTSIDE * held.sum():
            return Outline(shape, piece, fan), others
    narrowest = SOLID * float(np.hypot(*piece.shape))
    return Outline(convex_shape(piece, motion.factor, size, narrowest), piece, None), others


def _same_scan(
    fan: Fan | None, pieces: list[NDArray[np.bool_]]
) -> tuple[list[NDArray[np.bool_]], list[NDArray[np.bool_]]]:
    """Return the pieces that can be seen from the fan's apex within its depth, and the others.

    A shadow splits one scan into pieces; the scan beside it has an apex of its own.
    """
    parts: list[NDArray[np.bool_]] = []
    others: list[NDArray[np.bool_]] = []
    for piece in pieces:
        reached = False
        if fan is not None:
            half_disc = replace(
                fan,
                angle0=-np.pi / 2,
                angle1=np.pi / 2,
                radius0=0.0,
                radius1=1.05 * fan.radius1,
            )
            reached = (piece & half_disc.mask(*piece.shape)).sum() > WITHIN_REACH * piece.sum()
        (parts if reached else others).append(piece)
    return parts, others


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
        used = _small_box(gain.shape, box, factor)
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


def refined(motion: Motion, fan: Fan, box: Box, unseen: NDArray[np.bool_] | None = None) -> Fan:
    """Return the fan in the picture, its borders found to a pixel.

    Only a band along the borders is looked at in the picture; all within it counts as moving.

    Args:
        motion: Of the loop.
        fan: In the small picture.
        box: Where the scan is cut off.
        unseen: Pixels that speak neither for the fan nor against it.
    """
    height, width = motion.active.shape
    factor = motion.factor
    small = np.pad(fan.mask(-(-height // factor), -(-width // factor)), BAND, mode="edge")
    wide = ndimage.binary_dilation(small, iterations=BAND)
    deep = ndimage.binary_erosion(small, iterations=BAND)
    wide, deep = (each[BAND:-BAND, BAND:-BAND] for each in (wide, deep))
    full = (wide & ~deep).repeat(factor, 0).repeat(factor, 1)[:height, :width]
    if unseen is not None:
        full &= ~unseen
        hidden = unseen[factor // 2 :: factor, factor // 2 :: factor]
        deep[: hidden.shape[0], : hidden.shape[1]] &= ~hidden
    places = np.flatnonzero(within(full, box))
    stride = max(1, len(places) // BAND_PIXELS)
    # Not every n-th pixel: those would lie on lines where the width is a multiple of n.
    steps = np.arange(len(places) // stride)
    places = places[steps * stride + steps * 7 % stride]
    inner = (np.argwhere(deep).T.astype(np.float32) + 0.5) * factor - 0.5
    rows, columns = np.concatenate([np.divmod(places, width), inner], axis=1, dtype=np.float32)
    gain = motion.active.ravel()[places].astype(np.float32) - np.float32(BAND_STILLNESS)
    gain = np.concatenate([gain, np.ones(inner.shape[1], np.float32)])
    open_wide = replace(fan.scaled(factor), angle0=-np.pi / 2, angle1=np.pi / 2)
    return best_fan(gain, rows, columns, open_wide, step=2.0)[1]


def widened(motion: Motion, fan: Fan, fitter: Fitter, box: Box) -> Fan:
    """Return a fan in the picture, with equal angles on both sides if the dark allows it.

    Where a rib shades one side, nothing shows its border; but beams are steered as far to one
    side as to the other. A side that moves up to its border is where it seems to be.
    """
    found = refined(motion, fan, box)
    lopsided = abs(found.angle0 + found.angle1)
    if not LOPSIDED <= lopsided <= WIDEST_DARK or not _fades(motion, found, box):
        return found
    half = max(-found.angle0, found.angle1)
    fitted = refined(motion, fitter.near(replace(fan, upright=True))[1], box)
    mirrored = replace(found, angle0=-half, angle1=half)
    size = motion.active.shape

    def worth(upright: Fan, most_bright: float = MOST_BRIGHT) -> float:
        held = within(upright.mask(*size), box)
        added = held & ~found.mask(*size)
        bright = (motion.brightest > DARK) & ~motion.active & added
        if bright.sum() > most_bright * added.sum():
            return -1.0
        return float((held & motion.active).sum() - LITTLE * held.sum())

    best = completed(motion, found, box)
    if worth(best, MOST_BRIGHT / 2) <= 0:
        best = max((mirrored, fitted), key=worth)
    return best if worth(best) > 0 else found


def completed(motion: Motion, found: Fan, box: Box) -> Fan:
    """Return the upright fan that fits what is seen of a scan with one side in the dark.

    The dark beside the seen part tells nothing of the apex; the other side, the arc and what is
    lit near the probe do. Nearer the true apex the dark lies elsewhere, so it is fitted again.

    Args:
        motion: Of the loop.
        found: What is seen, in the picture.
        box: Where the scan is cut off.
    """
    places = np.indices(motion.active.shape).astype(np.float32)
    angles, _ = found.polar(places[0], places[1])
    if -found.angle0 < found.angle1:
        beside = angles < found.angle0 + STRIP
    else:
        beside = angles > found.angle1 - STRIP
    unseen = beside & ~motion.active
    fan = found
    for _ in range(COMPLETIONS):
        half = max(-fan.angle0, fan.angle1)
        upright = replace(fan, angle0=-half, angle1=half, upright=True)
        fan = refined(motion, upright.scaled(1 / motion.factor), box, unseen)
    return fan


def _fades(motion: Motion, fan: Fan, box: Box) -> bool:
    """Return whether little moves along the border of the narrower side."""
    if -fan.angle0 < fan.angle1:
        strip = replace(fan, angle1=fan.angle0 + STRIP)
    else:
        strip = replace(fan, angle0=fan.angle1 - STRIP)
    beside = within(strip.mask(*motion.active.shape), box)
    return bool((motion.active & beside).sum() < HARD_EDGE * beside.sum())


def cut_off(motion: Motion, piece: NDArray[np.bool_]) -> Box:
    """Return the rectangle that cuts the scan off, the picture itself where nothing does.

    Scanners whose memory is narrower than the fan cut its sides; a cut shows as a line on
    which the scan begins along a good length at once.
    """
    factor, (height, width) = motion.factor, motion.active.shape
    near = ndimage.binary_dilation(piece, iterations=3)
    full = near.repeat(factor, 0).repeat(factor, 1)[:height, :width] & motion.active
    diagonal = float(np.hypot(height, width))
    sides = []
    for counts in (full.sum(1), full.sum(0)):
        start = _abrupt(counts, diagonal)
        stop = len(counts) - _abrupt(counts[::-1], diagonal)
        sides += [start, stop]
    return Box(*sides)


def _abrupt(counts: NDArray[np.int_], diagonal: float) -> int:
    """Return the first line of a cut, or 0 if the scan does not begin abruptly."""
    reach = max(4, round(ABRUPT_REACH * diagonal))
    first = int(np.argmax(counts >= 0.1 * counts.max()))
    behind = float(np.median(counts[first + reach // 2 : first + reach + 1]))
    if behind < ABRUPT_LENGTH * diagonal:
        return 0
    for line in range(max(first - 1, 1), first + 3):
        before = counts[max(line - 2, 0)]
        if before <= BEFORE * behind and counts[line : line + 2].min() >= ABRUPT * behind:
            return line
    return 0


def within(mask: NDArray[np.bool_], box: Box) -> NDArray[np.bool_]:
    """Return the mask, empty outside the rectangle."""
    out = np.zeros_like(mask)
    out[box.slices] = mask[box.slices]
    return out


def _small_box(shape: tuple[int, ...], box: Box, factor: int) -> NDArray[np.bool_]:
    used = np.zeros(shape, dtype=bool)
    rows = slice(-(-box.row0 // factor), -(-box.row1 // factor))
    used[rows, -(-box.column0 // factor) : -(-box.column1 // factor)] = True
    return used
