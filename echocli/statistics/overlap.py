"""How well two label maps overlap, structure by structure.

Empty masks: a structure that neither map holds is skipped (NaN, left out of means); one that
only one map holds scores 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from echocli.clips.record import STRUCTURES

Labels = NDArray[np.integer]

REGIONS: dict[str, tuple[int, ...]] = {
    **{name: (value,) for value, name in STRUCTURES.items()},
    "lv_epicardium": (1, 2),
}
"""Mask values that make up each reported region; CAMUS reports cavity and muscle together."""


def dice(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return twice the overlap over the sum of both sizes: 1 is perfect, NaN if both empty."""
    sizes = int(predicted.sum()) + int(truth.sum())
    return 2 * int((predicted & truth).sum()) / sizes if sizes else float("nan")


def jaccard(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return the overlap over the union: 1 is perfect, NaN if both empty."""
    union = int((predicted | truth).sum())
    return int((predicted & truth).sum()) / union if union else float("nan")


def overlaps(predicted: Labels, truth: Labels) -> dict[str, tuple[float, float]]:
    """Return Dice and Jaccard of every region of two label maps.

    Raises:
        ValueError: If the maps differ in shape.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"The maps are {predicted.shape} and {truth.shape}.")
    result = {}
    for name, values in REGIONS.items():
        ours, theirs = np.isin(predicted, values), np.isin(truth, values)
        result[name] = dice(ours, theirs), jaccard(ours, theirs)
    return result
