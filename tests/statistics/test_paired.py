from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from echocli.statistics.agreement import mae
from echocli.statistics.bootstrap import Values, weighted_mean
from echocli.statistics.paired import paired_bootstrap, paired_wilcoxon


def errors(gain: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors of two models on three clips of each of forty patients."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(rng.normal(6, 2, 40), 3)
    first = patient + rng.normal(0, 1, 120)
    return first, first - gain + rng.normal(0, 1, 120), np.repeat(np.arange(40), 3)


def mean_of(values: np.ndarray):  # noqa: ANN201
    return lambda w: weighted_mean(values, w)


def test_the_difference_and_its_interval_are_those_of_a_slow_loop() -> None:
    first, second, patients = errors(0.4)
    found = paired_bootstrap(mean_of(first), mean_of(second), patients, seed=5, draws=400)
    rng = np.random.default_rng(5)
    slow = []
    for _ in range(4000):
        drawn = rng.choice(40, 40)
        rows = np.concatenate([np.flatnonzero(patients == p) for p in drawn])
        slow.append(first[rows].mean() - second[rows].mean())
    assert found.difference.value == pytest.approx((first - second).mean())
    low, high = np.quantile(slow, [0.025, 0.975])
    assert (found.difference.low, found.difference.high) == pytest.approx((low, high), abs=0.06)
    assert found.patients == 40


def test_p_values_are_about_those_of_students_test_on_patients() -> None:
    for gain in (0.0, 0.2, 0.4):
        first, second, patients = errors(gain, seed=2)
        found = paired_bootstrap(mean_of(first), mean_of(second), patients, seed=0, draws=4000)
        by_patient = (first - second).reshape(40, 3).mean(axis=1)
        assert found.p_value == pytest.approx(stats.ttest_1samp(by_patient, 0).pvalue, abs=0.05)


def test_p_values_are_never_zero_and_one_where_nothing_differs() -> None:
    first, second, patients = errors(30.0)
    apart = paired_bootstrap(mean_of(first), mean_of(second), patients, seed=0, draws=200)
    assert apart.p_value == pytest.approx(2 / 201)
    same = paired_bootstrap(mean_of(first), mean_of(first), patients, seed=0, draws=200)
    assert same.p_value == 1.0
    assert (same.difference.low, same.difference.high) == (0, 0)


def test_few_patients_who_agree_say_no_more_than_their_signs() -> None:
    for count in (2, 3, 5, 9):
        first, patients = np.arange(1.0, count + 1), np.arange(count)
        found = paired_bootstrap(mean_of(first), mean_of(0 * first), patients, seed=0)
        signs = stats.binomtest(count, count).pvalue
        assert found.p_value == pytest.approx(signs)
        assert found.p_value == pytest.approx(
            paired_wilcoxon(first, 0 * first, patients).p_value
        )
    one = paired_bootstrap(mean_of(first), mean_of(0 * first), np.zeros(9), seed=0)
    assert one.patients == 1
    assert np.isnan([one.p_value, one.difference.low, one.difference.high]).all()


def test_any_metric_of_weights_can_be_compared() -> None:
    first, second, patients = errors(1.0)
    truth = np.zeros(120)

    def ours(w: Values) -> Values:
        return mae(truth, first, w)

    found = paired_bootstrap(ours, lambda w: mae(truth, second, w), patients, seed=0, draws=100)
    assert found.difference.value == pytest.approx(np.abs(first).mean() - np.abs(second).mean())
    document = found.as_json()
    assert document["patients"] == 40
    assert document["difference"]["low"] < document["difference"]["high"]


def test_wilcoxon_is_scipys_on_patients_means() -> None:
    first, second, patients = errors(0.3)
    found = paired_wilcoxon(first, second, patients)
    means = (first - second).reshape(40, 3).mean(axis=1)
    assert found.p_value == pytest.approx(stats.wilcoxon(means).pvalue)
    assert found.difference.value == pytest.approx(np.median(means))
    repeated = paired_wilcoxon(
        np.repeat(first, 2), np.repeat(second, 2), np.repeat(patients, 2)
    )
    assert repeated.p_value == pytest.approx(found.p_value)
    assert paired_wilcoxon(first, first, patients).p_value == 1.0
    with pytest.raises(ValueError, match="finite"):
        paired_wilcoxon(first * np.nan, second, patients)
