"""Error rates that hold for any model, from held-out rows alone.

With several clips a patient the rows are not exchangeable but the patients are: every patient
then has one vote, shared by the patient's clips. With one clip a patient this is the ordinary
split-conformal rule.

Source:
    Vovk, Gammerman, Shafer 2005 (p-values); Lei et al. 2018 (intervals); Lee, Barber, Willett
    2023, "Distribution-free inference with hierarchical data", section 3 (shared votes).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from echocli.statistics.bootstrap import Values

Patients = Sequence[str] | NDArray[np.generic]

ROUNDING = 1e-9
"""Votes are sums of fractions; this keeps 3 x 1/3 at 1."""


def p_values(
    calibration: NDArray[np.floating],
    scores: NDArray[np.floating],
    patients: Patients | None = None,
) -> Values:
    """Return how surprising each score would be for a normal patient.

    ``(1 + #{calibration >= score}) / (n + 1)``, counting votes of patients. A p-value is never
    0: with n patients none can be below 1 / (n + 1).

    Args:
        calibration: Scores of held-out normal rows.
        scores: Scores to judge; higher is stranger.
        patients: Patient of each calibration row; each row its own patient if left out.

    Raises:
        ValueError: If there is no calibration row.
    """
    levels, at_least, n = _votes(calibration, patients)
    position = np.searchsorted(levels, np.asarray(scores, np.float64), side="left")
    return (1 + at_least[position]) / (n + 1)


def threshold(
    calibration: NDArray[np.floating],
    false_positive_rate: float,
    patients: Patients | None = None,
) -> float:
    """Return the score above which a row is called at a chosen false-positive rate.

    A row is called if its score is greater, which is the same as a p-value at or below the
    rate. Infinite if there are too few patients for so small a rate: then nothing is called.

    Args:
        calibration: Scores of held-out normal rows.
        false_positive_rate: Share of normal patients that may be called, between 0 and 1.
        patients: Patient of each calibration row.

    Raises:
        ValueError: If there is no calibration row or the rate is not between 0 and 1.
    """
    if not 0 < false_positive_rate < 1:
        raise ValueError(f"The rate is {false_positive_rate}; it must lie between 0 and 1.")
    levels, at_least, n = _votes(calibration, patients)
    # at_least[i] is the vote for scores in (levels[i - 1], levels[i]]; the last is 0, and the
    # first is everybody's, which no rate below 1 allows.
    called = (1 + at_least[1:]) / (n + 1) <= false_positive_rate + ROUNDING
    return float(levels[np.argmax(called)]) if called.any() else math.inf


def interval_half_width(
    residuals: NDArray[np.floating], level: float, patients: Patients | None = None
) -> float:
    """Return the half width of a split-conformal prediction interval.

    A new patient's value lies within this distance of its prediction with at least the chosen
    probability. Infinite if there are too few patients for so high a level.

    Args:
        residuals: Measured minus predicted, of rows that the model was not fitted on.
        level: Coverage, between 0 and 1.
        patients: Patient of each residual.
    """
    return threshold(np.abs(residuals), 1 - level, patients)


def _votes(
    calibration: NDArray[np.floating], patients: Patients | None
) -> tuple[Values, Values, int]:
    """Return the distinct scores, the votes at or above each (and above all), the voters."""
    scores = np.asarray(calibration, np.float64)
    if not len(scores) or not np.isfinite(scores).all():
        raise ValueError("Calibration needs at least one row, all finite.")
    voters = np.arange(len(scores)) if patients is None else np.asarray(patients)
    _, of_row, rows = np.unique(voters, return_inverse=True, return_counts=True)
    levels, of_level = np.unique(scores, return_inverse=True)
    votes = np.bincount(of_level, weights=1 / rows[of_row], minlength=len(levels))
    at_least = np.cumsum(votes[::-1])[::-1]
    return levels, np.append(at_least, 0.0), len(rows)
