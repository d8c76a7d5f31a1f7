"""Two heads of a probe compared on the same clips: ejection fractions, classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_hearts import clip, write_clips, write_model
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, root_mean_squared_error

from echocli.api import classify, lvef
from echocli.api._classify.figures import by_patient
from echocli.clips.record import Clip
from echocli.errors import EchoError
from echocli.statistics.delong import delong_test

DRAWS = 50
RIDGE = lvef.LvefConfig(draws=2, windows=1)


def heart(number: int) -> Clip:
    """Return one of the two clips of a patient."""
    patient = number // 2
    made = clip(number)
    ef = made.labels["ef_percent"]
    assert isinstance(ef, float)
    split = ("train", "train", "train", "val", "test")[patient % 5]
    labels = {
        "ef_percent": ef,
        "split": split,
        "normal": patient % 2 == 0,
        "view": ("A2C", "A4C", "PLAX")[patient % 3],
    }
    return replace(made, patient_id=f"patient{patient:02d}", labels=labels)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    clips = write_clips(folder / "clips", [heart(number) for number in range(60)])
    for name, seed in (("one", 0), ("two", 1)):
        model = write_model(folder / name, seed)
        lvef.fit(clips, model, folder / f"ef-{name}", config=RIDGE)
        for label in ("normal", "view"):
            config = classify.ClassifyConfig(label=label, draws=2, windows=1)
            classify.fit(clips, model, folder / f"{label}-{name}", config=config)
    return folder


def predicted(study: Path, name: str) -> pd.DataFrame:
    table = lvef.predict(study / "clips", study / f"ef-{name}", draws=2).table
    return table[table["split"] == "test"].reset_index(drop=True)


def test_errors_and_areas_of_ejection_fractions_are_those_of_the_same_clips(
    study: Path,
) -> None:
    other = study / "ef-two"
    found = lvef.evaluate(study / "clips", study / "ef-one", against=other, draws=DRAWS)
    against = found.summary["against"]
    assert against["head"] == str(other)
    assert against["test"] == {"clips": 12, "patients": 6}
    one, two = predicted(study, "one"), predicted(study, "two")
    assert list(one["clip_id"]) == list(two["clip_id"])
    truth = one["measured_ef_percent"]
    errors = [(table["ef_percent"] - truth).abs() for table in (one, two)]
    mae = against["metrics"]["mae"]["ef_percent"]
    assert mae["value"] == pytest.approx(errors[0].mean())
    assert mae["other"] == pytest.approx(errors[1].mean())
    assert mae["value"] != mae["other"]
    apart = (errors[0] - errors[1]).groupby(one["patient_id"]).mean()
    assert mae["wilcoxon_p_value"] == pytest.approx(stats.wilcoxon(apart).pvalue)
    rmse = against["metrics"]["rmse"]["ef_percent"]
    assert rmse["other"] == pytest.approx(root_mean_squared_error(truth, two["ef_percent"]))
    assert rmse["wilcoxon_p_value"] is None
    area = against["metrics"]["auroc"]["below_50"]
    expected = delong_test(
        (truth < 50).to_numpy(),
        -one["ef_percent"].to_numpy(),
        -two["ef_percent"].to_numpy(),
        one["patient_id"].to_numpy(),
    )
    assert area["value"] == pytest.approx(expected.first)
    assert area["p_value"] == pytest.approx(expected.p_value)


def test_classes_are_compared_clip_by_clip_and_patient_by_patient(study: Path) -> None:
    other = study / "normal-two"
    heads = study / "normal-one", other
    found = classify.evaluate(study / "clips", heads[0], against=other, draws=DRAWS)
    against = found.summary["against"]
    assert against["test"] == {"clips": 12, "patients": 6}
    tables = [classify.predict(study / "clips", head, draws=2).table for head in heads]
    one, two = (table[table["split"] == "test"] for table in tables)
    expected = delong_test(
        (one["label"] == "false").to_numpy(),
        one["p_false"].to_numpy(),
        two["p_false"].to_numpy(),
        one["patient_id"].to_numpy(),
    )
    area = against["metrics"]["auroc"]["clips"]
    assert (area["value"], area["other"]) == pytest.approx((expected.first, expected.second))
    assert area["p_value"] == pytest.approx(expected.p_value)
    calls = against["metrics"]["balanced_accuracy"]["clips"]
    truth = one["label"]
    assert calls["value"] == pytest.approx(balanced_accuracy_score(truth, one["predicted"]))
    assert calls["other"] == pytest.approx(balanced_accuracy_score(truth, two["predicted"]))
    codes = (truth == "false").to_numpy(dtype=np.int64)
    owners = one["patient_id"].to_numpy(dtype=np.str_)
    means = [
        by_patient(table[["p_false"]].to_numpy(), codes, owners).probabilities[:, 0]
        for table in (one, two)
    ]
    truths = pd.Series(codes).groupby(owners).first().to_numpy() == 1
    of_patients = against["metrics"]["auroc"]["patients"]
    assert of_patients["rows"] == 6
    assert of_patients["p_value"] == pytest.approx(delong_test(truths, *means).p_value)


def test_of_several_classes_each_has_its_area(study: Path) -> None:
    found = classify.evaluate(
        study / "clips", study / "view-one", against=study / "view-two", draws=20
    )
    areas = found.summary["against"]["metrics"]["auroc"]
    assert {"A2C, clips", "A4C, clips", "PLAX, patients"} <= set(areas)
    assert "sensitivity" not in found.summary["against"]["metrics"]


@pytest.mark.parametrize("task", ["ef", "normal"])
def test_a_head_does_not_differ_from_itself(study: Path, task: str) -> None:
    evaluate = lvef.evaluate if task == "ef" else classify.evaluate
    head = study / f"{task}-one"
    found = evaluate(study / "clips", head, against=head, draws=20).summary["against"]
    for parts in found["metrics"].values():
        for one in parts.values():
            assert one["value"] == one["other"]
            assert one["difference"]["value"] == 0
            assert one["p_value"] in (1, None)  # of one patient there is no variance
    figure = found["metrics"]["mae" if task == "ef" else "accuracy"]
    assert [one["p_value"] for one in figure.values()] == [1] * len(figure)


def test_heads_that_cannot_be_compared_are_refused_by_name_before_anything_is_encoded(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echocli.api._look.ask_head", None)
    with pytest.raises(EchoError, match=r"view-two tells view \(A2C, A4C, PLAX\) apart"):
        classify.evaluate(study / "clips", study / "normal-one", against=study / "view-two")
    # Another split: every test patient of the first head was a training patient of this one.
    swapped = [
        replace(
            one,
            labels={**one.labels, "split": "train" if one.labels["split"] == "test" else "val"},
        )
        for one in map(heart, range(60))
    ]
    clips = write_clips(tmp_path / "clips", swapped)
    lvef.fit(clips, study / "one", tmp_path / "head", config=RIDGE)
    with pytest.raises(EchoError, match="neither this head nor"):
        lvef.evaluate(study / "clips", study / "ef-one", against=tmp_path / "head", draws=2)
    together = lvef.LvefConfig(probe="attentive", views=("A4C",), draws=2, windows=1)
    lvef.fit(study / "clips", study / "one", tmp_path / "studies", config=together)
    with pytest.raises(EchoError, match="the other study by study"):
        lvef.evaluate(study / "clips", study / "ef-one", against=tmp_path / "studies", draws=2)
