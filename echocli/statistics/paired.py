"""Two models on the same patients: is the difference more than luck?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from echocli.statistics.bootstrap import (
    DRAWS,
    LEAST_DEFINED,
    LEAST_PATIENTS,
    LEVEL,
    Interval,
    Metric,
    least_p_value,
    patient_weights,
)

Patients = Sequence[str] | NDArray[np.generic]


@dataclass(frozen=True)
class PairedTest:
    """A difference, first minus second, and how surprising it would be if there were none."""

    difference: Interval
    p_value: float
    """Two-sided; NaN where the data define none."""
    patients: int

    def as_json(self) -> dict[str, Any]:
        """Return the numbers, ``None`` for what is not finite."""
        p_value = float(self.p_value) if np.isfinite(self.p_value) else None
        return {
            "difference": self.difference.as_json(),
            "p_value": p_value,
            "patients": self.patients,
        }


def paired_bootstrap(
    first: Metric,
    second: Metric,
    patients: Patients,
    *,
    seed: int,
    draws: int = DRAWS,
    level: float = LEVEL,
) -> PairedTest:
    """Compare a metric of two models on the same draws of patients.

    The p-value is twice the share of draws on the far side of zero, half of those on it:
    ``2 min(1 + below, 1 + above) / (draws + 1)``, at most 1. It is never 0, nor below
    ``least_p_value``: draws of three patients who agree never cross zero, however many are
    made.

    Args:
        first: Metric of one model, as a function of weights; see ``bootstrap.Metric``.
        second: The same metric of the other.
        patients: Patient of each row.
        seed: Start of the random numbers.
        draws: Number of bootstrap samples.
        level: Coverage.

    Returns:
        Without interval and p-value where most draws define no difference, or there is a
        single patient.

    Source:
        Efron and Tibshirani 1993, An Introduction to the Bootstrap, sections 13.3 and 15.4;
        Davison and Hinkley 1997, section 4.2, for the one that is added.

    Raises:
        ValueError: If there are no rows.
    """
    owners = np.asarray(patients)
    if not len(owners):
        raise ValueError("There are no rows to draw from.")
    weights = patient_weights(owners, seed=seed, draws=draws)
    drawn = np.concatenate([first(block) - second(block) for block in weights])
    drawn = drawn[np.isfinite(drawn)]
    whole = np.ones((1, len(owners)))
    value = float(first(whole)[0] - second(whole)[0])
    count = len(set(owners.tolist()))
    if count < LEAST_PATIENTS or len(drawn) < max(1, LEAST_DEFINED * draws):
        return PairedTest(Interval(value, np.nan, np.nan), np.nan, count)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    ties = np.count_nonzero(drawn == 0) / 2
    tail = min(np.count_nonzero(drawn < 0), np.count_nonzero(drawn > 0)) + ties
    p_value = min(1.0, max(2 * (1 + tail) / (len(drawn) + 1), least_p_value(count)))
    return PairedTest(Interval(value, float(low), float(high)), p_value, count)


def paired_wilcoxon(
    first: NDArray[np.floating], second: NDArray[np.floating], patients: Patients
) -> PairedTest:
    """Compare a number of each clip (an error, a Dice) by Wilcoxon's signed ranks of patients.

    Clips are averaged by patient first: the test needs independent pairs. The difference is
    the median over patients; no interval belongs to it.

    Args:
        first: Of one model.
        second: Of the other.
        patients: Patient of each row.

    Raises:
        ValueError: If the lengths differ or a value is not finite.
    """
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    if len(difference) != len(patients) or not np.isfinite(difference).all():
        raise ValueError("Both need one finite number for each row.")
    _, of_row, rows = np.unique(np.asarray(patients), return_inverse=True, return_counts=True)
    means = np.bincount(of_row, weights=difference) / rows
    # Identical rows may differ by rounding once they are averaged.
    means[np.abs(means) < 1e-12 * max(1.0, float(np.abs(means).max()))] = 0.0
    median = Interval(float(np.median(means)), np.nan, np.nan)
    if not means.any():
        return PairedTest(median, 1.0, len(means))
    return PairedTest(median, float(stats.wilcoxon(means).pvalue), len(means))
