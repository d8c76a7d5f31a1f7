"""Limits of the ejection fraction, and the classes between them, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from echocli.api._lvef.cuts import CUTS, class_agreement, cut_figures

RNG = np.random.default_rng(0)
MEASURED = np.r_[35.0, 40.0, 50.0, RNG.uniform(20, 70, 57)]
PREDICTED = np.r_[34.9, 40.0, 49.9, MEASURED[3:] + RNG.normal(0, 8, 57)]
PATIENTS = (np.arange(60) // 2).astype(str)
HOW = {"seed": 0, "draws": 200}
LOW = {
    "below_35": (MEASURED < 35, PREDICTED < 35),
    "at_most_40": (MEASURED <= 40, PREDICTED <= 40),
    "below_50": (MEASURED < 50, PREDICTED < 50),
}


def test_sensitivity_and_specificity_at_each_limit_equal_sklearn_and_count_their_rows() -> None:
    found = cut_figures(MEASURED, PREDICTED, PATIENTS, HOW)
    assert set(found["cuts"]) == set(CUTS) == set(LOW)
    for name, (low, called) in LOW.items():
        cut = found["cuts"][name]
        for figure, label in (("sensitivity", True), ("specificity", False)):
            recall = metrics.recall_score(low, called, pos_label=label)
            assert cut[figure]["value"] == pytest.approx(recall)
            assert cut[figure]["low"] < recall < cut[figure]["high"]
            assert cut[figure]["rows"] == (low == label).sum()
            assert cut[figure]["patients"] == len(set(PATIENTS[low == label]))
        area = metrics.roc_auc_score(low, -PREDICTED)
        assert found["auroc"][name]["value"] == pytest.approx(area)
        assert found["auroc"][name]["positive"] == low.sum()


def test_a_limit_that_nobody_is_below_has_no_sensitivity() -> None:
    well = np.linspace(55, 70, 60)
    found = cut_figures(well, PREDICTED, PATIENTS, HOW)
    assert found["auroc"] == {}
    assert all(set(cut) == {"specificity"} for cut in found["cuts"].values())


def test_classes_of_heart_failure_agree_as_sklearn_says() -> None:
    found = class_agreement(MEASURED, PREDICTED, PATIENTS, HOW)
    # 40 and less, above 40 and below 50, 50 and more.
    truth, called = (
        2 - (x <= 40).astype(int) - (x < 50).astype(int) for x in (MEASURED, PREDICTED)
    )
    assert found["confusion"] == metrics.confusion_matrix(truth, called).tolist()
    for name, weights in (("kappa", None), ("kappa_quadratic", "quadratic")):
        expected = metrics.cohen_kappa_score(truth, called, weights=weights)
        assert found[name]["value"] == pytest.approx(expected)
        assert found[name]["low"] < expected < found[name]["high"]
