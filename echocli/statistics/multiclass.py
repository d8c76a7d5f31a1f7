"""How well probabilities of two or more classes tell them apart, and whether they are true."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echocli.statistics.bootstrap import (
    DRAWS,
    LEVEL,
    Interval,
    Metric,
    Values,
    bootstrap_intervals,
    weighted_mean,
)
from echocli.statistics.calibration import Classes, brier, calibration_error, log_loss
from echocli.statistics.classification import (
    Flags,
    auroc,
    average_precision,
    balanced_accuracy,
    f1,
    sensitivity,
    specificity,
)
from echocli.statistics.kappa import LINEAR, QUADRATIC, kappa
from echocli.statistics.recalibration import calibration_intercept, calibration_slope

OfClass = Callable[[Flags, Any, Values], Values]
"""A figure of one class against the others."""


def macro(
    figure: OfClass, truth: Classes, said: NDArray[np.generic], weights: Values
) -> Values:
    """Return the mean over classes of each class's figure against the others.

    Classes for which a draw defines none do not count; NaN where there is no other.

    Args:
        figure: ``auroc``, ``f1`` ...
        truth: Class of each row.
        said: Probabilities ``(rows, classes)``, or whether each row was called each class.
        weights: ``(draws, rows)``.
    """
    found = np.stack([figure(truth == k, said[:, k], weights) for k in range(said.shape[1])])
    defined = np.isfinite(found)
    total = np.where(defined, found, 0.0).sum(axis=0)
    count = defined.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def accuracy(truth: Classes, called: Classes, weights: Values) -> Values:
    """Return the share of rows whose class was called."""
    return weighted_mean(truth == called, weights)


def class_metrics(
    truth: Classes,
    probabilities: Values,
    called: Classes,
    positive: int | None,
    order: Sequence[int] = (),
) -> dict[str, Metric]:
    """Return the figures of a classification as functions of weights.

    Args:
        truth: Class of each row.
        probabilities: ``(rows, classes)``.
        called: The class that each row was called.
        positive: The class looked for, of two; ``None`` where classes are equals: figures are
            then means over classes, each against the others.
        order: Classes from the least to the most, if they have an order.

    Returns:
        ``auroc, auprc, balanced_accuracy, f1, accuracy, kappa, brier, ece, log_loss``; of two
        classes also ``sensitivity, specificity, calibration_slope, calibration_intercept``, of
        three or more in an order ``kappa_linear, kappa_quadratic``.
    """
    hit = called[:, None] == np.arange(probabilities.shape[1])
    metrics: dict[str, Metric]
    if positive is None:
        metrics = {
            "auroc": lambda w: macro(auroc, truth, probabilities, w),
            "auprc": lambda w: macro(average_precision, truth, probabilities, w),
            "balanced_accuracy": lambda w: macro(sensitivity, truth, hit, w),
            "f1": lambda w: macro(f1, truth, hit, w),
        }
        confidence = probabilities.max(axis=1)
        right = probabilities.argmax(axis=1) == truth
    else:
        flags, score, calls = truth == positive, probabilities[:, positive], hit[:, positive]
        confidence, right = score, flags
        metrics = {
            "auroc": lambda w: auroc(flags, score, w),
            "auprc": lambda w: average_precision(flags, score, w),
            "balanced_accuracy": lambda w: balanced_accuracy(flags, calls, w),
            "f1": lambda w: f1(flags, calls, w),
            "sensitivity": lambda w: sensitivity(flags, calls, w),
            "specificity": lambda w: specificity(flags, calls, w),
            "calibration_slope": calibration_slope(flags, score),
            "calibration_intercept": calibration_intercept(flags, score),
        }
    return metrics | {
        **_ordered(truth, called, order),
        "accuracy": lambda w: accuracy(truth, called, w),
        "kappa": lambda w: kappa(truth, called, probabilities.shape[1], w),
        "brier": lambda w: brier(truth, probabilities, w),
        "ece": lambda w: calibration_error(right, confidence, w),
        "log_loss": lambda w: log_loss(truth, probabilities, w),
    }


def _ordered(truth: Classes, called: Classes, order: Sequence[int]) -> dict[str, Metric]:
    """Return weighted kappas; none of two classes, of which all kappas are the same."""
    if len(order) < 3:
        return {}
    place = np.argsort(order)
    at, said = place[truth], place[called]
    return {
        "kappa_linear": lambda w: kappa(at, said, len(order), w, LINEAR),
        "kappa_quadratic": lambda w: kappa(at, said, len(order), w, QUADRATIC),
    }


def class_figures(
    truth: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    called: NDArray[np.integer],
    patients: Sequence[str] | NDArray[np.generic],
    *,
    positive: int | None,
    order: Sequence[int] = (),
    seed: int,
    draws: int = DRAWS,
    level: float = LEVEL,
) -> dict[str, Interval]:
    """Return the figures of ``class_metrics`` with patient-bootstrap intervals.

    Raises:
        ValueError: If the lengths differ, or probabilities are not finite or do not sum to 1.
    """
    t, p, c = np.asarray(truth), np.asarray(probabilities, np.float64), np.asarray(called)
    if not len(t) == len(p) == len(c) == len(patients):
        raise ValueError(f"{len(t)} labels, {len(p)} probabilities, {len(patients)} patients.")
    if not (np.isfinite(p).all() and np.allclose(p.sum(axis=1), 1)):
        raise ValueError("Probabilities must be finite and sum to 1.")
    metrics = class_metrics(t, p, c, positive, order)
    return bootstrap_intervals(metrics, patients, seed=seed, draws=draws, level=level)


def confusion(truth: Classes, called: Classes, classes: int) -> list[list[int]]:
    """Return how many rows of each class (down) were called each class (across)."""
    pairs = np.bincount(truth * classes + called, minlength=classes**2)
    return [[int(count) for count in row] for row in pairs.reshape(classes, classes)]


def youden_threshold(positive: Flags, scores: Values, weights: Values) -> float:
    """Return the score above which calling is best: sensitivity plus specificity is highest.

    Halfway between two scores that were seen, so that neither side depends on rounding; of
    equally good ones, that which calls fewest.

    Args:
        positive: Whether each row truly is what the score looks for; both kinds are needed.
        scores: Higher means more likely positive.
        weights: Of the rows.

    Source:
        Youden 1950, Cancer 3:32.

    Raises:
        ValueError: If a kind is missing.
    """
    if positive.all() or not positive.any():
        raise ValueError("A threshold needs both kinds.")
    levels = np.unique(scores)[::-1]
    at = np.searchsorted(-levels, -scores)
    hits = np.cumsum(np.bincount(at, weights * positive, len(levels)))
    false = np.cumsum(np.bincount(at, weights * ~positive, len(levels)))
    gain = hits / hits[-1] - false / false[-1]
    best = int(np.argmax(gain > gain.max() - 1e-12))
    if best + 1 == len(levels):
        return float(np.nextafter(levels[best], -np.inf))
    return float((levels[best] + levels[best + 1]) / 2)
