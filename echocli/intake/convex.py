"""The convex shape around what moves, where no fan fits: trapezia, rectangles, odd cuts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DIRECTIONS = 120
"""Half-planes whose intersection is the convex shape."""


def convex_shape(
    piece: NDArray[np.bool_], factor: int, size: tuple[int, int], narrowest: float
) -> NDArray[np.bool_]:
    """Return the convex shape around a piece, without bumps thinner than ``narrowest``.

    The shape is an intersection of half-planes. Each is moved inwards until the line along its
    border meets enough of the piece, so that a word that touches the sector cannot widen it; a
    corner of the sector loses as little as its angle lets it.

    Args:
        piece: What moves, in a small picture; not empty.
        factor: Pixels of the picture in one of the small picture.
        size: Height and width of the picture.
        narrowest: In pixels of the small picture.
    """
    rows, columns = np.nonzero(piece)
    height, width = size
    all_rows = (np.arange(height) + 0.5) / factor - 0.5
    left, right = np.full(height, -np.inf), np.full(height, np.inf)
    for angle in np.arange(DIRECTIONS) * (2 * np.pi / DIRECTIONS):
        cosine, sine = float(np.cos(angle)), float(np.sin(angle))
        offsets = columns * cosine + rows * sine
        first = np.floor(offsets.min())
        lengths = np.bincount((offsets - first).astype(np.intp))
        lengths = np.convolve(lengths, np.full(3, 1 / 3), mode="same")
        outermost = np.flatnonzero(lengths >= min(narrowest, lengths.max()))[-1]
        room = first + outermost + 1 - all_rows * sine
        if abs(cosine) < 1e-9:
            left[room < 0] = np.inf
        elif cosine > 0:
            np.minimum(right, room / cosine, out=right)
        else:
            np.maximum(left, room / cosine, out=left)
    all_columns = (np.arange(width) + 0.5) / factor - 0.5
    return np.asarray((all_columns >= left[:, None]) & (all_columns <= right[:, None]))
