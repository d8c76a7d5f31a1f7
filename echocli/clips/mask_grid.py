"""The pixels of masks, which are finer than those of the frames.

Masks keep the source's own pixels, cropped as the frames are: a cavity is measured as exactly
as its outline was drawn. At the 1.8 mm of a small frame, an ejection fraction is off by up to
1.5 points by the size of the pixel alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FINE_ENOUGH = 400
"""Pixels along a side that are kept at least: half a millimetre at the greatest depth. Sources
with twice as many or more are thinned by a whole factor, so that masks stay small."""

Box = tuple[int, int, int, int]
"""First and last row and column of a frame that its mask covers, half-open."""


def thinned(masks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return every n-th pixel of masks that are finer than anybody needs.

    Args:
        masks: ``(masks, height, width)``.
    """
    down, across = (max(1, side // FINE_ENOUGH) for side in masks.shape[1:])
    return np.ascontiguousarray(masks[:, down // 2 :: down, across // 2 :: across])


def on_frames(masks: NDArray[np.uint8], box: Box, height: int, width: int) -> NDArray[np.uint8]:
    """Return masks in the pixels of the frames: each takes the value at its centre.

    So areas are right on average. The value that covers most would favour the large structure
    wherever three meet: walls of phantoms lost 7 % of their area, cavities gained 3 %.

    Args:
        masks: ``(masks, height, width)`` of their own.
        box: Where they lie in a frame.
        height: Rows of a frame.
        width: Columns of a frame.
    """
    if masks.shape[1:] == (height, width) and box == (0, height, 0, width):
        return masks
    row0, row1, column0, column1 = box
    rows = _centres(row1 - row0, masks.shape[1])
    columns = _centres(column1 - column0, masks.shape[2])
    out = np.zeros((len(masks), height, width), np.uint8)
    out[:, row0:row1, column0:column1] = masks[:, rows[:, None], columns]
    return out


def spacing_of(
    shape: tuple[int, int], box: Box, spacing_mm: tuple[float, float] | None
) -> tuple[float, float] | None:
    """Return the height and width of a mask's pixel.

    Args:
        shape: Height and width of the mask in its own pixels.
        box: Where it lies in a frame.
        spacing_mm: Height and width of a frame's pixel, if they are known.
    """
    if spacing_mm is None:
        return None
    row0, row1, column0, column1 = box
    return (
        spacing_mm[0] * (row1 - row0) / shape[0],
        spacing_mm[1] * (column1 - column0) / shape[1],
    )


def _centres(frame: int, mask: int) -> NDArray[np.intp]:
    """Return the pixel of a mask in which the centre of each of the frame's pixels lies."""
    return ((2 * np.arange(frame) + 1) * mask) // (2 * frame)
