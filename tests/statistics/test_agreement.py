from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from echocli.statistics.agreement import (
    agreement,
    calibration_slope,
    difference_sd,
    icc,
    pearson,
    r2,
)
from echocli.statistics.bootstrap import patient_weights

GENERATOR = np.random.default_rng(0)
MEASURED = GENERATOR.normal(55, 12, size=60)
PREDICTED = 0.6 * MEASURED + 20 + GENERATOR.normal(0, 6, size=60)
PATIENTS = np.arange(60) // 2


def icc_by_loops(measured: np.ndarray, predicted: np.ndarray) -> float:
    """ICC(A,1) by the mean squares of McGraw and Wong 1996, table 4, cell by cell."""
    scores = np.stack([measured, predicted], axis=1)
    n, k = scores.shape
    grand = scores.mean()
    rows = sum(k * (scores[i].mean() - grand) ** 2 for i in range(n)) / (n - 1)
    columns = sum(n * (scores[:, j].mean() - grand) ** 2 for j in range(k)) / (k - 1)
    left = 0.0
    for i in range(n):
        for j in range(k):
            left += (scores[i, j] - scores[i].mean() - scores[:, j].mean() + grand) ** 2
    error = left / ((n - 1) * (k - 1))
    return (rows - error) / (rows + (k - 1) * error + k / n * (columns - error))


def test_figures_equal_sklearn_and_scipy() -> None:
    ours = agreement(MEASURED, PREDICTED, PATIENTS, seed=0, draws=20)
    difference = PREDICTED - MEASURED
    line = stats.linregress(PREDICTED, MEASURED)
    theirs = {
        "mae": metrics.mean_absolute_error(MEASURED, PREDICTED),
        "rmse": metrics.root_mean_squared_error(MEASURED, PREDICTED),
        "r2": metrics.r2_score(MEASURED, PREDICTED),
        "pearson": stats.pearsonr(MEASURED, PREDICTED).statistic,
        "icc": icc_by_loops(MEASURED, PREDICTED),
        "calibration_slope": line.slope,
        "calibration_intercept": line.intercept,
        "bias": difference.mean(),
        "limit_low": difference.mean() - 1.96 * difference.std(ddof=1),
        "limit_high": difference.mean() + 1.96 * difference.std(ddof=1),
    }
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        assert ours[name].value == pytest.approx(value, abs=1e-9), name


def test_every_draw_equals_sklearn_on_the_drawn_rows() -> None:
    weights = np.concatenate(list(patient_weights(PATIENTS, seed=4, draws=25)))
    fits = r2(MEASURED, PREDICTED, weights)
    correlations = pearson(MEASURED, PREDICTED, weights)
    spreads = difference_sd(MEASURED, PREDICTED, weights)
    agreed = icc(MEASURED, PREDICTED, weights)
    for draw, row in enumerate(weights.astype(int)):
        m, p = np.repeat(MEASURED, row), np.repeat(PREDICTED, row)
        assert fits[draw] == pytest.approx(metrics.r2_score(m, p))
        assert correlations[draw] == pytest.approx(stats.pearsonr(m, p).statistic)
        assert spreads[draw] == pytest.approx((p - m).std(ddof=1))
        assert agreed[draw] == pytest.approx(icc_by_loops(m, p))


