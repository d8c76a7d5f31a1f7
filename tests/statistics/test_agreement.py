from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from echocli.statistics.agreement import agreement, bland_altman, difference_sd, pearson, r2
from echocli.statistics.bootstrap import patient_weights

GENERATOR = np.random.default_rng(0)
MEASURED = GENERATOR.normal(55, 12, size=60)
PREDICTED = 0.6 * MEASURED + 20 + GENERATOR.normal(0, 6, size=60)
PATIENTS = np.arange(60) // 2


def test_figures_equal_sklearn_and_scipy() -> None:
    ours = agreement(MEASURED, PREDICTED, PATIENTS, seed=0, draws=20)
    difference = PREDICTED - MEASURED
    theirs = {
        "mae": metrics.mean_absolute_error(MEASURED, PREDICTED),
        "rmse": metrics.root_mean_squared_error(MEASURED, PREDICTED),
        "r2": metrics.r2_score(MEASURED, PREDICTED),
        "pearson": stats.pearsonr(MEASURED, PREDICTED).statistic,
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
    for draw, row in enumerate(weights.astype(int)):
        m, p = np.repeat(MEASURED, row), np.repeat(PREDICTED, row)
        assert fits[draw] == pytest.approx(metrics.r2_score(m, p))
        assert correlations[draw] == pytest.approx(stats.pearsonr(m, p).statistic)
        assert spreads[draw] == pytest.approx((p - m).std(ddof=1))


def test_predicting_the_mean_has_r2_zero_and_no_correlation() -> None:
    ours = agreement(MEASURED, np.full(60, MEASURED.mean()), PATIENTS, seed=0, draws=20)
    assert ours["r2"].value == pytest.approx(0)
    assert np.isnan(ours["pearson"].value)
    constant = agreement(np.full(60, 55.3), PREDICTED, PATIENTS, seed=0, draws=20)
    assert np.isnan(constant["r2"].value)


def test_limits_hold_95_percent_of_differences_and_their_intervals_repeated_limits() -> None:
    generator = np.random.default_rng(8)
    truth_inside = bias_inside = 0
    for _ in range(400):
        result = bland_altman(np.zeros(50), generator.normal(1.0, 5.0, size=50))
        bias_inside += result.bias.low <= 1.0 <= result.bias.high
        truth_inside += result.limit_high.low <= 1.0 + 1.96 * 5 <= result.limit_high.high
    assert 365 <= bias_inside <= 394  # 95 % of 400 is 380
    assert 360 <= truth_inside <= 396


def test_bootstrap_and_normal_theory_agree_for_one_clip_a_patient() -> None:
    theory = bland_altman(MEASURED, PREDICTED)
    drawn = agreement(MEASURED, PREDICTED, np.arange(60), seed=0)
    assert drawn["bias"].low == pytest.approx(theory.bias.low, abs=0.4)
    assert drawn["limit_high"].value == pytest.approx(theory.limit_high.value)
    assert drawn["limit_high"].high == pytest.approx(theory.limit_high.high, abs=1.0)


@pytest.mark.parametrize("bad", [np.append(MEASURED[:-1], np.nan), MEASURED[:-1]])
def test_nan_and_lengths_that_differ_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"finite|patients"):
        agreement(bad, PREDICTED, PATIENTS, seed=0)
