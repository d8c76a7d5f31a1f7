from __future__ import annotations

import math

import numpy as np
import pytest

from echocli.statistics.conformal import interval_half_width, p_values, threshold

CALIBRATION = np.random.default_rng(0).normal(size=50).round(1)
SCORES = np.linspace(-4, 4, 161).round(2)


def test_p_values_equal_the_definition_counted_slowly() -> None:
    slow = [(1 + sum(c >= s for c in CALIBRATION)) / 51 for s in SCORES]
    np.testing.assert_allclose(p_values(CALIBRATION, SCORES), slow)


def test_one_vote_a_patient_counted_slowly() -> None:
    patients = np.random.default_rng(1).integers(0, 12, size=50)
    slow = []
    for score in SCORES:
        votes = [(CALIBRATION[patients == p] >= score).mean() for p in np.unique(patients)]
        slow.append((1 + sum(votes)) / (len(votes) + 1))
    np.testing.assert_allclose(p_values(CALIBRATION, SCORES, patients), slow)


def test_repeating_a_patients_clip_changes_nothing() -> None:
    repeated = np.repeat(CALIBRATION, 3)
    patients = np.repeat(np.arange(50), 3)
    np.testing.assert_allclose(
        p_values(repeated, SCORES, patients), p_values(CALIBRATION, SCORES)
    )


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1, 0.25, 0.5, 2 / 51])
@pytest.mark.parametrize("clustered", [False, True])
def test_above_the_threshold_is_the_same_as_a_small_p_value(
    rate: float, clustered: bool
) -> None:
    patients = np.arange(50) // 2 if clustered else None
    called = threshold(CALIBRATION, rate, patients) < SCORES
    np.testing.assert_array_equal(
        called, p_values(CALIBRATION, SCORES, patients) <= rate + 1e-9
    )


def test_too_few_normals_for_the_rate_call_nothing() -> None:
    assert threshold(np.arange(18.0), 0.05) == math.inf
    assert threshold(np.arange(19.0), 0.05) == 18.0


def test_a_rate_of_nearly_all_calls_whoever_is_above_the_least() -> None:
    assert threshold(CALIBRATION, 1 - 1e-12) == CALIBRATION.min()
    assert interval_half_width(CALIBRATION, 1e-12) == np.abs(CALIBRATION).min()


def test_normals_are_called_at_the_chosen_rate_over_many_splits() -> None:
    generator = np.random.default_rng(3)
    rates = []
    for _ in range(300):
        scores = generator.normal(size=(80, 1)) + 0.3 * generator.normal(size=(80, 3))
        limit = threshold(scores[:40].ravel(), 0.1, np.repeat(np.arange(40), 3))
        rates.append((scores[40:] > limit).mean())
    assert 0.08 < np.mean(rates) < 0.105  # floor(0.1 * 41) / 41 is 0.0976


def test_prediction_intervals_cover_what_they_promise() -> None:
    generator = np.random.default_rng(4)
    covered = []
    for _ in range(400):
        residuals = generator.standard_t(3, size=80)
        half = interval_half_width(residuals[:59], 0.9)
        ranked = np.sort(np.abs(residuals[:59]))
        assert half == ranked[math.ceil(60 * 0.9) - 1]  # the usual formula
        covered.append((np.abs(residuals[59:]) <= half).mean())
    assert 0.88 < np.mean(covered) < 0.925


def test_no_calibration_nan_and_impossible_rates_are_refused() -> None:
    for bad in ([], [np.nan, 1.0]):
        with pytest.raises(ValueError, match="finite"):
            p_values(np.array(bad), SCORES)
    with pytest.raises(ValueError, match="between 0 and 1"):
        threshold(CALIBRATION, 5)
