"""Text that stands over a scan for a few frames only: measurements, prompts, a damaged banner.

In the mean of a loop it pales. So a loop is cut into short parts, and of each two pictures are
taken that keep what stands there briefly: the brightest level that each pixel holds for three
frames, and its darkest in any. They are smoother than a frame, and letters stand out.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from echocli.intake.strokes import Beyond, Grey, Strokes, bottom_hat, top_hat

PART_FRAMES = 14
"""Frames of a part, about: in so few, tissue does not light or darken every pixel."""
HELD = 3
"""Frames for which bright text stands at least: bubbles of a contrast agent do not."""
BRIGHT, BRIGHT_TEXTURE = 35.0, 3.0
DARK, DARK_TEXTURE = 25.0, 1.5
"""Grey levels by which a stroke stands out, and how many more for each by which the tissue
around it does."""
DARKEST = 50
"""Grey level that dark ink has at most; the gaps of bright speckle have more."""
WEAK_DARK = 8
"""Grey levels by which parts of a dark word stand out where the rest of it does clearly, if
that is two fifths of their own, too; parts of a bright word by half the limit."""
CELL = 32
"""Half the side in pixels of the squares in which the strokes of a word are looked for."""
STROKES, ROWS = 4, 4
"""Strokes beside each other, and rows of such on end, that make a group of strokes a word.
Loops without text, real ones and phantoms, have two such rows at most."""


def brief_strokes(frames: NDArray[np.uint8], scan: NDArray[np.bool_]) -> Iterator[Strokes]:
    """Give the strokes of each part of a loop in which some may be words, by kind.

    Args:
        frames: ``(frames, height, width)``.
        scan: Where the scan is, ``(height, width)``; what lies beyond does not count.
    """
    beyond = Beyond(scan)
    nowhere = np.zeros_like(scan)
    parts = max(1, round(len(frames) / PART_FRAMES))
    limits = np.linspace(0, len(frames), parts + 1).astype(int)
    for start, stop in pairwise(limits):
        level = _held(frames[max(0, start - HELD + 1) : stop])
        contrast = top_hat(beyond.filled(level))
        limit = beyond.limit(contrast, BRIGHT, BRIGHT_TEXTURE)
        words = words_in(scan & (contrast > limit))
        if words is not None:
            yield Strokes(words, nowhere, scan & (contrast > limit // 2), words)
        level = frames[start:stop].min(axis=0)
        contrast = bottom_hat(level)
        marks = (contrast > beyond.limit(contrast, DARK, DARK_TEXTURE)) & (level <= DARKEST)
        words = words_in(scan & marks)
        if words is not None:
            weak = scan & (contrast > WEAK_DARK) & (contrast > level // 5 * 2)
            yield Strokes(nowhere, words, weak, words)


def _held(frames: NDArray[np.uint8]) -> Grey:
    """Return the brightest level that each pixel has in ``HELD`` frames on end."""
    held = np.zeros_like(frames[0])
    for index in range(len(frames) - HELD + 1):
        common = frames[index : index + HELD].min(axis=0)
        np.maximum(held, common, out=held)
    return np.asarray(held)


def starts_of(marks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return where strokes begin in each row."""
    starts = np.empty_like(marks)
    starts[:, :1] = marks[:, :1]
    np.greater(marks[:, 1:], marks[:, :-1], out=starts[:, 1:])
    return starts


def words_in(marks: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Return the marks of squares in which several stand beside each other in rows on end.

    Nearly all parts of all loops hold none.
    """
    starts = starts_of(marks)
    height, width = (-(-side // CELL) * CELL + CELL for side in marks.shape)
    padded = np.zeros((height, width), np.uint8)
    padded[: marks.shape[0], : marks.shape[1]] = starts
    in_row = padded.reshape(height, -1, CELL).sum(axis=2)
    several = in_row[:, :-1] + in_row[:, 1:] >= STROKES
    for step in (1, 2):  # rows by twos, then by fours: ROWS
        several = several[:-step] & several[step:]
    if not several.any():
        return None
    several = np.pad(several, ((0, ROWS - 1), (0, 0))).reshape(-1, CELL, several.shape[1])
    found = np.pad(several.any(axis=1), 1)
    cells = found[1:, 1:] | found[1:, :-1] | found[:-1, 1:] | found[:-1, :-1]
    squares = cells.repeat(CELL, 0).repeat(CELL, 1)
    return np.asarray(marks & squares[: marks.shape[0], : marks.shape[1]])
