from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from echocli.statistics import classification as ours
from echocli.statistics.bootstrap import patient_weights

GENERATOR = np.random.default_rng(0)
POSITIVE = GENERATOR.random(80) < 0.3
SCORES = np.round(GENERATOR.normal(size=80) + POSITIVE, 1)  # one decimal: many ties
CALLED = SCORES > 0.7
PATIENTS = np.arange(80) // 3


def test_figures_equal_sklearn_with_ties() -> None:
    result = ours.classification(POSITIVE, SCORES, CALLED, PATIENTS, seed=0, draws=20)
    theirs = {
        "auroc": metrics.roc_auc_score(POSITIVE, SCORES),
        "auprc": metrics.average_precision_score(POSITIVE, SCORES),
        "balanced_accuracy": metrics.balanced_accuracy_score(POSITIVE, CALLED),
        "f1": metrics.f1_score(POSITIVE, CALLED),
        "sensitivity": metrics.recall_score(POSITIVE, CALLED),
        "specificity": metrics.recall_score(~POSITIVE, ~CALLED),
    }
    assert set(result) == set(theirs)
    for name, value in theirs.items():
        assert result[name].value == pytest.approx(value, abs=1e-12), name


def test_every_draw_equals_sklearn_on_the_drawn_rows() -> None:
    weights = np.concatenate(list(patient_weights(PATIENTS, seed=1, draws=30)))
    areas = ours.auroc(POSITIVE, SCORES, weights)
    precisions = ours.average_precision(POSITIVE, SCORES, weights)
    scores = ours.f1(POSITIVE, CALLED, weights)
    for draw, row in enumerate(weights.astype(int)):
        y, s, c = (np.repeat(values, row) for values in (POSITIVE, SCORES, CALLED))
        assert areas[draw] == pytest.approx(metrics.roc_auc_score(y, s))
        assert precisions[draw] == pytest.approx(metrics.average_precision_score(y, s))
        assert scores[draw] == pytest.approx(metrics.f1_score(y, c))


def test_auroc_is_the_chance_that_a_positive_scores_higher() -> None:
    wins = [(p > n) + 0.5 * (p == n) for p in SCORES[POSITIVE] for n in SCORES[~POSITIVE]]
    assert ours.auroc(POSITIVE, SCORES, np.ones((1, 80)))[0] == pytest.approx(np.mean(wins))


def test_one_class_gives_no_figure_instead_of_a_wrong_one() -> None:
    none = np.zeros(80, dtype=bool)
    result = ours.classification(none, SCORES, CALLED, PATIENTS, seed=0, draws=20)
    for name in ("auroc", "auprc", "balanced_accuracy", "f1", "sensitivity"):
        assert result[name].as_json() == {"value": None, "low": None, "high": None}
    assert result["specificity"].value == pytest.approx(np.mean(~CALLED))


def test_without_a_threshold_only_its_own_figures_are_given() -> None:
    result = ours.classification(POSITIVE, SCORES, None, PATIENTS, seed=0, draws=20)
    assert set(result) == {"auroc", "auprc"}


def test_nan_scores_and_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        ours.classification(POSITIVE, np.full(80, np.nan), None, PATIENTS, seed=0)
    with pytest.raises(ValueError, match="79 patients"):
        ours.classification(POSITIVE, SCORES, None, PATIENTS[:-1], seed=0)
