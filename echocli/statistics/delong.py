"""The variance of an area under the ROC, and the difference of two, without drawing.

Several clips of a patient are no independent rows. The components of DeLong's variance are
therefore summed by patient first (Obuchowski); with one row a patient it is DeLong's own.

Source:
    DeLong, DeLong, Clarke-Pearson 1988, Biometrics 44:837 (the components); Sun and Xu 2014,
    IEEE Signal Processing Letters 21:1389 (by midranks, in n log n); Obuchowski 1997,
    Biometrics 53:567, section 3 (clusters).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from echocli.statistics.bootstrap import LEVEL, Interval, Values, least_p_value

Patients = Sequence[str] | NDArray[np.generic]
LEAST = 2
"""Patients of each class without which there is no variance."""
ROUNDING = 1e-15
"""A variance, or a difference, of no more is none."""


@dataclass(frozen=True)
class AurocTest:
    """Two areas under the ROC on the same rows, and their difference."""

    first: float
    second: float
    difference: Interval
    """First minus second."""
    z: float
    p_value: float
    """Two-sided, no less than ``least_p_value``; 1 if the two never differ, NaN where the data
    define no variance."""

    def as_json(self) -> dict[str, Any]:
        """Return the numbers, ``None`` for what is not finite."""
        numbers = {"z": self.z, "p_value": self.p_value}
        known = {k: v if np.isfinite(v) else None for k, v in numbers.items()}
        both = {"first": self.first, "second": self.second}
        return {**both, "difference": self.difference.as_json(), **known}


def auroc_covariance(
    positive: NDArray[np.bool_], scores: Values, patients: Patients | None = None
) -> tuple[Values, Values]:
    r"""Return the areas of some scores and their covariance.

    With :math:`V_i` the share of negatives that positive :math:`i` outscores and :math:`W_j`
    the share of positives that outscore negative :math:`j`, ties counting half, and both summed
    by patient after taking off the area :math:`\theta`, the covariance is
    :math:`\frac{I_1}{(I_1-1)m^2} \sum VV^T + \frac{I_0}{(I_0-1)n^2} \sum WW^T +
    \frac{I}{(I-1)mn} \sum (VW^T + WV^T)`, for m positives of :math:`I_1` patients and n
    negatives of :math:`I_0`.

    Args:
        positive: Whether each row truly is what the scores look for.
        scores: ``(scores, rows)``; higher means more likely positive.
        patients: Patient of each row; each row its own if left out.

    Returns:
        The areas ``(scores,)`` and the covariance ``(scores, scores)``, NaN where a class has
        fewer than two patients.

    Raises:
        ValueError: If the lengths differ, a score is not finite, or a class is empty.
    """
    truth, s = np.asarray(positive, np.bool_), np.atleast_2d(np.asarray(scores, np.float64))
    owners = np.arange(len(truth)) if patients is None else np.asarray(patients)
    if not s.shape[1] == len(truth) == len(owners):
        raise ValueError(f"{len(truth)} labels, {s.shape[1]} scores, {len(owners)} patients.")
    if not np.isfinite(s).all() or truth.all() or not truth.any():
        raise ValueError("Scores must be finite, and both classes present.")
    m, n = int(truth.sum()), int((~truth).sum())
    above = (_ranks(s)[:, truth] - _ranks(s[:, truth])) / n
    below = 1 - (_ranks(s)[:, ~truth] - _ranks(s[:, ~truth])) / m
    areas = above.mean(axis=1)
    names, of_row = np.unique(owners, return_inverse=True)
    v = _by_patient(above - areas[:, None], of_row[truth], len(names))
    w = _by_patient(below - areas[:, None], of_row[~truth], len(names))
    of_v, of_w = len(set(of_row[truth])), len(set(of_row[~truth]))
    if min(of_v, of_w) < LEAST:
        return areas, np.full((len(s), len(s)), np.nan)
    crossed = v @ w.T
    covariance = (
        _unbiased(of_v) * (v @ v.T) / m**2
        + _unbiased(of_w) * (w @ w.T) / n**2
        + _unbiased(len(names)) * (crossed + crossed.T) / (m * n)
    )
    return areas, covariance


def auroc_interval(
    positive: NDArray[np.bool_],
    scores: NDArray[np.floating],
    patients: Patients | None = None,
    *,
    level: float = LEVEL,
) -> Interval:
    """Return an area under the ROC with its interval, symmetric in the logit: within 0 to 1.

    Args:
        positive: Whether each row truly is what the score looks for.
        scores: Higher means more likely positive.
        patients: Patient of each row; each row its own if left out.
        level: Coverage.

    Raises:
        ValueError: As ``auroc_covariance``.
    """
    areas, covariance = auroc_covariance(positive, np.asarray(scores), patients)
    area, sd = float(areas[0]), float(np.sqrt(max(covariance[0, 0], 0.0)))
    if not np.isfinite(covariance[0, 0]) or not 0 < area < 1:
        return Interval(area, np.nan, np.nan)
    half = stats.norm.ppf((1 + level) / 2) * sd / (area * (1 - area))
    low, high = special.expit(special.logit(area) + np.array([-half, half]))
    return Interval(area, float(low), float(high))


def delong_test(
    positive: NDArray[np.bool_],
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    patients: Patients | None = None,
    *,
    level: float = LEVEL,
) -> AurocTest:
    """Compare two scores of the same rows.

    Two areas without variance, of a score that makes no mistake and one that says the same of
    all, can be told apart by anybody but not tested: then interval, z and p are NaN.

    Args:
        positive: Whether each row truly is what the scores look for.
        first: One score.
        second: The other.
        patients: Patient of each row; each row its own if left out.
        level: Coverage of the difference's interval.

    Raises:
        ValueError: As ``auroc_covariance``.
    """
    owners = np.arange(len(first)) if patients is None else np.asarray(patients)
    areas, covariance = auroc_covariance(positive, np.stack([first, second]), owners)
    difference = float(areas[0] - areas[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if variance <= ROUNDING and abs(difference) <= ROUNDING:
        same = Interval(0.0, 0.0, 0.0)
        return AurocTest(float(areas[0]), float(areas[1]), same, 0.0, 1.0)
    sd = float(np.sqrt(variance)) if variance > ROUNDING else float("nan")
    z = difference / sd
    half = float(stats.norm.ppf((1 + level) / 2)) * sd
    p_value = 2 * stats.norm.sf(abs(z))
    return AurocTest(
        float(areas[0]),
        float(areas[1]),
        Interval(difference, difference - half, difference + half),
        z,
        float(np.maximum(p_value, least_p_value(len(np.unique(owners))))),  # NaN stays
    )


def _ranks(scores: Values) -> Values:
    """Return midranks within each row of scores, from 1."""
    ranks: Values = stats.rankdata(scores, method="average", axis=1)
    return ranks


def _by_patient(values: Values, of_row: NDArray[np.intp], patients: int) -> Values:
    """Return the sums of each score's values by patient, ``(scores, patients)``."""
    return np.stack([np.bincount(of_row, weights=row, minlength=patients) for row in values])


def _unbiased(clusters: int) -> float:
    return clusters / (clusters - 1)
