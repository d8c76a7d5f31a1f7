"""Sides of a fan that a rib or lung keeps dark: completed as far as the other side goes.

Beams are steered as far to one side as to the other. Where one side of what moves ends nearer
to the middle, and nothing but darkness lies beyond, the scan goes on: a fan with equal sides is
fitted for which dark pixels count little. The other side, the arc and the noise that stirs in
dark depths then tell how far it goes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from echocli.intake.fan import FINEST, Fan, Floats, around
from echocli.intake.fitting import LITTLE, Box, fan_gain, refined, small_box, within
from echocli.intake.loop import Region
from echocli.intake.motion import Motion, running, shrunk

Mask = NDArray[np.bool_]

LOPSIDED = 0.02
"""Radians by which the sides of a fan differ before one is taken to be in the dark."""
DARK, ALL_DARK = 25, 0.9
"""Grey levels that are dark, and share of dark pixels in what is dark in the small picture."""
MOST_BRIGHT, MOST_LOST = 0.02, 0.003
"""Share of what a fan is widened by that may stand still and not be dark, and share of what
moves in the fan that is seen that the completed one may leave out."""
MOST_ADDED, MOST_LEFT = 0.6, 0.25
"""What it may add, as a share of the fan's area, unless it is lit next to the transducer, and
leave out of what is not dark, as a share of what it adds."""
RIM = 5
"""Pixels from what moves in which tissue ends in a shadow: still, but not yet dark."""
STRIP, HARD_EDGE = 0.03, 0.75
"""Radians along a side, and share of them that moves where that side is no shadow's."""
STIRS = 0.01
"""Share of the dark in which something moves if it belongs to the scan."""
MIDDLE = 0.02
"""Share of a region's width by which its middle differs from the apex that it tells."""
NEAR, LIT_NEAR = 0.07, 0.8
"""Share of the depth next to the transducer in which a scan is lit from side to side, for
shadows have hardly begun there, and share of that part that must move."""
LEAST_LIT = 0.3
"""Share of a fan that is mostly in shadows that must move."""
EDGE = 4
"""Pixels from what moves within which darkness is no shadow: there a border is sharp."""
MOST_ROUNDS = 6
"""Times at most that a fan is refined until its apex stays where it is."""
ABOVE = np.arange(-0.05, 0.32, 0.03)
"""Where the apex is looked for above what moves, as shares of its height."""


def widened(motion: Motion, fan: Fan, piece: Mask, box: Box, region: Region | None) -> Fan:
    """Return the fan in the picture, with equal angles on both sides if the dark allows it.

    A side that is lit up to its border is where it seems to be, unless something stirs beyond
    it, or the header's rectangle is as wide on both sides of the apex and holds the whole.

    Args:
        motion: Of the loop.
        fan: In the small picture.
        piece: What moves in it.
        box: Where the scan is cut off.
        region: The scan's rectangle by the header; one as wide as the picture tells nothing.
    """
    found = refined(motion, fan, box)
    if abs(found.angle0 + found.angle1) < LOPSIDED:
        return found
    dark, size = _dark(motion), motion.active.shape
    seen = Seen(within(found.mask(*size), box), motion.active, dark)
    dark = dark & ~_near(motion, piece, down=found.down)
    fitter = _Upright(motion, dark, piece, box)
    fades = _fades(motion, found, box)

    def allowed(whole: Fan, told: bool) -> bool:
        held = within(whole.mask(*size), box)
        if not (told or seen.stirs_beyond(held)) or not seen.allows(held):
            return False
        return seen.share_added(held) <= MOST_ADDED or _is_lit(motion, whole, held, box)

    half = max(-found.angle0, found.angle1)
    mirrored = replace(found, angle0=-half, angle1=half, upright=True)
    if region is not None and region.width < size[1]:
        middle = (region.column0 + region.column1 - 1) / 2
        near = abs(middle - found.column) <= MIDDLE * region.width
        beside = replace(mirrored, column=middle).scaled(1 / motion.factor)
        for start in (fitter.under(middle, found), beside):
            whole = _settled(motion, start, box, dark)
            held = within(whole.mask(*size), box)
            fits = held[region.slices].sum() >= (1 - MOST_BRIGHT) * held.sum()
            if fits and allowed(whole, told=fades or near):
                return whole
    whole = _settled(motion, fitter.under(found.column, found), box, dark)
    if allowed(whole, told=fades):
        return whole
    return mirrored if allowed(mirrored, told=False) else found