def test_the_icc_falls_with_a_shift_and_has_the_interval_of_mcgraw_and_wong() -> None:
    once = np.ones((1, 60))
    assert icc(MEASURED, MEASURED, once)[0] == pytest.approx(1)
    assert icc(MEASURED, MEASURED + 12, once)[0] < 0.7
    assert np.isnan(icc(MEASURED[:1], PREDICTED[:1], np.ones((1, 1)))[0])
    # McGraw and Wong 1996, table 7, ICC(A,1): exact up to Satterthwaite's degrees of freedom.
    n, k, value = 60, 2, icc_by_loops(MEASURED, PREDICTED)
    of_rows = 2 * ((MEASURED + PREDICTED) / 2).var(ddof=1)
    error = (PREDICTED - MEASURED).var(ddof=1) / 2
    columns = n * (PREDICTED - MEASURED).mean() ** 2 / 2
    a = k * value / (n * (1 - value))
    b = 1 + k * value * (n - 1) / (n * (1 - value))
    freedom = (a * columns + b * error) ** 2 / (
        (a * columns) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1))
    )
    below, above = stats.f.ppf(0.975, n - 1, freedom), stats.f.ppf(0.975, freedom, n - 1)
    mixed = k * columns + (k * n - k - n) * error
    low = n * (of_rows - below * error) / (below * mixed + n * of_rows)
    high = n * (above * of_rows - error) / (mixed + n * above * of_rows)
    drawn = agreement(MEASURED, PREDICTED, np.arange(60), seed=0)["icc"]
    assert drawn.low == pytest.approx(low, abs=0.06)
    assert drawn.high == pytest.approx(high, abs=0.06)


def test_predicting_the_mean_has_r2_zero_and_no_correlation() -> None:
    ours = agreement(MEASURED, np.full(60, MEASURED.mean()), PATIENTS, seed=0, draws=20)
    assert ours["r2"].value == pytest.approx(0)
    assert np.isnan(ours["pearson"].value)
    assert np.isnan(ours["calibration_slope"].value)
    assert ours["icc"].value == pytest.approx(0, abs=0.02)
    constant = agreement(np.full(60, 55.3), PREDICTED, PATIENTS, seed=0, draws=20)
    assert np.isnan(constant["r2"].value)


def test_the_slope_of_predictions_that_hardly_vary_is_that_of_exact_fractions() -> None:
    # A probe that has learnt next to nothing says the mean, give or take single precision.
    predicted = np.random.default_rng(1).normal(55, 2e-6, 60)
    x, y = ([Fraction(float(v)) for v in column] for column in (predicted, MEASURED))
    of_x, of_y = sum(x) / 60, sum(y) / 60
    exact = sum((a - of_x) * (b - of_y) for a, b in zip(x, y, strict=True)) / sum(
        (a - of_x) ** 2 for a in x
    )
    ours = calibration_slope(MEASURED, predicted, np.ones((1, 60)))
    assert ours == pytest.approx(float(exact), rel=1e-7)


def test_the_same_number_everywhere_has_no_icc() -> None:
    weights = np.concatenate(list(patient_weights(np.arange(8), seed=0, draws=50)))
    same = np.full(8, 0.1)
    assert np.isnan(icc(same, same, weights)).all()
    # Both constant but apart: all variance is between the two sides.
    assert icc(same, same + 5, weights) == pytest.approx(0, abs=1e-9)


def test_limits_have_the_intervals_of_normal_theory_for_one_clip_a_patient() -> None:
    # Bland and Altman 1999, Stat Methods Med Res 8:135, section 2.1.
    difference = PREDICTED - MEASURED
    bias, sd, n = difference.mean(), difference.std(ddof=1), len(difference)
    t = stats.t.ppf(0.975, n - 1)
    of_limit = t * sd * np.sqrt(1 / n + 1.96**2 / (2 * (n - 1)))
    drawn = agreement(MEASURED, PREDICTED, np.arange(60), seed=0)
    assert drawn["bias"].low == pytest.approx(bias - t * sd / np.sqrt(n), abs=0.4)
    assert drawn["limit_high"].high == pytest.approx(bias + 1.96 * sd + of_limit, abs=1.0)
    assert drawn["limit_low"].low == pytest.approx(bias - 1.96 * sd - of_limit, abs=1.0)


@pytest.mark.parametrize("bad", [np.append(MEASURED[:-1], np.nan), MEASURED[:-1]])
def test_nan_and_lengths_that_differ_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"finite|patients"):
        agreement(bad, PREDICTED, PATIENTS, seed=0)
