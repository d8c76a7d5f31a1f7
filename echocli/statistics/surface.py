"""How far two outlines lie apart, in millimetres or pixels.

The outline of a mask is its own pixels that touch the outside by an edge; beyond the frame's
border is outside. Empty masks: a structure that neither mask holds is skipped (NaN, left out of
means); one that only one mask holds scores the worst there is, the diagonal of the frame.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Spacing = tuple[float, float]
"""Height and width of a pixel, in the unit that distances shall have."""

FAR = 95.0
"""Percentile of HD95: the worst twentieth of an outline does not count."""


class Distances(NamedTuple):
    """How far two outlines lie apart; NaN if there is none."""

    hd95: float
    """The greater of both directions' 95th percentiles (Hausdorff distance, 95 %)."""
    hausdorff: float
    """The greatest distance from a point of one outline to the other outline."""
    assd: float
    """Mean over the points of both outlines (average symmetric surface distance)."""


def distances(
    predicted: NDArray[np.bool_], truth: NDArray[np.bool_], spacing: Spacing = (1.0, 1.0)
) -> Distances:
    """Measure how far the outlines of two masks lie apart.

    Args:
        predicted: ``(height, width)``.
        truth: Of the same shape.
        spacing: Of the pixels.

    Raises:
        ValueError: If the masks differ in shape.

    Source:
        Definitions of Maier-Hein et al. 2024, "Metrics reloaded", for HD95 and ASSD.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"The masks are {predicted.shape} and {truth.shape}.")
    if not predicted.any() and not truth.any():
        return Distances(math.nan, math.nan, math.nan)
    if not predicted.any() or not truth.any():
        height, width = predicted.shape
        worst = math.hypot(height * spacing[0], width * spacing[1])
        return Distances(worst, worst, worst)
    ours, theirs = outline(predicted), outline(truth)
    there = ndimage.distance_transform_edt(~theirs, sampling=spacing)[ours]
    back = ndimage.distance_transform_edt(~ours, sampling=spacing)[theirs]
    return Distances(
        hd95=float(max(np.percentile(there, FAR), np.percentile(back, FAR))),
        hausdorff=float(max(there.max(), back.max())),
        assd=float(np.concatenate([there, back]).mean()),
    )


def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of a mask that touch the outside by an edge."""
    return mask & ~np.asarray(ndimage.binary_erosion(mask), dtype=np.bool_)