def around_parts(
    motion: Motion, fan: Fan, parts: Mask, box: Box, region: Region | None
) -> Fan | None:
    """Return the fan in the picture that shadows part, if all else that it holds is dark.

    Two scans side by side are none, for a fan around both is dark next to the transducer.

    Args:
        motion: Of the loop.
        fan: One that holds the parts, in the small picture; it need not fit.
        parts: What moves in it.
        box: Where the scan is cut off.
        region: The scan's rectangle by the header.
    """
    dark, size = _dark(motion), motion.active.shape
    near = _near(motion, parts, down=fan.down)
    fitter = _Upright(motion, dark & ~near, parts, box)
    seen = fan.scaled(motion.factor)
    columns = [seen.column]
    if region is not None and region.width < size[1]:
        columns.insert(0, (region.column0 + region.column1 - 1) / 2)
    moving = running(np.maximum, motion.active.view(np.uint8), 2 * RIM + 1).view(bool)
    for column in columns:
        whole = _settled(motion, fitter.under(column, seen), box, dark & ~near)
        held = within(whole.mask(*size), box)
        beyond = held & ~moving
        is_dark = (beyond & ~dark).sum() <= MOST_BRIGHT * beyond.sum()
        if is_dark and _is_lit(motion, whole, held, box):
            return whole
    return None


def _is_lit(motion: Motion, fan: Fan, held: Mask, box: Box) -> bool:
    """Return whether a fan moves next to the transducer from side to side, and in good part."""
    lit = held & motion.active
    near = replace(fan, radius1=fan.radius0 + NEAR * (fan.radius1 - fan.radius0))
    ring = within(near.mask(*held.shape), box)
    return bool(
        (lit & ring).sum() >= LIT_NEAR * ring.sum() and lit.sum() >= LEAST_LIT * held.sum()
    )


def _dark(motion: Motion) -> Mask:
    """Return what does not move and is dark."""
    return (motion.brightest <= DARK) & ~motion.active


def _near(motion: Motion, piece: Mask, *, down: bool) -> Mask:
    """Return the rows next to the transducer, which no shadow keeps dark as a whole."""
    moving = np.flatnonzero(piece.any(axis=1)) * motion.factor
    height = NEAR * (moving[-1] - moving[0])
    rows = np.arange(len(motion.active))
    near = rows < moving[0] + height if down else rows > moving[-1] - height
    return np.broadcast_to(near[:, None], motion.active.shape)


def _settled(motion: Motion, fan: Fan, box: Box, dark: Mask) -> Fan:
    """Return the fan in the picture, refined until it moves by less than a small pixel.

    What is seen of a side in the dark may end farther from the border than a border is looked
    for at once.
    """
    found = refined(motion, fan, box, dark)
    for _ in range(MOST_ROUNDS - 1):
        before = found
        found = refined(motion, found.scaled(1 / motion.factor), box, dark)
        steps = (
            np.hypot(found.row - before.row, found.column - before.column),
            abs(found.radius0 - before.radius0),
            abs(found.radius1 - before.radius1),
            found.radius1 * abs(found.angle1 - before.angle1),
        )
        if max(steps) <= motion.factor:
            break
    lit = running(np.maximum, motion.active.view(np.uint8), 2 * EDGE + 1).view(bool)
    return refined(motion, found.scaled(1 / motion.factor), box, dark & ~lit)


