"""Text that comes and goes over a scan, found in what changes from one frame to the next.

Where a text appears or vanishes, its strokes change at once, be it bright or dark, shown for
one frame or for many. Tissue changes, too, but not along several thin strokes beside each
other in rows that follow each other, and not by so much more than what is around it.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echocli.intake.brief import CELL, STROKES, words_in
from echocli.intake.motion import running
from echocli.intake.strokes import Beyond, Grey, Strokes, top_hat

JUMP, JUMP_TEXTURE = 20.0, 4.5
"""Grey levels by which a stroke stands out in the change between two frames, and how many more
for each by which the tissue around it does. 24 loops without text, real ones and phantoms,
hold no word by this."""
WEAK_SHARE, WEAK_LEAST = 3, 8
"""Parts of a word where the rest of it stands out: share of that limit, as a divisor, and grey
levels at least."""
LEAST_JUMP, LEAST_PIXELS = 30, 8
"""A cell is looked at if so many of its pixels change by more than so many grey levels."""
MOST_FLASHES = 4
"""Times that texts come or go in a cell or beside it."""
LINE = 12
"""Rows around those with several strokes that belong to the same line of text."""
BESIDE = 2
"""Cells around a word in which the rest of its line is looked for."""


def flashed_strokes(frames: NDArray[np.uint8], scan: NDArray[np.bool_]) -> Strokes | None:
    """Return the strokes of words that appear or vanish between two frames, if there are any.

    Where words seem to come and go all the time, bubbles of a contrast agent do.

    Args:
        frames: ``(frames, height, width)``.
        scan: Where the scan is, ``(height, width)``; what lies beyond does not count.
    """
    bright, weak = np.zeros((2, *scan.shape), bool)
    flashes = np.zeros([-(-side // CELL) for side in scan.shape], np.intp)
    for before, after in pairwise(frames):
        low = np.minimum(before, after)
        for frame in (before, after):
            jump = frame - low
            window = _suspect(jump)
            found = None if window is None else _words(jump[window], scan[window])
            if window is None or found is None:
                continue
            bright[window] |= found[0]
            weak[window] |= found[1]
            cells = np.pad(found[0], [(0, -side % CELL) for side in found[0].shape])
            blocks = cells.reshape(len(cells) // CELL, CELL, -1, CELL)
            cells = np.asarray(blocks.any(axis=(1, 3)), bool)
            place = tuple(slice(side.start // CELL, None) for side in window)
            part = flashes[place][: len(cells), : cells.shape[1]]
            part += ndimage.binary_dilation(cells, np.ones((3, 3), bool))
    bright &= (
        (flashes <= MOST_FLASHES).repeat(CELL, 0).repeat(CELL, 1)[: len(scan), : scan.shape[1]]
    )
    nowhere = np.zeros_like(scan)
    return Strokes(bright, nowhere, weak, bright) if bright.any() else None


def _suspect(jump: Grey) -> tuple[slice, slice] | None:
    """Return the rectangle in which enough changes for a word, a multiple of cells wide."""
    height, width = (-(-side // CELL) * CELL for side in jump.shape)
    over = np.zeros((height, width), bool)
    np.greater(jump, LEAST_JUMP, out=over[: jump.shape[0], : jump.shape[1]])
    # Eight bytes are added at once: of CELL ones none runs over.
    columns_of = over.view(np.uint64).reshape(-1, CELL, width // 8).sum(axis=1).view(np.uint8)
    pixels = columns_of.reshape(len(columns_of), -1, CELL).sum(axis=2)
    rows, columns = np.nonzero(pixels >= LEAST_PIXELS)
    if len(rows) == 0:
        return None
    down, across = (
        slice(max(0, int(each.min()) - BESIDE) * CELL, (int(each.max()) + 1 + BESIDE) * CELL)
        for each in (rows, columns)
    )
    return down, across


def _words(
    jump: Grey, scan: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Return the strokes of words, and fainter ones that may belong to them."""
    beyond = Beyond(scan)
    contrast = top_hat(beyond.filled(jump))
    limit = beyond.limit(contrast, JUMP, JUMP_TEXTURE)
    marks = scan & (contrast > limit)
    words = words_in(marks)
    if words is None:
        return None
    in_row = (words[:, 1:] & ~words[:, :-1]).sum(axis=1)
    rows = running(np.minimum, (in_row >= STROKES)[:, None].view(np.uint8), 3, axes=(0,))
    rows = running(np.maximum, rows, 2 * LINE + 1, axes=(0,))
    line = running(np.maximum, words.view(np.uint8), 2 * BESIDE * CELL + 1, axes=(1,)) & rows
    weak = scan & (contrast > np.maximum(limit // WEAK_SHARE, WEAK_LEAST))
    return marks & line.view(bool), weak
