"""How well a score tells two classes apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from echocli.statistics.bootstrap import (
    DRAWS,
    LEVEL,
    Interval,
    Metric,
    Values,
    bootstrap_intervals,
    divide,
)

Flags = NDArray[np.bool_]


def auroc(positive: Flags, scores: Values, weights: Values) -> Values:
    """Return the area under the receiver operating characteristic.

    It is the chance that a positive row scores higher than a negative one, ties counting half;
    NaN where a class is empty.
    """
    order, starts = _tie_groups(scores)
    positives = _sums(weights * positive, order, starts)
    negatives = _sums(weights * ~positive, order, starts)
    below = np.cumsum(negatives, axis=-1) - negatives
    wins = (positives * (below + negatives / 2)).sum(axis=-1)
    return divide(wins, positives.sum(axis=-1) * negatives.sum(axis=-1))


def average_precision(positive: Flags, scores: Values, weights: Values) -> Values:
    """Return the area under the precision-recall curve as a sum of steps (no interpolation).

    NaN where there is no positive row. Chance is the prevalence.
    """
    order, starts = _tie_groups(-scores)
    hits = _sums(weights * positive, order, starts)
    true = np.cumsum(hits, axis=-1)
    called = np.cumsum(_sums(weights, order, starts), axis=-1)
    precision = np.where(called > 0, true / np.maximum(called, np.finfo(float).tiny), 0.0)
    return divide((hits * precision).sum(axis=-1), true[..., -1])


def sensitivity(positive: Flags, called: Flags, weights: Values) -> Values:
    """Return the share of positive rows that are called; NaN without any."""
    return divide(weights @ (positive & called), weights @ positive)


def specificity(positive: Flags, called: Flags, weights: Values) -> Values:
    """Return the share of negative rows that are not called; NaN without any."""
    return divide(weights @ (~positive & ~called), weights @ ~positive)


def balanced_accuracy(positive: Flags, called: Flags, weights: Values) -> Values:
    """Return the mean of sensitivity and specificity."""
    both = sensitivity(positive, called, weights) + specificity(positive, called, weights)
    return np.asarray(both / 2)


def f1(positive: Flags, called: Flags, weights: Values) -> Values:
    """Return the harmonic mean of precision and sensitivity; NaN without any positive row."""
    hits = weights @ (positive & called)
    score = divide(2 * hits, weights @ positive.astype(float) + weights @ called.astype(float))
    return np.where(weights @ positive > 0, score, np.nan)


def classification(
    positive: NDArray[np.bool_],
    scores: NDArray[np.floating],
    called: NDArray[np.bool_] | None,
    patients: Sequence[str] | NDArray[np.generic],
    *,
    seed: int,
    draws: int = DRAWS,
    level: float = LEVEL,
) -> dict[str, Interval]:
    """Return the figures of a two-class test with patient-bootstrap intervals.

    Args:
        positive: Whether each row truly is what the score looks for.
        scores: Higher means more likely positive.
        called: Whether each row was called positive, by a threshold chosen elsewhere; ``None``
            leaves out the figures that need one.
        patients: Patient of each row.
        seed: Start of the random numbers.
        draws: Number of bootstrap samples.
        level: Coverage of the intervals.

    Raises:
        ValueError: If the lengths differ or a score is not finite.
    """
    truth, s = np.asarray(positive, np.bool_), np.asarray(scores, np.float64)
    if not len(truth) == len(s) == len(patients):
        raise ValueError(f"{len(truth)} labels, {len(s)} scores, {len(patients)} patients.")
    if not np.isfinite(s).all():
        raise ValueError("Scores must be finite.")
    metrics: dict[str, Metric] = {
        "auroc": lambda w: auroc(truth, s, w),
        "auprc": lambda w: average_precision(truth, s, w),
    }
    if called is not None:
        c = np.asarray(called, np.bool_)
        metrics |= {
            "balanced_accuracy": lambda w: balanced_accuracy(truth, c, w),
            "f1": lambda w: f1(truth, c, w),
            "sensitivity": lambda w: sensitivity(truth, c, w),
            "specificity": lambda w: specificity(truth, c, w),
        }
    return bootstrap_intervals(metrics, patients, seed=seed, draws=draws, level=level)


def _tie_groups(scores: Values) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the ascending order and where each group of equal scores starts in it."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    return order, starts


def _sums(values: Values, order: NDArray[np.intp], starts: NDArray[np.intp]) -> Values:
    ordered = values[..., order]
    if len(starts) == len(order):  # no two scores are equal
        return ordered
    return np.asarray(np.add.reduceat(ordered, starts, axis=-1))
