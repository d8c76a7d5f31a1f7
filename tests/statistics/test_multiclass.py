from __future__ import annotations

import numpy as np
import pytest
from scipy import special
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

from echocli.statistics.bootstrap import patient_weights
from echocli.statistics.multiclass import (
    class_figures,
    class_metrics,
    confusion,
    youden_threshold,
)

PATIENTS = np.arange(150) // 3


def said_of(classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.r_[np.arange(classes), rng.integers(0, classes, 150 - classes)]
    logits = rng.normal(size=(150, classes)) + 1.2 * np.eye(classes)[truth]
    return truth, special.softmax(np.round(logits, 1), axis=1)


def test_figures_of_several_classes_equal_sklearn() -> None:
    truth, said = said_of(4)
    called = said.argmax(axis=1)
    found = class_figures(truth, said, called, PATIENTS, positive=None, seed=0, draws=50)
    values = {name: interval.value for name, interval in found.items()}
    one_hot = np.eye(4)[truth]
    assert values["auroc"] == pytest.approx(
        metrics.roc_auc_score(truth, said, multi_class="ovr"), abs=1e-9
    )
    assert values["auprc"] == pytest.approx(
        metrics.average_precision_score(one_hot, said, average="macro"), abs=1e-9
    )
    assert values["f1"] == pytest.approx(metrics.f1_score(truth, called, average="macro"))
    balanced = metrics.balanced_accuracy_score(truth, called)
    assert values["balanced_accuracy"] == pytest.approx(balanced)
    assert values["accuracy"] == pytest.approx(metrics.accuracy_score(truth, called))
    assert all(i.low <= i.value <= i.high for i in (found["auroc"], found["accuracy"]))
    assert values["kappa"] == pytest.approx(metrics.cohen_kappa_score(truth, called))
    assert not {"sensitivity", "calibration_slope"} & set(found)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 0, 3, 1]])
def test_weighted_kappas_of_ordered_classes_equal_sklearn(order: list[int]) -> None:
    truth, said = said_of(4)
    called = said.argmax(axis=1)
    found = class_figures(
        truth, said, called, PATIENTS, positive=None, order=order, seed=0, draws=20
    )
    for name, weights in (("kappa_linear", "linear"), ("kappa_quadratic", "quadratic")):
        expected = metrics.cohen_kappa_score(truth, called, labels=order, weights=weights)
        assert found[name].value == pytest.approx(expected, abs=1e-12)
        assert found[name].low < found[name].value < found[name].high


def test_classes_without_an_order_and_two_classes_have_no_weighted_kappa() -> None:
    truth, said = said_of(3)
    called = said.argmax(axis=1)
    assert "kappa_linear" not in class_metrics(truth, said, called, None)
    truth, said = said_of(2)
    assert "kappa_linear" not in class_metrics(truth, said, truth, 1, [0, 1])


def test_figures_of_two_classes_equal_sklearn() -> None:
    truth, said = said_of(2)
    called = (said[:, 0] < 0.7).astype(int)  # class 0 is looked for
    found = class_figures(truth, said, called, PATIENTS, positive=0, seed=0, draws=20)
    values = {name: interval.value for name, interval in found.items()}
    flags, calls = truth == 0, called == 0
    assert values["auroc"] == pytest.approx(metrics.roc_auc_score(flags, said[:, 0]))
    expected = metrics.average_precision_score(flags, said[:, 0])
    assert values["auprc"] == pytest.approx(expected)
    assert values["f1"] == pytest.approx(metrics.f1_score(flags, calls))
    assert values["sensitivity"] == pytest.approx(metrics.recall_score(flags, calls))
    assert values["specificity"] == pytest.approx(metrics.recall_score(~flags, ~calls))
    balanced = metrics.balanced_accuracy_score(truth, called)
    assert values["balanced_accuracy"] == pytest.approx(balanced)
    line = LogisticRegression(C=np.inf, tol=1e-9).fit(special.logit(said[:, [0]]), flags)
    assert values["calibration_slope"] == pytest.approx(line.coef_[0, 0], abs=1e-5)
    bent = special.expit(special.logit(said[:, 0]) + values["calibration_intercept"])
    assert bent.mean() == pytest.approx(flags.mean())


def test_weights_are_counts_of_rows() -> None:
    truth, said = said_of(3)
    called = said.argmax(axis=1)
    weights = next(patient_weights(PATIENTS, seed=1, draws=4))
    for name, metric in class_metrics(truth, said, called, None).items():
        found = metric(weights)
        for value, counts in zip(found, weights.astype(int), strict=True):
            rows = np.repeat(np.arange(150), counts)
            again = class_metrics(truth[rows], said[rows], called[rows], None)[name]
            assert value == pytest.approx(again(np.ones((1, len(rows))))[0]), name


def test_a_class_that_a_draw_lacks_does_not_count() -> None:
    truth, said = np.array([0, 0, 1, 1]), np.eye(3)[[0, 0, 1, 1]]
    found = class_metrics(truth, said, truth, None)
    assert found["auroc"](np.ones((1, 4)))[0] == 1.0
    assert np.isnan(found["auroc"](np.array([[1.0, 1.0, 0.0, 0.0]]))[0])


def test_whoever_calls_all_alike_has_a_balanced_accuracy_of_one_half_in_every_draw() -> None:
    truth = np.array([0] * 7 + [1] * 3)
    said = np.tile([0.4, 0.6], (10, 1))
    found = class_figures(
        truth, said, said.argmax(axis=1), np.arange(10), positive=1, seed=0, draws=500
    )["balanced_accuracy"]
    # A draw of one class alone knows no balance: one in thirty draws here.
    assert found.value == 0.5
    assert not np.isfinite([found.low, found.high]).any()


def test_confusion_equals_sklearn_and_bad_probabilities_are_refused() -> None:
    truth, said = said_of(3)
    called = said.argmax(axis=1)
    expected = metrics.confusion_matrix(truth, called).tolist()
    assert confusion(truth, called, 3) == expected
    with pytest.raises(ValueError, match="sum to 1"):
        class_figures(truth, 2 * said, called, PATIENTS, positive=None, seed=0)


@pytest.mark.parametrize("seed", range(6))
def test_youdens_threshold_is_the_best_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.r_[True, False, rng.random(38) < 0.4]
    scores = np.round(truth + rng.normal(size=40), 1)
    weights = rng.integers(1, 4, 40).astype(float)
    limit = youden_threshold(truth, scores, weights)

    def gain(at: float) -> float:
        called = scores > at
        hits = np.average(called[truth], weights=weights[truth])
        return float(hits - np.average(called[~truth], weights=weights[~truth]))

    assert gain(limit) == pytest.approx(max(gain(s - 0.01) for s in scores))
    assert limit not in scores
    with pytest.raises(ValueError, match="both kinds"):
        youden_threshold(np.ones(40, bool), scores, weights)
