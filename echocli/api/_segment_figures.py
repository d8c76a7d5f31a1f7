"""Overlap of predicted and known masks, structure by structure, with intervals by patient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echocli.statistics.bootstrap import DRAWS, LEVEL, bootstrap_intervals, weighted_mean
from echocli.statistics.overlap import REGIONS, overlaps

NO_FIGURES: dict[str, Any] = {"test": {"frames": 0, "patients": 0}, "metrics": None}
"""What stands in the place of ``figures`` where no test patient has masks."""

Figures = dict[str, dict[str, float | None]]
Maps = Sequence[NDArray[np.uint8]]


def figures(
    predicted: Maps,
    baseline: Maps,
    truth: Maps,
    patients: Sequence[str],
    *,
    seed: int,
    draws: int = DRAWS,
) -> dict[str, Any]:
    """Return mean Dice and Jaccard of labelled frames, and the Dice of the mean map.

    Args:
        predicted: Predicted label map of each labelled frame.
        baseline: What the mean of the training masks says there: a head that has not learnt
            where this heart lies is no better.
        truth: Known label map of each.
        patients: Patient of each.
        seed: Start of the bootstrap's random numbers.
        draws: Bootstrap samples.
    """
    ours = [overlaps(p, t) for p, t in zip(predicted, truth, strict=True)]
    means = [overlaps(p, t) for p, t in zip(baseline, truth, strict=True)]
    dice: Figures = {}
    jaccard: Figures = {}
    of_mean: Figures = {}
    for name in REGIONS:
        for values, result in (
            ([frame[name][0] for frame in ours], dice),
            ([frame[name][1] for frame in ours], jaccard),
            ([frame[name][0] for frame in means], of_mean),
        ):
            result[name] = _mean(np.array(values), np.array(patients), seed, draws)
    return {
        "test": {"frames": len(truth), "patients": len(set(patients))},
        "metrics": {"dice": dice, "jaccard": jaccard},
        "mean_map": {"dice": of_mean},
        "intervals": {"level": LEVEL, "draws": draws, "seed": seed},
    }


def _mean(
    values: NDArray[np.float64], patients: NDArray[np.str_], seed: int, draws: int
) -> dict[str, float | None]:
    """Return the mean over frames that hold the structure in either map."""
    known = np.isfinite(values)
    if not known.any():
        return {"value": None, "low": None, "high": None}
    found = bootstrap_intervals(
        {"mean": lambda w: weighted_mean(values[known], w)},
        patients[known],
        seed=seed,
        draws=draws,
    )
    return found["mean"].as_json()