class Seen:
    """What is seen of a fan, and what a fan around all of it may hold besides.

    Args:
        fan: The fan that is seen, in the picture.
        active: What moves.
        dark: What does not, and is dark.
    """

    def __init__(self, fan: Mask, active: Mask, dark: Mask) -> None:
        self._fan, self._active, self._dark = fan, active, dark
        moving = (fan & active).view(np.uint8)
        self._known = fan | running(np.maximum, moving, 2 * RIM + 1).view(bool)

    def allows(self, whole: Mask) -> bool:
        """Return whether a fan holds what moves and, besides, only what is dark."""
        left, added = self._fan & ~whole, whole & ~self._fan
        lost = left & self._active
        beyond = whole & ~self._known
        still = beyond & ~self._dark & ~self._active
        return bool(
            lost.sum() <= MOST_LOST * (self._fan & self._active).sum()
            and still.sum() <= MOST_BRIGHT * beyond.sum()
            and (left & ~self._dark).sum() <= MOST_LEFT * added.sum()
        )

    def share_added(self, whole: Mask) -> float:
        """Return what a fan holds besides what is seen, as a share of that."""
        return float((whole & ~self._fan).sum() / self._fan.sum())

    def stirs_beyond(self, whole: Mask) -> bool:
        """Return whether something moves in a fan beyond what is seen."""
        beyond = whole & ~self._known
        return bool((beyond & self._active).sum() > STIRS * beyond.sum())


def _fades(motion: Motion, fan: Fan, box: Box) -> bool:
    """Return whether little moves along the border of the narrower side."""
    if -fan.angle0 < fan.angle1:
        strip = replace(fan, angle1=fan.angle0 + STRIP)
    else:
        strip = replace(fan, angle0=fan.angle1 - STRIP)
    beside = within(strip.mask(*motion.active.shape), box)
    return bool((motion.active & beside).sum() < HARD_EDGE * beside.sum())


class _Upright:
    """Fits fans with equal sides in the small picture.

    Args:
        motion: Of the loop.
        dark: Pixels of the picture that count little.
        piece: What moves in the small picture.
        box: Where the scan is cut off.
    """

    def __init__(self, motion: Motion, dark: Mask, piece: Mask, box: Box) -> None:
        gain = fan_gain(motion.small(), piece)
        gain[shrunk(dark, motion.factor) > ALL_DARK] = -LITTLE
        used = small_box(gain.shape, box, motion.factor)
        rows, columns = np.nonzero(used)
        self._factor = motion.factor
        self._places: tuple[Floats, Floats, Floats]
        self._places = gain[used], rows.astype(np.float32), columns.astype(np.float32)
        moving = np.flatnonzero(piece.any(axis=1))
        self._top, self._bottom = float(moving[0]), float(moving[-1])

    def under(self, column: float, found: Fan) -> Fan:
        """Return the best fan with its apex in a column of the picture."""
        start = self._start(found, (column + 0.5) / self._factor - 0.5)
        score, best = around(*self._places, start)
        step = 2.0
        while step >= FINEST:
            tries = [replace(start, row=best.row + way * step) for way in (-1, 1)]
            better = max((around(*self._places, each) for each in tries), key=lambda at: at[0])
            if better[0] > score:
                score, best = better
            else:
                step /= 2
        return best

    def _start(self, found: Fan, column: float) -> Fan:
        """Return an open fan with the best of some rows for its apex."""
        away = ABOVE * (self._bottom - self._top + 1)
        rows = self._top - away if found.down else self._bottom + away
        seen = found.scaled(1 / self._factor)
        start = Fan(seen.row, column, down=seen.down, aspect=seen.aspect, upright=True)
        tries = [replace(start, row=float(row)) for row in (seen.row, *rows)]
        return max(tries, key=lambda each: around(*self._places, each)[0])
