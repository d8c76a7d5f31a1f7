"""Graphics drawn over the scan: found, and joined to blots that cannot be read either."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echocli.intake.brief import brief_strokes, starts_of
from echocli.intake.flash import flashed_strokes
from echocli.intake.motion import Motion, running
from echocli.intake.strokes import STROKE, Strokes, strokes, unlit_strokes

Mask = NDArray[np.bool_]
EIGHT = np.ones((3, 3))
"""Pixels that touch at a corner belong together."""

COLOUR_DIFFERENCE, COLOUR_SATURATION = 60, 0.4
"""Difference between two primaries, in grey levels and as a share of the brightness, above
which a pixel is coloured by design and not by a tinted grey map."""
STILL_RANGE, STILL_LEVEL, STILL_WIDTH = 4, 48, 5
"""A filled shape: grey levels by which it changes at most and which it has at least, and its
least width in pixels."""
BESIDE_RANGE = 40
"""Grey levels by which what is drawn beside the scan changes at most, by compression."""
NEAR_MOTION = 3
"""Pixels from what moves within which a speck may be tissue."""
GAP, RIM = 0.012, 0.03
"""Gap within a text, and width of the border that rulers mark, as shares of the diagonal."""
SHORTEST_WORD, LEAST_INK = 8, 10
"""Pixels: two letters of the smallest readable font (5 x 7) span more and have more ink."""
STROKES, ROWS = 3, 4
"""Strokes beside each other, and rows of such, that make a word of a blot."""
SURE_SHARE, CALM_STROKES, UPRIGHT = 0.2, 2, 1.25
"""Share of a blot's ink that is surely drawn where fewer strokes in rows that follow each other
make a word of it, that number (the calm gap between two walls is one stroke), and the height
over the width that such a word has at most: two shadows along beams have more."""
TICK, TICK_SURE, TICK_SOLID = 4, 0.5, 0.15
"""Pixels of a ruler's mark or of the end of a text at the border, and the share of them that is
surely drawn, or else drawn beside the scan: a wall has less, speckle fewer."""
SPARSE, DENSE = 0.06, 0.3
"""Share of a blot that is ink below which its marks have nothing to do with each other, and
that of few bright strokes that make a word."""
WORD_GAPS, UNLIT_GAPS = 4, 12
"""Gaps to both sides of a word in which less clear parts of the text are looked for, and the
same for dark words, which dark tissue interrupts."""
MARGIN = 3
"""Pixels around strokes that are cut out with them: smoothed edges and JPEG's shadows."""


def drawn_over(
    frames: NDArray[np.uint8], chroma: NDArray[np.uint8], motion: Motion, shape: Mask
) -> Mask:
    """Return the graphics over a scan, each text as one blot.

    Args:
        frames: The loop, ``(frames, height, width)``.
        chroma: Largest difference between two primaries over all frames.
        motion: Of the loop.
        shape: The scan's outline; not empty.
    """
    diagonal = float(np.hypot(*shape.shape))
    gap = max(round(GAP * diagonal), 2)
    window = _window(shape, 2 * gap + MARGIN)
    inside = shape[window]
    found, black = strokes(frames[:, *window], inside)
    solid = _filled(motion.darkest[window], motion.brightest[window])
    solid |= coloured_pixels(chroma[window], motion.brightest[window], inside)
    solid &= inside
    solid |= _beside(motion.darkest[window], motion.brightest[window], inside)
    amid = eroded(inside, round(RIM * diagonal)) & dilated(motion.active[window], NEAR_MOTION)
    drawn = np.zeros_like(shape)
    drawn[window] = blot_out(found, gap, amid, solid=solid)
    unlit = unlit_strokes(motion.brightest[window], inside)
    drawn[window] |= blot_out(unlit, gap, amid, UNLIT_GAPS)
    drawn[window] |= blot_out(black, gap, amid, UNLIT_GAPS)
    rest = eroded(inside & ~drawn[window], MARGIN)
    for brief in brief_strokes(frames[:, *window], rest):
        reach = UNLIT_GAPS if brief.dark.any() else WORD_GAPS
        drawn[window] |= blot_out(brief, gap, amid, reach)
    flashed = flashed_strokes(frames[:, *window], inside)
    if flashed is not None:
        drawn[window] |= blot_out(flashed, gap, amid, UNLIT_GAPS)
    return drawn


