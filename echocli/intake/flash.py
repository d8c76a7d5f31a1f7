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

from echocli.intake.brief import CELL, ROWS, STROKES, words_in
from echocli.intake.motion import running
from echocli.intake.strokes import Beyond, Grey, Strokes, top_hat

JUMP, JUMP_TEXTURE = 20.0, 4.5
"""Grey levels by which a stroke stands out in the change between two frames, and how many more
for each by which the tissue around it does. 24 loops without text, real ones and phantoms,
hold no word by this."""
WEAK_SHARE, WEAK_LEAST = 3, 8
"""Parts of a word where the rest of it stands out: share of that limit, as a divisor, and grey
levels at least."""
LEAST_JUMP, LEAST_PIXELS, USUAL, MORE = 30, 12, 80, 1.25
"""A cell is looked at if so many more strokes of pixels that change by more than so many grey
levels begin in it than usually do: this percentile of all pairs of frames, and so many times
that."""
LOOKED_AT, LOOKED_AT_OF = 24, 4
"""Pairs of frames that are looked at: one of so many, but so many at least, those in which most
strokes jump first."""
MOST_FLASHES = 4
"""Times that texts come or go in a cell or beside it."""
CHECKED = 40
"""Pairs of frames, spread over the loop, in which it is looked how often that is."""
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
    cells, suspects = _where(frames, scan)
    if not cells.any():
        return None
    window = _around(cells, BESIDE)
    inside, pairs = scan[window], frames[:, *window]
    beyond = Beyond(inside)
    bright, weak = np.zeros((2, *inside.shape), bool)
    flashes = np.zeros_like(_count(inside))
    evenly = np.linspace(0, len(frames) - 2, CHECKED).astype(int)
    for index in sorted({*suspects, *evenly.tolist()}):
        for sign in (0, 1):
            found = _words(_jump(pairs[index : index + 2], sign), inside, beyond)
            if found is not None:
                bright |= found[0]
                weak |= found[1]
                flashes += ndimage.maximum_filter(_count(found[0]) > 0, 3)
    seldom = (flashes <= MOST_FLASHES).repeat(CELL, 0).repeat(CELL, 1)
    bright &= seldom[: len(inside), : inside.shape[1]]
    if not bright.any():
        return None
    found_bright, found_weak, nowhere = np.zeros((3, *scan.shape), bool)
    found_bright[window], found_weak[window] = bright, weak
    return Strokes(found_bright, nowhere, found_weak, found_bright)


def _where(
    frames: NDArray[np.uint8], scan: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], set[int]]:
    """Return the cells in which words flash, and the pairs of frames in which they do."""
    beyond = Beyond(scan)
    cells = np.zeros_like(_count(scan), dtype=bool)
    pairs = set()
    for index, suspect in enumerate(_suspect(frames, scan)):
        if suspect.any():
            window = _around(suspect, 1)
            jump = _jump(frames[index // 2 : index // 2 + 2, *window], index % 2)
            found = _words(jump, scan[window], beyond.part(window))
            if found is not None:
                part = cells[window[0].start // CELL :, window[1].start // CELL :]
                count = _count(found[0])
                part[: len(count), : count.shape[1]] |= count > 0
                pairs.add(index // 2)
    return cells, pairs


def _jump(pair: NDArray[np.uint8], sign: int) -> Grey:
    """Return by how much pixels brighten (1) or darken (0) from one frame to the next."""
    return np.asarray(pair[sign] - np.minimum(pair[0], pair[1]))


def _suspect(frames: NDArray[np.uint8], scan: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the cells in which more strokes jump at once than they mostly do.

    Returns:
        ``(2 * pairs, rows of cells, columns of cells)``: darker and brighter in turn.
    """
    counts = []
    padded = _padded(scan)
    starts = padded[: scan.shape[0], : scan.shape[1]]
    for before, after in pairwise(frames):
        low = np.minimum(before, after)
        for frame in (before, after):
            marks = (frame - low > LEAST_JUMP) & scan
            starts[:, 0] = marks[:, 0]
            np.greater(marks[:, 1:], marks[:, :-1], out=starts[:, 1:])
            counts.append(_sums(padded))
    strokes = np.array(counts)
    usual = np.empty_like(strokes, dtype=np.float32)
    for sign in (0, 1):
        usual[sign::2] = np.percentile(strokes[sign::2], USUAL, axis=0, method="lower")
    excess = strokes - MORE * usual - LEAST_PIXELS
    most = excess.max(axis=(1, 2))
    looked_at = max(LOOKED_AT, len(most) // LOOKED_AT_OF)
    enough = np.sort(most)[-looked_at:][0]
    return np.asarray((excess >= 0) & (most >= enough)[:, None, None])


def _count(mask: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return the number of set pixels in each cell."""
    return _sums(_padded(mask))


def _padded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask, widened to whole cells."""
    height, width = (-(-side // CELL) * CELL for side in mask.shape)
    padded = np.zeros((height, width), bool)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    return padded


def _sums(padded: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return the number of set pixels in each cell of a mask of whole cells."""
    width = padded.shape[1]
    # Eight bytes are added at once: of CELL ones none runs over.
    columns = padded.view(np.uint64).reshape(-1, CELL, width // 8).sum(axis=1).view(np.uint8)
    return np.asarray(columns.reshape(len(columns), -1, CELL).sum(axis=2))


def _around(suspect: NDArray[np.bool_], beside: int) -> tuple[slice, slice]:
    """Return the rectangle of pixels that holds some cells and those beside them."""
    down, across = (
        slice(max(0, int(each.min()) - beside) * CELL, (int(each.max()) + 1 + beside) * CELL)
        for each in np.nonzero(suspect)
    )
    return down, across


def _words(
    jump: Grey, scan: NDArray[np.bool_], beyond: Beyond
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Return the strokes of words, and fainter ones that may belong to them."""
    contrast = top_hat(jump * scan)
    limit = beyond.limit(contrast, JUMP, JUMP_TEXTURE)
    marks = scan & (contrast > limit)
    words = words_in(marks) if marks.sum() >= STROKES * ROWS else None
    if words is None:
        return None
    in_row = (words[:, 1:] & ~words[:, :-1]).sum(axis=1)
    rows = running(np.minimum, (in_row >= STROKES)[:, None].view(np.uint8), 3, axes=(0,))
    rows = running(np.maximum, rows, 2 * LINE + 1, axes=(0,))
    line = running(np.maximum, words.view(np.uint8), 2 * BESIDE * CELL + 1, axes=(1,)) & rows
    weak = scan & (contrast > np.maximum(limit // WEAK_SHARE, WEAK_LEAST))
    return marks & line.view(bool), weak
