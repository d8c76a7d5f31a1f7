r"""How probabilities of two classes would have to be bent to be true: slope and intercept.

Both are of a logistic regression of what was seen on the logit of what was said. The slope
:math:`b` of :math:`a + b x` is 1 if probabilities are as far from each other as they should be,
below 1 if they are too sure; the intercept :math:`a` of :math:`a + x` is 0 if they are right on
average, below 0 if they are too high.

Source:
    Cox 1958, Biometrika 45:562; Van Calster et al. 2019, BMC Medicine 17:230 (the intercept
    at a slope of 1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from echocli.statistics.bootstrap import Metric, Values

Flags = NDArray[np.bool_]
STEPS = 40
"""Of Newton's method; from the line of all rows a draw's is met within five."""
LONGEST = 2.0
"""Step that a coefficient may take: far from its place the curvature tells of no end."""
TOLERANCE = 1e-9
SUREST = 1e-7
"""Probabilities nearer to 0 or 1 count as this far from them."""
CELLS_AT_ONCE = 200_000
"""Draws times rows: what a processor's cache holds."""


def calibration_slope(positive: Flags, probability: Values) -> Metric:
    """Return the slope as a function of weights.

    NaN where a class is missing, or where the classes are told apart without error, but for
    rows on the border: no slope would then be steep enough.

    Args:
        positive: Whether each row truly is of the class.
        probability: With what probability it was said to be.
    """
    x = _logits(probability)
    spread = float(x.std()) or 1.0
    columns = np.stack([np.ones_like(x), (x - x.mean()) / spread], axis=1)
    metric = _logistic(positive, columns, np.zeros_like(x))

    def slope(weights: Values) -> Values:
        found = metric(weights)[..., 1] / spread
        return np.where(_mixed(positive, x, weights), found, np.nan)

    return slope


def calibration_intercept(positive: Flags, probability: Values) -> Metric:
    """Return the intercept, at a slope of 1, as a function of weights.

    NaN where a class is missing.

    Args:
        positive: Whether each row truly is of the class.
        probability: With what probability it was said to be.
    """
    x = _logits(probability)
    metric = _logistic(positive, np.ones((len(x), 1)), x)
    return lambda weights: metric(weights)[..., 0]


def _mixed(positive: Flags, x: Values, weights: Values) -> Flags:
    """Return under which weights each class reaches beyond the least of the other.

    Newton's method cannot tell: far out, where probabilities are 0 and 1 to the last digit, it
    stands still as it does at a summit.
    """
    drawn = weights > 0
    low = [np.where(drawn & own, x, np.inf).min(axis=-1) for own in (positive, ~positive)]
    high = [np.where(drawn & own, x, -np.inf).max(axis=-1) for own in (positive, ~positive)]
    return np.asarray((high[0] > low[1]) & (high[1] > low[0]))


def _logits(probability: Values) -> Values:
    inside = np.clip(np.asarray(probability, np.float64), SUREST, 1 - SUREST)
    return np.asarray(special.logit(inside))


def _logistic(positive: Flags, columns: Values, offset: Values) -> Metric:
    """Return the coefficients of greatest likelihood as a function of weights.

    Args:
        positive: What is to be foretold.
        columns: ``(rows, coefficients)``.
        offset: What is added to their sum.
    """
    whole = _newton(
        positive, columns, offset, np.ones((1, len(positive))), np.zeros(columns.shape[1])
    )
    # Draws differ little from the whole: few steps lead there from its line.
    start = np.where(np.isfinite(whole[0]), whole[0], 0.0)

    def fitted(weights: Values) -> Values:
        several = max(1, CELLS_AT_ONCE // len(positive))
        return np.concatenate(
            [
                _newton(positive, columns, offset, weights[at : at + several], start)
                for at in range(0, len(weights), several)
            ]
        )

    return fitted


def _newton(
    positive: Flags, columns: Values, offset: Values, weights: Values, start: Values
) -> Values:
    """Return the coefficients under each row of weights; NaN where there are no best ones."""
    found = np.full((len(weights), columns.shape[1]), np.nan)
    left = np.arange(len(weights))
    at = np.repeat(start[None], len(weights), axis=0)
    products = columns[:, :, None] * columns[:, None, :]
    for _ in range(STEPS):
        w = weights[left]
        said = special.expit(at @ columns.T + offset)
        gradient = (w * (positive - said)) @ columns
        curvature = np.tensordot(w * said * (1 - said), products, axes=(1, 0))
        fit = np.linalg.det(curvature) > np.finfo(float).tiny
        left, at, gradient, curvature = left[fit], at[fit], gradient[fit], curvature[fit]
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        step = np.clip(step, -LONGEST, LONGEST)
        at = at + step
        done = np.abs(step).max(axis=1, initial=0.0) < TOLERANCE * (1 + np.abs(at).max(axis=1))
        found[left[done]] = at[done]
        left, at = left[~done], at[~done]
        if not len(left):
            break
    return found
