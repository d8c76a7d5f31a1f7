from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from echocli.statistics.bootstrap import bootstrap_intervals
from echocli.statistics.classification import auroc
from echocli.statistics.delong import auroc_covariance, auroc_interval, delong_test


def two_scores(n: int, seed: int = 0, *, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.4
    shared = rng.normal(size=n)
    scores = np.stack([truth + shared + rng.normal(size=n), 0.5 * truth + shared])
    return truth, np.round(scores * 2) if ties else scores


def psi(a: float, b: float) -> float:
    return 1.0 if a > b else 0.5 if a == b else 0.0


def slow_covariance(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """DeLong's equations, pair by pair."""
    m, n = truth.sum(), (~truth).sum()
    v10 = np.array(
        [[np.mean([psi(x, y) for y in s[~truth]]) for x in s[truth]] for s in scores]
    )
    v01 = np.array(
        [[np.mean([psi(x, y) for x in s[truth]]) for y in s[~truth]] for s in scores]
    )
    return np.cov(v10) / m + np.cov(v01) / n


def slow_clustered_variance(truth: np.ndarray, s: np.ndarray, owner: np.ndarray) -> float:
    """Obuchowski's equations, cluster by cluster."""
    area = roc_auc_score(truth, s)
    m, n = truth.sum(), (~truth).sum()
    v, w, has_v, has_w = [], [], 0, 0
    for name in sorted(set(owner)):
        mine = owner == name
        ones, zeros = s[mine & truth], s[mine & ~truth]
        v.append(sum(np.mean([psi(x, y) for y in s[~truth]]) for x in ones) - len(ones) * area)
        w.append(sum(np.mean([psi(x, y) for x in s[truth]]) for y in zeros) - len(zeros) * area)
        has_v, has_w = has_v + bool(len(ones)), has_w + bool(len(zeros))
    s10 = has_v / ((has_v - 1) * m) * sum(a * a for a in v)
    s01 = has_w / ((has_w - 1) * n) * sum(b * b for b in w)
    s11 = len(v) / (len(v) - 1) * sum(a * b for a, b in zip(v, w, strict=True))
    return float(s10 / m + s01 / n + 2 * s11 / (m * n))


@pytest.mark.parametrize("ties", [False, True])
def test_areas_and_covariance_equal_the_pairwise_equations(ties: bool) -> None:
    truth, scores = two_scores(40, ties=ties)
    areas, covariance = auroc_covariance(truth, scores)
    assert areas == pytest.approx([roc_auc_score(truth, s) for s in scores], abs=1e-12)
    np.testing.assert_allclose(covariance, slow_covariance(truth, scores), atol=1e-12)


def test_patients_are_summed_as_obuchowski_does() -> None:
    truth, scores = two_scores(60, ties=True)
    owner = np.arange(60) // 4  # several classes within a patient
    _, covariance = auroc_covariance(truth, scores, owner)
    for k in range(2):
        expected = slow_clustered_variance(truth, scores[k], owner)
        assert covariance[k, k] == pytest.approx(expected, abs=1e-12)


def test_clips_that_repeat_their_patient_bring_no_certainty() -> None:
    truth, scores = two_scores(50)
    owner = np.arange(50)
    once = auroc_interval(truth, scores[0], owner)
    thrice = auroc_interval(np.repeat(truth, 3), np.repeat(scores[0], 3), np.repeat(owner, 3))
    assert thrice.value == pytest.approx(once.value)
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))
    naive = auroc_interval(np.repeat(truth, 3), np.repeat(scores[0], 3))
    assert naive.high - naive.low < 0.7 * (once.high - once.low)


def test_the_interval_is_about_that_of_the_bootstrap_over_patients() -> None:
    truth, scores = two_scores(400, seed=3)
    owner = np.arange(400) // 2
    ours = auroc_interval(truth, scores[0], owner)
    drawn = bootstrap_intervals(
        {"auroc": lambda w: auroc(truth, scores[0], w)}, owner, seed=0, draws=2000
    )["auroc"]
    assert ours.value == pytest.approx(drawn.value)
    assert (ours.low, ours.high) == pytest.approx((drawn.low, drawn.high), abs=0.01)


def test_two_scores_are_compared_with_their_correlation() -> None:
    truth, scores = two_scores(120, seed=1)
    found = delong_test(truth, *scores)
    covariance = slow_covariance(truth, scores)
    sd = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    z = (roc_auc_score(truth, scores[0]) - roc_auc_score(truth, scores[1])) / sd
    assert found.z == pytest.approx(z, abs=1e-9)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(z)), abs=1e-12)
    assert found.difference.low < found.first - found.second < found.difference.high
    back = delong_test(truth, scores[1], scores[0])
    assert back.z == pytest.approx(-found.z)
    same = delong_test(truth, scores[0], 3 * scores[0] + 1)
    assert (same.p_value, same.difference.value) == (1.0, 0.0)


def test_few_patients_say_no_more_than_if_scores_were_exchanged() -> None:
    truth = np.array([True, True, True, False, False, False])
    better, worse = np.array([4.0, 3, 2, 1, 2, 1]), np.array([1.0, 2, 1, 3, 4, 2])
    assert delong_test(truth, better, worse).p_value == 2**-5
    assert delong_test(truth, better, worse, list("aabbcc")).p_value == 2**-2


def test_where_nothing_differs_few_tests_say_so() -> None:
    p_values = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        truth = np.repeat(rng.random(40) < 0.5, 3)
        patient = np.repeat(rng.normal(size=(2, 40)), 3, axis=1)
        scores = truth + patient + 0.3 * rng.normal(size=(2, 120))
        p_values.append(delong_test(truth, *scores, np.arange(120) // 3).p_value)
    assert 0.02 < np.mean(np.array(p_values) < 0.05) < 0.09


def test_what_defines_no_variance_is_told() -> None:
    truth = np.array([True, True, False, False])
    perfect = auroc_interval(truth, np.arange(4.0)[::-1])
    assert perfect.value == 1.0
    assert np.isnan(perfect.low)
    one = auroc_interval(truth, np.array([3.0, 0.0, 1.0, 2.0]), ["a", "a", "b", "c"])
    assert np.isnan(one.low)
    constant = delong_test(truth, np.arange(4.0)[::-1], np.zeros(4))
    assert (constant.first, constant.second) == (1.0, 0.5)
    assert np.isnan([constant.z, constant.p_value, constant.difference.low]).all()
    with pytest.raises(ValueError, match="both classes"):
        auroc_interval(np.ones(4, bool), np.arange(4.0))
