"""How well two label maps overlap, structure by structure.

Empty masks: a structure that neither map holds is skipped (NaN, left out of means); one that
only one map holds scores 0 in every figure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from echocli.clips.record import STRUCTURES

Labels = NDArray[np.integer]

REGIONS: dict[str, tuple[int, ...]] = {
    **{name: (value,) for value, name in STRUCTURES.items()},
    "lv_epicardium": (1, 2),
}
"""Mask values that make up each reported region; CAMUS reports cavity and muscle together."""


def region_masks(
    predicted: Labels, truth: Labels
) -> Iterator[tuple[str, NDArray[np.bool_], NDArray[np.bool_]]]:
    """Yield each region's name and where it is in two label maps.

    A region of several structures, one of which neither map holds, is empty in both: where only
    the cavity is labelled, cavity and muscle together are nothing.

    Raises:
        ValueError: If the maps differ in shape.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"The maps are {predicted.shape} and {truth.shape}.")
    held = {int(value) for labels in (predicted, truth) for value in np.unique(labels)}
    for name, values in REGIONS.items():
        shown = values if held.issuperset(values) else ()
        yield name, np.isin(predicted, shown), np.isin(truth, shown)


def dice(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return twice the overlap over the sum of both sizes: 1 is perfect, NaN if both empty."""
    sizes = int(predicted.sum()) + int(truth.sum())
    return 2 * int((predicted & truth).sum()) / sizes if sizes else float("nan")


def jaccard(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return the overlap over the union: 1 is perfect, NaN if both empty."""
    union = int((predicted | truth).sum())
    return int((predicted & truth).sum()) / union if union else float("nan")


class Overlap(NamedTuple):
    """How well two masks overlap; NaN if both are empty."""

    dice: float
    jaccard: float
    precision: float
    """Share of what was predicted that is true (positive predictive value)."""
    recall: float
    """Share of what is true that was predicted (sensitivity)."""


def overlap(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Overlap:
    """Measure how well two masks of one shape overlap."""
    ours, theirs = int(predicted.sum()), int(truth.sum())
    if not ours and not theirs:
        return Overlap(math.nan, math.nan, math.nan, math.nan)
    both = int((predicted & truth).sum())
    return Overlap(
        dice=dice(predicted, truth),
        jaccard=jaccard(predicted, truth),
        precision=both / ours if ours else 0.0,
        recall=both / theirs if theirs else 0.0,
    )


def overlaps(predicted: Labels, truth: Labels) -> dict[str, Overlap]:
    """Return the overlap of every region of two label maps.

    Raises:
        ValueError: If the maps differ in shape.
    """
    return {
        name: overlap(ours, theirs) for name, ours, theirs in region_masks(predicted, truth)
    }
