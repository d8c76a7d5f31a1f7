"""The part of a report about classes: there only where there are predictions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from echocli.api._classes import Classes
from echocli.api._classify.figures import Reading, figures
from echocli.reports.sections_classes import classes_section
from echocli.reports.sections_repeat import commands
from echocli.reports.study_reader import Results, Table
from echocli.statistics.calibration import unscaled

NAMES = ("false", "true")


def results(known: int = 60) -> Results:
    draw = np.random.default_rng(0)
    codes = draw.integers(0, 2, known)
    p = np.clip(0.5 + 0.3 * (codes - 0.5) + draw.normal(0, 0.2, known), 0.02, 0.98)
    patients = np.array([f"p{i // 2}" for i in range(known)])
    classes = Classes("normal", NAMES, 0)
    told = figures(
        np.stack([1 - p, p], axis=1),
        codes,
        patients,
        Reading(unscaled(2), 0.5, 0.5),
        classes,
        commonest=1,
        seed=3,
        draws=50,
    )
    summary = {
        "label": "normal",
        "classes": list(NAMES),
        "positive": "false",
        "threshold": {"kind": "youden", "patients": 12},
        **told,
    }
    rows = pd.DataFrame({"patient_id": patients, "split": "test"})
    head = {"label": "normal", "task": "classify"}
    return Results(classes=Table(rows, summary), heads={"classify": head})


def test_every_figure_of_the_summary_is_shown() -> None:
    found = results()
    assert found.classes is not None
    body = classes_section(found).body
    auroc = found.classes.summary["metrics"]["auroc"]["value"]
    assert f"{auroc:.3f}" in body
    assert "12 validation patients" in body
    assert "Always saying normal = true" in body
    assert body.count("<svg") == 1
    for name in NAMES:
        assert f">normal = {name}<" in body


def test_without_known_classes_there_are_no_figures() -> None:
    found = results()
    assert found.classes is not None
    found.classes.summary["metrics"] = None
    body = classes_section(found).body
    assert "no figures" in body
    assert "<svg" not in body


def test_the_label_stands_in_the_command_that_repeats_it() -> None:
    lines = commands(results())
    assert "echocli classify fit --label normal" in lines
    assert "echocli classify predict" in lines


@pytest.mark.parametrize("kind", ["even", "youden"])
def test_how_the_threshold_was_chosen_is_told(kind: str) -> None:
    found = results()
    assert found.classes is not None
    found.classes.summary["threshold"]["kind"] = kind
    assert ("too few validation" in classes_section(found).body) == (kind == "even")
