from __future__ import annotations

import numpy as np
import pytest
from scipy import special
from sklearn.linear_model import LogisticRegression

from echocli.statistics.bootstrap import bootstrap_intervals, patient_weights
from echocli.statistics.recalibration import calibration_intercept, calibration_slope

RNG = np.random.default_rng(0)
X = RNG.normal(0.3, 1.5, 240)
SEEN = RNG.random(240) < special.expit(0.4 + 0.6 * X)
SAID = special.expit(X)
PATIENTS = np.arange(240) // 3
ONCE = np.ones((1, 240))


def test_the_slope_of_every_draw_equals_sklearn() -> None:
    weights = np.concatenate(list(patient_weights(PATIENTS, seed=1, draws=8)))
    ours = calibration_slope(SEEN, SAID)(weights)
    for value, counts in zip(ours, weights, strict=True):
        theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
        theirs.fit(X[:, None], SEEN, counts)
        assert value == pytest.approx(theirs.coef_[0, 0], abs=1e-6)


def test_the_intercept_of_every_draw_makes_the_mean_right() -> None:
    # Of all lines of slope 1 the likeliest is the one whose mean is what was seen.
    weights = np.concatenate(list(patient_weights(PATIENTS, seed=1, draws=8)))
    for value, counts in zip(calibration_intercept(SEEN, SAID)(weights), weights, strict=True):
        bent = special.expit(X + value)
        assert np.average(bent, weights=counts) == pytest.approx(
            np.average(SEEN, weights=counts), abs=1e-9
        )


def test_true_probabilities_have_slope_one_and_intercept_zero() -> None:
    x = np.random.default_rng(3).normal(0, 2, 40_000)
    seen = np.random.default_rng(4).random(40_000) < special.expit(x)

    def found(logits: np.ndarray) -> tuple[float, float]:
        said, once = special.expit(logits), np.ones((1, 40_000))
        slope, intercept = calibration_slope(seen, said), calibration_intercept(seen, said)
        return float(slope(once)[0]), float(intercept(once)[0])

    assert found(x) == (pytest.approx(1, abs=0.05), pytest.approx(0, abs=0.05))
    # Twice as sure as it should be; and all too high by one.
    assert found(2 * x)[0] == pytest.approx(0.5, abs=0.03)
    assert found(x + 1)[1] == pytest.approx(-1, abs=0.05)


@pytest.mark.parametrize("sure", [0.5 + 1e-9, 1 - 1e-15, 1.0])
def test_no_certainty_is_too_great_to_be_bent(sure: float) -> None:
    seen = np.array([True, True, True, False, False, False])
    said = np.array([sure, sure, 1 - sure, 1 - sure, 1 - sure, sure])
    # Two of three were right, whatever was claimed.
    slope = calibration_slope(seen, said)(np.ones((1, 6)))[0]
    claimed = special.logit(np.clip(sure, 1e-7, 1 - 1e-7))
    assert slope * claimed == pytest.approx(np.log(2), rel=1e-3)
    assert calibration_intercept(seen, said)(np.ones((1, 6)))[0] == pytest.approx(0, abs=1e-3)


def test_what_has_no_line_has_no_number() -> None:
    apart = calibration_slope(SAID > 0.5, SAID)
    assert np.isnan(apart(ONCE)[0])
    assert np.isnan(calibration_slope(SEEN, np.full(240, 0.3))(ONCE)[0])
    of_one_class = np.where(SEEN, 1.0, 0.0)[None]
    assert np.isnan(calibration_slope(SEEN, SAID)(of_one_class)[0])
    assert np.isnan(calibration_intercept(SEEN, SAID)(of_one_class)[0])


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ((1.0, 1e-7, 1e-7, 1e-7, 1.0), (False, False, False, False, True)),
        ((0.0, 0.0, 1.0, 0.5, 0.5), (False, False, True, True, False)),
    ],
)
def test_classes_that_meet_in_one_number_alone_have_no_slope(
    said: tuple[float, ...], seen: tuple[bool, ...]
) -> None:
    found = calibration_slope(np.array(seen), np.array(said))(np.ones((1, len(seen))))
    assert np.isnan(found).all()


def test_the_interval_is_as_wide_as_the_theory_says() -> None:
    found = bootstrap_intervals(
        {"slope": calibration_slope(SEEN, SAID)}, np.arange(240), seed=0, draws=1000
    )["slope"]
    columns = np.stack([np.ones(240), X], axis=1)
    line = LogisticRegression(C=np.inf).fit(X[:, None], SEEN)
    p = line.predict_proba(X[:, None])[:, 1]
    error = np.linalg.inv(columns.T @ (columns * (p * (1 - p))[:, None]))[1, 1] ** 0.5
    assert (found.high - found.low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.15)