def coloured_pixels(
    chroma: NDArray[np.uint8], brightest: NDArray[np.uint8], scan: Mask
) -> Mask:
    """Return the pixels that were coloured in some frame: ECG, coloured text, cursors.

    A tinted grey map (sepia, ice) colours the whole scan, so a pixel must be clearly more
    saturated than the scan is.

    Args:
        chroma: Largest difference between two primaries over all frames.
        brightest: Largest luma over all frames.
        scan: Pixels that surely belong to the scan.
    """
    if chroma.max(initial=0) <= COLOUR_DIFFERENCE:
        return np.zeros_like(scan)
    saturation = chroma / np.maximum(brightest, 1).astype(np.float32)
    bright_scan = scan & (brightest > 60)
    tint = float(np.median(saturation[bright_scan])) if bright_scan.any() else 0.0
    return (chroma > COLOUR_DIFFERENCE) & (saturation > max(COLOUR_SATURATION, 1.5 * tint))


def _filled(darkest: NDArray[np.uint8], brightest: NDArray[np.uint8]) -> Mask:
    """Return bright shapes that never change: bars, boxes, logos."""
    still = (brightest - darkest <= STILL_RANGE) & (darkest >= STILL_LEVEL)
    return dilated(eroded(still, STILL_WIDTH // 2), STILL_WIDTH // 2)


def _beside(darkest: NDArray[np.uint8], brightest: NDArray[np.uint8], scan: Mask) -> Mask:
    """Return the marks that hug the scan from outside: they may reach a pixel into it."""
    still = (brightest - darkest <= BESIDE_RANGE) & (darkest >= STILL_LEVEL)
    return still & ~scan & dilated(scan, MARGIN)


def blot_out(
    marks: Strokes, gap: int, amid: Mask, reach: int = WORD_GAPS, solid: Mask | None = None
) -> Mask:
    """Join marks into blots, so that the shape of what is cut out cannot be read either.

    Args:
        marks: What is drawn, and what may be letters, or a valve or a bright wall.
        gap: Widest gap in pixels between strokes of one text.
        amid: The scan but for its border and its dark depths, where rulers have their marks:
            amid the scan, a blot too small for a word is let be, for it is tissue.
        reach: Gaps to both sides of a word in which weak marks count.
        solid: What is drawn whatever its shape: bars, boxes, coloured pixels.
    """
    if solid is None:
        solid = np.zeros_like(amid)
        if not (marks.sure.any() or _may_be(marks.bright) or _may_be(marks.dark)):
            return solid
    margin = gap + MARGIN
    bright, dark, weak, sure, amid, solid = (
        np.pad(each, margin)
        for each in (marks.bright, marks.dark, marks.weak, marks.sure, amid, solid)
    )
    sure |= solid
    likely = bright | dark | sure
    blots = eroded(dilated(likely, gap), gap) | likely
    pieces, count = ndimage.label(blots, EIGHT)

    def ink(of: Mask) -> NDArray[np.int_]:
        return np.bincount(pieces[of], minlength=count + 1)

    def several(of: Mask) -> NDArray[np.bool_]:
        return _written(_thin(of), pieces, count, STROKES, running_on=False)

    def few(of: Mask) -> NDArray[np.bool_]:
        return np.asarray(low & _written(of, pieces, count, CALM_STROKES, running_on=True))

    boxes = ndimage.find_objects(pieces)
    sides = [
        (0, 0),
        *((down.stop - down.start, over.stop - over.start) for down, over in boxes),
    ]
    high, wide = np.array(sides).T
    low = high <= UPRIGHT * wide
    calm = ink(sure) >= SURE_SHARE * ink(likely)
    dense = ink(likely) >= DENSE * ink(blots)
    words = several(bright) | several(dark) | calm & several(sure)
    words |= calm & (few(dark) | dense & few(sure))
    words |= ink(solid) >= np.maximum(SURE_SHARE * ink(likely), LEAST_INK)
    words &= (np.maximum(high, wide) >= SHORTEST_WORD) & (ink(likely) >= LEAST_INK)
    ticks = ink(sure) > TICK_SURE * ink(likely)
    ticks = (ticks | (ink(solid) > TICK_SOLID * ink(likely))) & (ink(likely) >= TICK)
    sparse = ink(likely) < SPARSE * ink(blots)
    alone = solid & (words & sparse)[pieces]
    words &= ~sparse
    at_border = dilated(sure & ~amid & (ticks & ~sparse)[pieces], gap) & blots
    drawn = words[pieces] & blots | at_border
    drawn |= weak & _beside_words(words[pieces] & blots, reach * gap)
    drawn = eroded(dilated(drawn, gap), gap) | drawn
    return dilated(drawn | alone, MARGIN)[margin:-margin, margin:-margin]


def _may_be(marks: Mask) -> bool:
    """Return whether there are rows with strokes enough for one word in all of the scan."""
    return int((starts_of(marks).sum(axis=1) >= STROKES).sum()) >= ROWS


def _beside_words(words: Mask, reach: int) -> Mask:
    """Return the lines of text on which words stand, some way on to both sides."""
    rows = words.view(np.uint8)
    return running(np.maximum, rows, 2 * reach + 1, axes=(1,)).view(bool)


def _thin(marks: Mask) -> Mask:
    """Return the marks but for rows of ``STROKE`` on end: a valve's line breaks into such."""
    rows = marks.view(np.uint8)
    long = running(np.minimum, rows, STROKE, axes=(1,))
    long = running(np.maximum, long, STROKE, axes=(1,))
    return np.asarray(marks & ~long.view(bool))


def _written(
    marks: Mask, pieces: NDArray[np.int32], count: int, strokes: int, running_on: bool
) -> NDArray[np.bool_]:
    """Return which blots hold several strokes beside each other in several rows.

    A text has them over its whole height; a valve, a wall and the pericardium are one line.

    Args:
        marks: The strokes.
        pieces: Number of each pixel's blot.
        count: Of the blots.
        strokes: Least number of strokes in a row.
        running_on: Whether the rows must follow each other.
    """
    starts = starts_of(marks)
    rows, columns = np.nonzero(starts)
    height = len(marks)
    in_row = np.bincount(pieces[rows, columns] * height + rows, minlength=(count + 1) * height)
    several = in_row.reshape(count + 1, height) >= strokes
    if not running_on:
        return np.asarray(several.sum(axis=1) >= ROWS)
    for step in (1, 2):  # rows by twos, then by fours: ROWS
        several = several[:, :-step] & several[:, step:]
    return np.asarray(np.any(several, axis=1))


def dilated(mask: Mask, reach: int) -> Mask:
    """Return the mask and all pixels within a square of ``reach`` around it."""
    return running(np.maximum, mask.view(np.uint8), 2 * reach + 1).view(bool)


def eroded(mask: Mask, reach: int) -> Mask:
    """Return the pixels whose square of ``reach`` lies in the mask."""
    return running(np.minimum, mask.view(np.uint8), 2 * reach + 1).view(bool)


def _window(mask: Mask, margin: int) -> tuple[slice, slice]:
    """Return the smallest rectangle around a mask, widened within the picture."""
    sides = []
    for axis in (1, 0):
        used = np.flatnonzero(mask.any(axis))
        sides.append(slice(max(0, int(used[0]) - margin), int(used[-1]) + 1 + margin))
    return sides[0], sides[1]
