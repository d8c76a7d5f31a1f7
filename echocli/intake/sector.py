"""Where the scan is in the picture, so that all the rest, text above all, can be blacked out.

The scan is what keeps changing (``motion``), has the outline of a fan or another convex shape
(``shape``), and what is drawn over it is taken out again (``overlays``). Header and pixels must
agree; where they do not, and where graphics cannot be told from tissue, the loop is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echocli.intake.loop import CineLoop, Region
from echocli.intake.motion import Motion, motion_of, solid_pieces
from echocli.intake.overlays import coloured_pixels, drawn_over
from echocli.intake.reasons import Reason, Refused
from echocli.intake.shape import outline

LEAST_SHARE = 0.05
"""Share of the picture that a sector covers, at least."""
LEAST_FILLED = 0.7
"""Share of the outline that must be scan, where no fan fits."""
MOST_DRAWN = 0.15
"""Share of the sector that may be covered by graphics."""
MUCH_DRAWN = 0.02
"""Share of it that is told of: some of what was taken for graphics may be tissue."""
SECOND_SCAN = 0.3
"""A second scan counts if its area is at least this share of the largest."""
OUTSIDE_REGION = 0.1
"""Share of the scan that may lie outside the region that the header tells."""


@dataclass(frozen=True)
class Sector:
    """The pixels that belong to the scan and have nothing drawn over them."""

    mask: NDArray[np.bool_]
    """Of the picture, ``(height, width)``."""
    notes: tuple[str, ...] = ()
    """What is doubtful about it, words of ``loop.NOTES``."""


def find_sector(loop: CineLoop) -> Sector:
    """Return where the scan is, without what is drawn over it.

    Args:
        loop: A decoded loop; a sector that came with its data set is used as given.

    Raises:
        Refused: If no scan is found, if there are several, if the header's region contradicts
            what moves, or if what is drawn over the scan covers too much of it. Then text
            cannot be ruled out, and the loop must not be used.
    """
    if loop.sector_known is not None:
        return Sector(loop.sector_known)
    motion = motion_of(loop.frames)
    motion.active[coloured_pixels(loop.chroma, motion.brightest, motion.active)] = False
    pieces = solid_pieces(motion.small())
    if not pieces:
        raise Refused(Reason.NO_SECTOR, "nothing in the picture keeps moving")
    row_mm, column_mm = loop.spacing_mm or (1.0, 1.0)
    found, others = outline(motion, pieces, column_mm / row_mm, loop.region)
    if any(other.sum() > SECOND_SCAN * found.piece.sum() for other in others):
        raise Refused(Reason.DUAL_SCREEN)
    shape = found.mask
    if loop.region:
        _check_region(found.piece, loop.region, motion.factor)
        shape = _inside(shape, loop.region)
    _check_shape(motion, shape, is_fan=found.fan is not None)
    drawn = drawn_over(loop.frames, loop.chroma, motion, shape)
    share = float((drawn & shape).sum() / shape.sum())
    if share > MOST_DRAWN:
        raise Refused(Reason.BURNED_IN_TEXT, "graphics cover too much of the scan")
    doubts = {
        "side_in_dark": found.fan is not None and found.fan.upright,
        "much_drawn_over": share > MUCH_DRAWN,
    }
    return Sector(shape & ~drawn, tuple(word for word, holds in doubts.items() if holds))


def _check_region(piece: NDArray[np.bool_], region: Region, factor: int) -> None:
    """Refuse a region that the scan leaves: it was written for another picture."""
    rows, columns = ((axis + 0.5) * factor for axis in np.nonzero(piece))
    inside = (rows >= region.row0) & (rows < region.row1)
    inside &= (columns >= region.column0) & (columns < region.column1)
    if (~inside).mean() > OUTSIDE_REGION:
        raise Refused(Reason.STALE_REGION, "what moves lies outside the region")


def _inside(shape: NDArray[np.bool_], region: Region) -> NDArray[np.bool_]:
    out = np.zeros_like(shape)
    out[region.slices] = shape[region.slices]
    return out


def _check_shape(motion: Motion, shape: NDArray[np.bool_], *, is_fan: bool) -> None:
    """Refuse what cannot be a sector."""
    if shape.sum() < LEAST_SHARE * shape.size:
        raise Refused(Reason.NO_SECTOR, "what moves covers too little of the picture")
    if not is_fan and (motion.active & shape).sum() < LEAST_FILLED * shape.sum():
        raise Refused(Reason.NO_SECTOR, "what moves has no sector's shape")
    rows, columns = np.nonzero(shape)
    centre = np.array([rows.mean(), columns.mean()]) / np.array(shape.shape)
    if np.abs(centre - 0.5).max() > 0.35:
        raise Refused(Reason.NO_SECTOR, "what moves lies at the edge of the picture")
