"""Percentile bootstrap that draws patients, not clips.

Clips of one heart resemble each other: drawing clips would count one patient's luck many times
and give intervals that are too narrow. A draw is a vector of weights, how often each row
appears; every metric of this package is a function of weights, so one line of code gives the
figure (all weights one) and its interval (many rows of weights at once).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Metric = Callable[[Values], Values]
"""Weights ``(draws, rows)`` to values ``(draws,)``; NaN where a draw defines none."""

DRAWS = 2000
LEVEL = 0.95
LEAST_DEFINED = 0.5
"""Share of draws that must define the metric for an interval to be given."""
LEAST_PATIENTS = 2
"""Patients without whom there is no interval: every draw of a single one is the same."""
SAME = 1e-12
"""Share of a figure by which rounding alone may tell two ends apart."""
CELLS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A figure and its interval; NaN where the data define none."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"

    def as_json(self) -> dict[str, float | None]:
        """Return the three numbers, ``None`` for what is not finite: JSON has no NaN."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {k: float(v) if np.isfinite(v) else None for k, v in numbers.items()}


def as_json(intervals: Mapping[str, Interval]) -> dict[str, dict[str, float | None]]:
    """Return figures with their intervals as JSON has them."""
    return {name: interval.as_json() for name, interval in intervals.items()}


def bootstrap_intervals(
    metrics: Mapping[str, Metric],
    patients: Sequence[str] | NDArray[np.generic],
    *,
    seed: int,
    draws: int = DRAWS,
    level: float = LEVEL,
) -> dict[str, Interval]:
    """Return every metric with its interval, all from the same draws.

    There is none for a metric that most draws do not define, for the rows of a single patient,
    or for what is the same in nearly every draw: ten right calls of ten are no certainty.

    Args:
        metrics: Functions of weights.
        patients: Patient of each row; rows of one patient are drawn together.
        seed: Start of the random numbers; print it beside the intervals.
        draws: Number of bootstrap samples.
        level: Coverage, between 0 and 1.

    Raises:
        ValueError: If there are no rows or the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie between 0 and 1.")
    patients = np.asarray(patients)
    if not len(patients):
        raise ValueError("There are no rows to draw from.")
    blocks: dict[str, list[Values]] = {name: [] for name in metrics}
    for weights in patient_weights(patients, seed=seed, draws=draws):
        for name, metric in metrics.items():
            blocks[name].append(metric(weights))
    whole = np.ones((1, len(patients)))
    several = len(np.unique(patients)) >= LEAST_PATIENTS
    tails = ((1 - level) / 2, (1 + level) / 2)
    intervals = {}
    for name, metric in metrics.items():
        drawn = np.concatenate(blocks[name])
        drawn = drawn[np.isfinite(drawn)]
        told = several and len(drawn) >= max(1, LEAST_DEFINED * draws)
        low, high = np.quantile(drawn, tails) if told else (np.nan, np.nan)
        if high - low <= SAME * abs(high):
            low, high = np.nan, np.nan
        intervals[name] = Interval(float(metric(whole)[0]), float(low), float(high))
    return intervals


def patient_weights(
    patients: NDArray[np.generic], *, seed: int, draws: int = DRAWS
) -> Iterator[Values]:
    """Yield blocks ``(draws in block, rows)`` of how often each row was drawn."""
    names, of_row = np.unique(patients, return_inverse=True)
    generator = np.random.default_rng(seed)
    block = max(1, CELLS_AT_ONCE // len(patients))
    for start in range(0, draws, block):
        size = min(block, draws - start)
        chosen = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size)
        yield chosen[:, of_row].astype(np.float64)


def least_p_value(patients: int) -> float:
    """Return the least two-sided p-value that so many patients allow.

    If two models are equal, each patient may as well have favoured the other: of all such
    exchanges, ``2 ** patients``, two are the most extreme.
    """
    return min(1.0, 2.0 ** (1 - patients))


def weighted_mean(values: NDArray[np.generic], weights: Values) -> Values:
    """Return the mean of the values under each row of weights; NaN where no weight is left."""
    total = weights.sum(axis=-1)
    return divide(weights @ values.astype(np.float64), total)


def divide(numerator: Values, denominator: Values) -> Values:
    """Divide; NaN where the denominator is zero."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    undefined = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=undefined, where=denominator != 0)
    return undefined
