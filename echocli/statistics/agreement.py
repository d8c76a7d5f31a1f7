"""How well a predicted number agrees with a measured one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from echocli.statistics.bootstrap import (
    DRAWS,
    LEVEL,
    Interval,
    Values,
    bootstrap_intervals,
    divide,
    weighted_mean,
)

Z_95 = 1.96
"""Limits of agreement lie this many standard deviations from the bias (Bland, Altman 1986)."""


def mae(measured: Values, predicted: Values, weights: Values) -> Values:
    """Return the mean absolute error."""
    return weighted_mean(np.abs(predicted - measured), weights)


def rmse(measured: Values, predicted: Values, weights: Values) -> Values:
    """Return the root mean squared error."""
    return np.sqrt(weighted_mean((predicted - measured) ** 2, weights))


def r2(measured: Values, predicted: Values, weights: Values) -> Values:
    """Return the coefficient of determination: 1 is perfect, 0 is as good as the mean.

    NaN where the measured values do not vary.
    """
    mean = weighted_mean(measured, weights)[..., None]
    spread = (weights * (measured - mean) ** 2).sum(axis=-1)
    residual = weights @ (measured - predicted) ** 2
    return 1 - divide(residual, np.where(spread > _rounding(measured, weights), spread, 0))


def pearson(measured: Values, predicted: Values, weights: Values) -> Values:
    """Return Pearson's correlation; NaN where either side does not vary."""
    x = measured - weighted_mean(measured, weights)[..., None]
    y = predicted - weighted_mean(predicted, weights)[..., None]
    xx, yy = (weights * x * x).sum(axis=-1), (weights * y * y).sum(axis=-1)
    xx = np.where(xx > _rounding(measured, weights), xx, 0)
    yy = np.where(yy > _rounding(predicted, weights), yy, 0)
    return divide((weights * x * y).sum(axis=-1), np.sqrt(xx * yy))


def bias(measured: Values, predicted: Values, weights: Values) -> Values:
    """Return the mean of predicted minus measured."""
    return weighted_mean(predicted - measured, weights)


def difference_sd(measured: Values, predicted: Values, weights: Values) -> Values:
    """Return the sample standard deviation of predicted minus measured."""
    return np.sqrt(_variance(predicted - measured, weights))


def icc(measured: Values, predicted: Values, weights: Values) -> Values:
    """Return the intraclass correlation ICC(A,1): of single values, for absolute agreement.

    Unlike Pearson's it falls where one side is higher, or spread wider, than the other. NaN of
    fewer than two rows, or where nothing varies.

    Source:
        McGraw, Wong 1996, Psychological Methods 1:30, table 4: two-way model, of two raters.
    """
    of_rows = 2 * _variance((measured + predicted) / 2, weights)
    of_error = _variance(predicted - measured, weights) / 2
    shift = bias(measured, predicted, weights) ** 2  # twice the mean square of columns / n
    all_of_it = of_rows + of_error + shift - divide(2 * of_error, weights.sum(axis=-1))
    least = _rounding(np.concatenate([measured, predicted]), weights)
    return divide(of_rows - of_error, np.where(all_of_it > least, all_of_it, 0))


def calibration_slope(measured: Values, predicted: Values, weights: Values) -> Values:
    """Return the slope of the least-squares line of measured on predicted; 1 is perfect.

    Below 1 predictions lie too far from their mean. NaN where they do not vary.

    Source:
        Cox 1958, Biometrika 45:562; Steyerberg 2019, Clinical Prediction Models, section 15.3.
    """
    x = predicted - weighted_mean(predicted, weights)[..., None]
    spread = (weights * x * x).sum(axis=-1)
    spread = np.where(spread > _rounding(predicted, weights), spread, 0)
    # The sum of x is 0 but for rounding: measured values far from 0 would magnify it.
    y = measured - weighted_mean(measured, weights)[..., None]
    return divide((weights * x * y).sum(axis=-1), spread)


def calibration_intercept(measured: Values, predicted: Values, weights: Values) -> Values:
    """Return where the line of ``calibration_slope`` meets a prediction of 0; 0 is perfect."""
    slope = calibration_slope(measured, predicted, weights)
    means = (weighted_mean(values, weights) for values in (measured, predicted))
    of_measured, of_predicted = means
    return np.asarray(of_measured - slope * of_predicted)


def agreement(
    measured: NDArray[np.floating],
    predicted: NDArray[np.floating],
    patients: Sequence[str] | NDArray[np.generic],
    *,
    seed: int,
    draws: int = DRAWS,
    level: float = LEVEL,
) -> dict[str, Interval]:
    """Return error, fit and Bland-Altman figures with patient-bootstrap intervals.

    Args:
        measured: In any unit.
        predicted: In the same.
        patients: Patient of each row.
        seed: Start of the random numbers.
        draws: Number of bootstrap samples.
        level: Coverage of the intervals.

    Returns:
        ``mae, rmse, r2, pearson, icc, bias, limit_low, limit_high, calibration_slope,
        calibration_intercept``; the limits of agreement are bias -/+ 1.96 standard deviations
        of the differences of all rows.

    Raises:
        ValueError: If the lengths differ or a value is not finite.
    """
    m, p = np.asarray(measured, np.float64), np.asarray(predicted, np.float64)
    if not len(m) == len(p) == len(patients):
        raise ValueError(f"{len(m)} measured, {len(p)} predicted, {len(patients)} patients.")
    if not (np.isfinite(m).all() and np.isfinite(p).all()):
        raise ValueError("Measured and predicted values must be finite.")
    metrics = {
        "mae": lambda w: mae(m, p, w),
        "rmse": lambda w: rmse(m, p, w),
        "r2": lambda w: r2(m, p, w),
        "pearson": lambda w: pearson(m, p, w),
        "icc": lambda w: icc(m, p, w),
        "bias": lambda w: bias(m, p, w),
        "limit_low": lambda w: bias(m, p, w) - Z_95 * difference_sd(m, p, w),
        "limit_high": lambda w: bias(m, p, w) + Z_95 * difference_sd(m, p, w),
        "calibration_slope": lambda w: calibration_slope(m, p, w),
        "calibration_intercept": lambda w: calibration_intercept(m, p, w),
    }
    return bootstrap_intervals(metrics, patients, seed=seed, draws=draws, level=level)


def _variance(values: Values, weights: Values) -> Values:
    """Return the sample variance; NaN of fewer than two rows."""
    squares = (weights * (values - weighted_mean(values, weights)[..., None]) ** 2).sum(axis=-1)
    return divide(squares, np.maximum(weights.sum(axis=-1) - 1, 0))


def _rounding(values: Values, weights: Values) -> Values:
    """Return the sum of squares that rounding alone may give a constant column."""
    scale = float(np.abs(values).max(initial=0.0))
    total: Values = weights.sum(axis=-1)
    return total * (8 * np.finfo(np.float64).eps * scale) ** 2
