from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from echocli.statistics.bootstrap import patient_weights
from echocli.statistics.kappa import LINEAR, NOMINAL, QUADRATIC, kappa

PATIENTS = np.arange(90) // 3
TRUTH = np.random.default_rng(0).integers(0, 4, 90)
CALLED = np.clip(TRUTH + np.random.default_rng(1).integers(-1, 2, 90), 0, 3)


@pytest.mark.parametrize(
    ("power", "theirs"), [(NOMINAL, None), (LINEAR, "linear"), (QUADRATIC, "quadratic")]
)
def test_every_draw_equals_sklearn_on_the_drawn_rows(power: int, theirs: str | None) -> None:
    weights = np.concatenate(list(patient_weights(PATIENTS, seed=2, draws=20)))
    ours = kappa(TRUTH, CALLED, 4, weights, power)
    for value, counts in zip(ours, weights.astype(int), strict=True):
        truth, called = np.repeat(TRUTH, counts), np.repeat(CALLED, counts)
        expected = cohen_kappa_score(truth, called, labels=range(4), weights=theirs)
        assert value == pytest.approx(expected, abs=1e-12)


def test_chance_is_zero_perfection_is_one_and_a_single_class_has_none() -> None:
    once = np.ones((1, 4))
    truth = np.array([0, 0, 1, 1])
    assert kappa(truth, np.array([0, 1, 0, 1]), 2, once)[0] == pytest.approx(0)
    assert kappa(truth, truth, 2, once)[0] == 1
    assert np.isnan(kappa(np.zeros(4, int), np.zeros(4, int), 2, once)[0])
