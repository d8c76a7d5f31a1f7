"""Two heads compared on the same frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_hearts import clip, write_clips, write_model
from scipy import stats

from echocli.api import segment
from echocli.api._compare import compare_means
from echocli.api._segment.load import open_head
from echocli.api.segment import SegmentConfig
from echocli.clips.store import ClipSet
from echocli.console import SILENT
from echocli.errors import EchoError
from echocli.models.tasks.segmentation import SegmentationConfig


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    clips = write_clips(folder / "clips", [clip(n, scale=n != 9) for n in range(35)])
    model = write_model(folder / "model")
    for name, steps in (("good", 60), ("poor", 4)):
        how = SegmentConfig(draws=2, head=SegmentationConfig(steps=steps, batch=8))
        segment.fit(clips, model, folder / name, config=how)
    return folder


def test_differences_are_those_of_the_same_frames(study: Path) -> None:
    against = study / "poor"
    summary = segment.evaluate(study / "clips", study / "good", against=against, draws=400)
    found = summary.summary["against"]
    assert found["head"] == str(against)
    assert found["test"] == {"frames": 14, "patients": 7}
    clips, table = ClipSet.open(study / "clips"), []
    for name in ("good", "poor"):
        labeller, _ = open_head(study / name, None, "auto", "auto", SILENT)
        for one in labeller.tested(clips, np.flatnonzero(clips.manifest["split"] == "test")):
            figures = one.regions["lv_myocardium"]
            table.append((name, one.row, figures["dice"], figures["hd95_mm"]))
    slow = pd.DataFrame(table, columns=["head", "row", "dice", "hd95_mm"])
    for figure in ("dice", "hd95_mm"):
        one = found["metrics"][figure]["lv_myocardium"]
        of_head = slow.groupby("head")[figure].mean()
        assert one["value"] == pytest.approx(of_head["good"])
        assert one["other"] == pytest.approx(of_head["poor"])
        assert one["value"] != one["other"]
        assert one["difference"]["value"] == pytest.approx(of_head["good"] - of_head["poor"])
        assert one["difference"]["low"] < one["difference"]["value"] < one["difference"]["high"]
        patients = slow.groupby(["head", "row"])[figure].mean().unstack("head").dropna()
        expected = stats.wilcoxon(patients["good"] - patients["poor"]).pvalue
        assert one["wilcoxon_p_value"] == pytest.approx(expected)
        assert one["patients"] == len(patients)
        assert 0 < one["p_value"] <= 1
    assert found["metrics"]["hd95_mm"]["lv_myocardium"]["rows"] == 12  # one has no scale
    nothing = found["metrics"]["dice"]["left_atrium"]
    assert (nothing["rows"], nothing["p_value"], nothing["difference"]["value"]) == (
        *(0, None, None),
    )
    # What stands beside is as without the other head.
    alone = segment.evaluate(study / "clips", study / "good", draws=400).summary
    assert summary.summary["metrics"] == alone["metrics"]


def test_a_head_does_not_differ_from_itself(study: Path) -> None:
    one = segment.evaluate(study / "clips", study / "good", against=study / "good", draws=50)
    for figure in one.summary["against"]["metrics"].values():
        same = figure["lv_cavity"]
        assert same["difference"]["value"] == same["difference"]["high"] == 0
        assert same["p_value"] == same["wilcoxon_p_value"] == 1


def test_patients_that_the_other_head_has_seen_do_not_count(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = study / "clips"
    how = SegmentConfig(draws=2, head=SegmentationConfig(steps=2))
    moved = [clip(n) for n in (4, 10, 11)]  # 4 is a test patient of the first head
    moved[0].labels["split"] = "train"
    learnt = write_clips(tmp_path / "learnt", moved)
    segment.fit(learnt, study / "model", tmp_path / "other", config=how)
    one = segment.evaluate(clips, study / "good", against=tmp_path / "other", draws=50)
    assert one.summary["test"]["patients"] == 7
    assert one.summary["against"]["test"] == {"frames": 12, "patients": 6}
    only = write_clips(tmp_path / "only", [clip(4)])
    monkeypatch.setattr("echocli.api._segment.labeller.Labeller.tested", None)
    with pytest.raises(EchoError, match="neither"):
        segment.evaluate(only, study / "good", against=tmp_path / "other", draws=50)


def test_rows_that_one_head_leaves_undefined_are_no_pairs() -> None:
    ours, theirs = np.array([0.5, np.nan, 0.7, 0.9]), np.array([0.4, 0.1, np.nan, 0.9])
    found = compare_means(ours, theirs, np.array(list("abcd")), seed=0, draws=50)
    assert (found["rows"], found["patients"]) == (2, 2)
    assert found["value"] == pytest.approx(0.7)
    assert found["difference"]["value"] == pytest.approx(0.05)
