from __future__ import annotations

import numpy as np
import pytest
from scipy import special
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as sklearn_log_loss

from echocli.statistics.calibration import (
    KINDS,
    Scaling,
    brier,
    calibration_error,
    fit_scaling,
    log_loss,
    patient_votes,
    reliability,
    unscaled,
)

WHOLE = np.ones((1, 400))


def overconfident(classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits that are three times too large, with the truth and what is truly meant."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(400, classes)) + 0.5 * np.arange(classes)
    chances = special.softmax(true, axis=1)
    truth = np.array([rng.choice(classes, p=p) for p in chances])
    return 3 * true, truth, chances


def slow_loss(scaling: Scaling, logits: np.ndarray, truth: np.ndarray) -> float:
    """The aimed log loss, row by row."""
    classes = logits.shape[1]
    counts = [int((truth == k).sum()) for k in range(classes)]
    total = 0.0
    for row, own in zip(scaling(logits), truth, strict=True):
        for k in range(classes):
            whole = counts[own] + classes
            aim = (counts[own] + 1) / whole if k == own else 1 / whole
            total -= aim * np.log(row[k])
    return total


@pytest.mark.parametrize("classes", [2, 4])
def test_temperature_is_found_again_and_no_other_is_better(classes: int) -> None:
    logits, truth, _ = overconfident(classes)
    found = fit_scaling("temperature", logits, truth, np.ones(400))
    assert found.slope == pytest.approx(1 / 3, rel=0.3)
    best = slow_loss(found, logits, truth)
    for factor in (0.9, 0.99, 1.01, 1.1):
        other = Scaling("temperature", found.slope * factor, found.offsets)
        assert slow_loss(other, logits, truth) > best
    assert (found(logits).argmax(1) == logits.argmax(1)).all()


def test_platt_of_two_classes_is_the_logistic_curve_through_platts_aims() -> None:
    logits, truth, _ = overconfident(2)
    truth = np.where(np.arange(400) % 3 == 0, 1, truth)  # shifted
    found = fit_scaling("platt", logits, truth, np.ones(400))
    high, low = (truth == 1).sum(), (truth == 0).sum()
    aims = np.where(truth == 1, (high + 1) / (high + 2), 1 / (low + 2))
    score = (logits[:, 1] - logits[:, 0])[:, None]
    # Each row twice: as positive with the weight of its aim, as negative with the rest.
    theirs = LogisticRegression(C=1e12, tol=1e-12, max_iter=10_000).fit(
        np.r_[score, score], np.r_[np.ones(400), np.zeros(400)], np.r_[aims, 1 - aims]
    )
    np.testing.assert_allclose(found(logits), theirs.predict_proba(score), atol=1e-5)


def test_no_other_offsets_of_several_classes_are_better() -> None:
    logits, truth, _ = overconfident(3)
    shifted = logits + np.array([2.0, 0.0, -1.0])
    found = fit_scaling("platt", shifted, truth, np.ones(400))
    best = slow_loss(found, shifted, truth)
    rng = np.random.default_rng(0)
    for _ in range(20):
        moved = tuple(np.array(found.offsets) + 0.05 * rng.normal(size=3))
        assert slow_loss(Scaling("platt", found.slope, moved), shifted, truth) > best
    offsets = np.array(found.offsets) + found.slope * np.array([2.0, 0.0, -1.0])
    np.testing.assert_allclose(offsets - offsets[1], 0, atol=0.35)


@pytest.mark.parametrize("kind", KINDS)
def test_scalings_come_back_and_weights_are_counts(kind: str) -> None:
    logits, truth, _ = overconfident(3)
    weights = np.random.default_rng(1).integers(1, 4, 400)
    found = fit_scaling(kind, logits, truth, weights.astype(float))
    rows = np.repeat(np.arange(400), weights)
    repeated = fit_scaling(kind, logits[rows], truth[rows], np.ones(len(rows)))
    np.testing.assert_allclose(found(logits), repeated(logits), atol=1e-4)
    again = Scaling.from_json(found.as_json())
    assert (again(logits) == found(logits)).all()
    assert unscaled(3)(logits) == pytest.approx(special.softmax(logits, axis=1))


def test_a_few_rows_without_error_give_no_certainty_and_no_ranking_is_turned_round() -> None:
    logits = np.array([[2.0, -2.0], [1.0, -1.0], [-1.0, 1.0], [-2.0, 2.0]])
    right = fit_scaling("temperature", logits, np.array([0, 0, 1, 1]), np.ones(4))
    assert right(logits).max() < 0.9
    wrong = fit_scaling("temperature", logits, np.array([1, 1, 0, 0]), np.ones(4))
    assert wrong.slope > 0
    np.testing.assert_allclose(wrong(logits), 0.5, atol=0.01)


def test_patients_have_one_vote_each() -> None:
    assert patient_votes(["a", "b", "a", "a"]).tolist() == [1 / 3, 1, 1 / 3, 1 / 3]


def test_brier_and_log_loss_equal_sklearn() -> None:
    logits, truth, _ = overconfident(3)
    said = special.softmax(logits, axis=1)
    expected = brier_score_loss(truth, said, labels=[0, 1, 2], scale_by_half=False)
    assert brier(truth, said, WHOLE)[0] == pytest.approx(expected, abs=1e-12)
    assert log_loss(truth, said, WHOLE)[0] == pytest.approx(sklearn_log_loss(truth, said))


def test_reliability_equals_sklearn_and_its_error_a_slow_loop() -> None:
    logits, truth, _ = overconfident(2)
    said = special.softmax(logits, axis=1)[:, 1]
    hit = truth == 1
    bins = reliability(hit, said)
    seen, mean = calibration_curve(hit, said, n_bins=10)
    assert [b.seen for b in bins] == pytest.approx(seen.tolist())
    assert [b.said for b in bins] == pytest.approx(mean.tolist())
    assert sum(b.rows for b in bins) == 400
    expected = sum(b.rows / 400 * abs(b.seen - b.said) for b in bins)
    assert calibration_error(hit, said, WHOLE)[0] == pytest.approx(expected, abs=1e-12)
    # A draw counts rows as often as it drew them.
    weights = np.random.default_rng(0).integers(0, 3, 400)
    rows = np.repeat(np.arange(400), weights)
    drawn = calibration_error(hit[rows], said[rows], np.ones((1, len(rows))))[0]
    both = calibration_error(hit, said, np.stack([weights.astype(float), np.ones(400)]))
    assert both == pytest.approx([drawn, expected])


def test_mending_lessens_the_calibration_error() -> None:
    logits, truth, _ = overconfident(2)
    half = np.arange(400) < 200
    found = fit_scaling("temperature", logits[half], truth[half], np.ones(200))
    raw, mended = special.softmax(logits, axis=1), found(logits)
    errors = [
        calibration_error(truth[~half] == 1, p[~half, 1], np.ones((1, 200)))[0]
        for p in (raw, mended)
    ]
    assert errors[1] < 0.6 * errors[0]
