"""The outline of the scan: a fan where one fits what moves, a convex shape where none does."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echocli.intake.convex import convex_shape
from echocli.intake.fan import Fan
from echocli.intake.fitting import Box, Fitter, fan_gain, within
from echocli.intake.loop import Region
from echocli.intake.motion import SOLID, Motion
from echocli.intake.shade import around_parts, widened

GOOD_SCORE = 0.78
"""Share of the largest sum of gains that a fan must reach."""
MOST_OUTSIDE = 0.02
"""Share of what moves that may lie outside a fan."""
WITHIN_REACH = 0.8
"""Share of a piece that another piece's beams, or the fan found at last, must reach for both to
be one scan."""
PART = 0.02
"""Share of the largest piece that another is large enough for to be a part of the scan."""
ABRUPT, BEFORE, ABRUPT_REACH, ABRUPT_LENGTH = 0.7, 0.25, 0.03, 0.1
"""A picture cut off along a straight line: share of the count behind that the first two lines
hold at least, and the line before them at most; how far behind that is, and the least length,
as shares of the diagonal."""
DIM, NOISY, NOISE_REACH = 50, 0.4, 0.09
"""Grey levels that noise in the dark of a scan stays below, the share of a cut beyond which it
may stir, and how far beyond that is looked for, as a share of the diagonal."""


@dataclass(frozen=True)
class Outline:
    """Where the scan is."""

    mask: NDArray[np.bool_]
    """In the picture."""
    piece: NDArray[np.bool_]
    """What moves in it, in the small picture."""
    fan: Fan | None
    """The fan that it is, if it is one."""


def outline(
    motion: Motion,
    pieces: list[NDArray[np.bool_]],
    aspect: float,
    region: Region | None = None,
) -> tuple[Outline, list[NDArray[np.bool_]]]:
    """Return the scan's outline, and the pieces that do not belong to it.

    Args:
        motion: Of the loop.
        pieces: What moves in the small picture, the largest first.
        aspect: Width of a pixel over its height.
        region: The scan's rectangle by the header.
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
        found = widened(motion, fan, piece, box, region)
        if accepted := _accepted(found, motion, [piece, *others], box):
            return accepted
    large = np.logical_or.reduce([each for each in pieces if each.sum() >= PART * piece.sum()])
    fitter = Fitter(fan_gain(motion.small(), large), large, box, motion.factor)
    whole = around_parts(motion, fitter.best(aspect)[1], large, box, region)
    if whole and (accepted := _accepted(whole, motion, pieces, box)):
        return accepted
    narrowest = SOLID * float(np.hypot(*piece.shape))
    return Outline(convex_shape(piece, motion.factor, size, narrowest), piece, None), others


def _accepted(
    fan: Fan, motion: Motion, pieces: list[NDArray[np.bool_]], box: Box
) -> tuple[Outline, list[NDArray[np.bool_]]] | None:
    """Return a fan's outline and the pieces beyond it; nothing if it leaves out the first."""
    shape = within(fan.mask(*motion.active.shape), box)
    half = motion.factor // 2
    inside = shape[half :: motion.factor, half :: motion.factor]
    moving = [piece[: inside.shape[0], : inside.shape[1]] for piece in pieces]
    shares = [(each & inside).sum() / each.sum() for each in moving]
    if shares[0] < 1 - MOST_OUTSIDE:
        return None
    reached = [share >= WITHIN_REACH for share in shares]
    parts = np.logical_or.reduce(
        [piece for piece, is_in in zip(pieces, reached, strict=True) if is_in]
    )
    others = [piece for piece, is_in in zip(pieces, reached, strict=True) if not is_in]
    return Outline(shape, parts, fan), others


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


def cut_off(motion: Motion, piece: NDArray[np.bool_]) -> Box:
    """Return the rectangle that cuts the scan off, the picture itself where nothing does.

    Scanners whose memory is narrower than the fan cut its sides; a cut shows as a line on
    which the scan begins along a good length at once, and beyond which no noise stirs.
    """
    factor, (height, width) = motion.factor, motion.active.shape
    near = ndimage.binary_dilation(piece, iterations=3)
    full = near.repeat(factor, 0).repeat(factor, 1)[:height, :width] & motion.active
    noise = motion.active & (motion.brightest <= DIM)
    sides = []
    for scan, beyond in ((full, noise), (full.T, noise.T)):
        start, stop = _cut(scan, beyond), len(scan) - _cut(scan[::-1], beyond[::-1])
        sides += [start, stop]
    return Box(*sides)


def _cut(scan: NDArray[np.bool_], noise: NDArray[np.bool_]) -> int:
    """Return the row on which a scan is cut off, 0 if it is not."""
    diagonal = float(np.hypot(*scan.shape))
    row = _abrupt(scan.sum(1), diagonal)
    along = scan[row : row + 2].any(0)
    reach = round(NOISE_REACH * diagonal)
    noisy = noise[max(row - 1 - reach, 0) : max(row - 1, 0)].any(0) & along
    return 0 if noisy.sum() > NOISY * along.sum() else row


def _abrupt(counts: NDArray[np.int_], diagonal: float) -> int:
    """Return the first line on which a scan begins abruptly, 0 if there is none.

    Args:
        counts: Pixels of the scan on each line.
        diagonal: Of the picture, in pixels.
    """
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
