"""Probes that look at a study's views together, and probes of a share of the labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ears import Ears
from micro import micro_clip, write_clips

from echocli.api import classify, lvef
from echocli.api._units import studies
from echocli.api.verify import verify
from echocli.checkpoint import save_model
from echocli.clips.contract import DataConfig
from echocli.clips.record import Clip
from echocli.clips.store import ClipSet
from echocli.console import SILENT
from echocli.errors import EchoError, UsageError
from echocli.models.finetune import FitConfig
from echocli.models.vit import VisionTransformer, ViTConfig

FIT = FitConfig(least_steps=10, epochs=1, batch=8, lr=3e-3, checks=2)
VIEWS: dict[str, Any] = {"probe": "attentive", "views": ("A4C", "A2C"), "windows": 2}
LVEF = lvef.LvefConfig(**VIEWS, clips_a_view=2, attentive=FIT, draws=20)
SPLITS = ("train", "train", "train", "val", "test")


def clip(number: int, study: int, view: str | None, **labels: Any) -> Clip:
    known = {
        "view": view,
        "ef_percent": 30.0 + study % 40,
        "normal": study % 2 == 0,
        "split": SPLITS[study % 5],
        **labels,
    }
    who = {"patient_id": f"p{study:02d}", "study_id": f"s{study:02d}"}
    return micro_clip(number, **who, labels=known)


def hearts(count: int) -> list[Clip]:
    """Two A4C and one A2C clip of each study; every fourth lacks the A2C."""
    clips = []
    for study in range(count):
        views = ["A4C", "A4C", "A2C"] if study % 4 else ["A4C", "PLAX"]
        clips += [clip(10 * study + i, study, view) for i, view in enumerate(views)]
    return clips


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_clips(folder / "clips", hearts(20))
    config = ViTConfig(frames=4, size=32, tubelet=(2, 8, 8), dim=48, depth=1, heads=3)
    encoder = VisionTransformer(config, torch.Generator().manual_seed(0))
    data = DataConfig(frames=4, size=32, seconds=0.4)
    save_model(folder / "model", encoder, data, "vjepa", {"clip_size": 32})
    for task, api in (("lvef", lvef), ("normal", classify)):
        made = LVEF if task == "lvef" else classify.ClassifyConfig(**VIEWS, attentive=FIT)
        api.fit(folder / "clips", folder / "model", folder / "heads" / task, config=made)
    return folder


@pytest.fixture(scope="module")
def predicted(study: Path) -> pd.DataFrame:
    out = study / "predictions/lvef.csv"
    lvef.predict(study / "clips", study / "heads/lvef", out, draws=20, precision="fp32")
    assert verify(out).whole
    return pd.read_csv(out)


def test_a_head_tells_what_it_looks_at(study: Path) -> None:
    config = json.loads((study / "heads/lvef/config.json").read_text())
    assert config["views"] == ["A4C", "A2C"]
    assert (config["clips_a_view"], config["view_dropout"]) == (2, 0.1)
    assert config["n"]["train"] == {"clips": 30, "patients": 12, "studies": 12}
    assert config["test"]["studies"] == 4
    assert verify(study / "heads/lvef").whole


def test_a_study_has_one_row_and_a_missing_view_is_said(
    study: Path, predicted: pd.DataFrame
) -> None:
    assert len(predicted) == 20
    lacking = predicted["study_id"].str[1:].astype(int) % 4 == 0
    assert (predicted["views"] == np.where(lacking, "A4C", "A4C+A2C")).all()
    assert (predicted["clips"] == np.where(lacking, 1, 3)).all()
    assert predicted["ef_percent"].between(0, 100).all()
    assert (predicted["measured_ef_percent"] == 30 + predicted.index % 40).all()
    listener = Ears()
    lvef.predict(study / "clips", study / "heads/lvef", draws=2, reporter=listener)
    assert any("5 of 20 study(ies) lack a view (A2C in 5)" in said for said in listener.heard)


def test_neither_order_nor_company_changes_a_study(
    study: Path, predicted: pd.DataFrame, tmp_path: Path
) -> None:
    write_clips(tmp_path / "clips", hearts(20)[::-1][:30])
    found = lvef.predict(
        tmp_path / "clips", study / "heads/lvef", draws=2, precision="fp32"
    ).table
    same = predicted.set_index("study_id").loc[found["study_id"]]
    whole = found["clips"].to_numpy() == same["clips"].to_numpy()
    assert whole.sum() >= 9
    np.testing.assert_allclose(found["ef_percent"][whole], same["ef_percent"][whole], atol=1e-3)


def test_a_study_without_any_of_the_views_is_left_out_by_name(
    study: Path, tmp_path: Path
) -> None:
    clips = [clip(0, 1, "A4C"), clip(1, 2, "PLAX"), clip(2, 3, None)]
    write_clips(tmp_path / "clips", clips)
    found = lvef.predict(tmp_path / "clips", study / "heads/lvef", draws=2)
    assert list(found.table["study_id"]) == ["s01"]
    told = {entry["clip_id"]: entry["reason"] for entry in found.left_out}
    assert told == dict.fromkeys(["c001", "c002"], "its study has no clip of A4C or A2C")
    write_clips(tmp_path / "none", clips[1:])
    with pytest.raises(EchoError, match="they are of PLAX"):
        lvef.predict(tmp_path / "none", study / "heads/lvef")


def test_surplus_clips_and_labels_that_differ_are_said(tmp_path: Path) -> None:
    clips = [clip(n, 1, "A4C", ef_percent=40.0 + 10 * n) for n in range(3)]
    opened = write_clips(tmp_path / "clips", clips)
    listener = Ears()
    units, left_out = studies(opened, ("A4C", "A2C"), 2, listener)
    assert units.places is not None
    assert units.places.tolist() == [[0, 1, -1, -1]]
    assert not left_out
    assert any("1 clip(s) find no place" in said for said in listener.heard)
    assert units.mean_of(np.array([40.0, np.nan, 60.0])).tolist() == [40.0]
    assert units.one_of(np.array(["a", None, "b"], object)).tolist() == ["a"]
    assert units.one_of(np.array(["a", "b", None], object)).tolist() == [None]
    together, _ = studies(opened, ("A4C",), 3, SILENT)
    measured = lvef.measured_of(opened, together, listener)
    assert measured.tolist() == [50.0]
    assert any("differ in ef_percent" in said for said in listener.heard)


def test_classes_are_told_of_studies(study: Path) -> None:
    found = classify.predict(study / "clips", study / "heads/normal", draws=20)
    assert list(found.table)[:4] == ["study_id", "patient_id", "views", "clips"]
    assert len(found.table) == 20
    assert found.summary["test"]["studies"] == 4
    np.testing.assert_allclose(found.table[["p_false", "p_true"]].sum(axis=1), 1)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"probe": "ridge"}, "attentive"),
        ({"views": ("A4C", "A4C")}, "twice"),
        ({"clips_a_view": 0}, "--clips-a-view"),
        ({"view_dropout": 1.0}, "--view-dropout"),
        ({"label_fraction": 0.0}, "--label-fraction"),
        ({"label_fraction": 1.5}, "--label-fraction"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as caught:
        lvef.LvefConfig(**{**VIEWS, **wrong})
    assert told in f"{caught.value.problem} {caught.value.remedy}"


def test_a_view_that_no_clip_has_is_refused_with_those_there_are(
    study: Path, tmp_path: Path
) -> None:
    config = lvef.LvefConfig(probe="attentive", views=("A4C", "A3C"))
    with pytest.raises(UsageError, match="view A3C; there are A2C, A4C, PLAX"):
        lvef.fit(study / "clips", study / "model", tmp_path / "head", config=config)
    assert not (tmp_path / "head").exists()


def test_a_share_of_the_labels_is_nested_and_the_test_stays(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: dict[str, set[str]] = {}
    fit_probe = lvef.fit_probe

    def watched(lesson: Any) -> Any:
        used[name] = set(lesson.units.patients[lesson.train].tolist())
        return fit_probe(lesson)

    monkeypatch.setattr(lvef, "fit_probe", watched)
    configs = {}
    for name, share in (("all", 1.0), ("half", 0.5), ("quarter", 0.25)):
        settings = lvef.LvefConfig(label_fraction=share, draws=20)
        head = lvef.fit(study / "clips", study / "model", tmp_path / name, config=settings)
        configs[name] = head.config
        assert head.config["label_fraction"] == share
        assert head.config["n"]["train"]["patients"] == len(used[name]) == 12 * share
        assert head.config["patients"] == configs["all"]["patients"]
        assert head.config["test"] == configs["all"]["test"]
    assert used["quarter"] < used["half"] < used["all"]
    settings = classify.ClassifyConfig(label_fraction=0.5, draws=20)
    head = classify.fit(study / "clips", study / "model", tmp_path / "c", config=settings)
    assert head.config["label_fraction"] == 0.5
    assert head.config["n"]["train"]["patients"] == 6


def test_a_patient_in_two_splits_is_refused(study: Path, tmp_path: Path) -> None:
    clips = [clip(n, n % 6, "A4C") for n in range(11)]
    clips.append(clip(11, 5, "A4C", split="test"))
    write_clips(tmp_path / "clips", clips)
    for api in (lvef, classify):
        with pytest.raises(EchoError, match="split"):
            api.fit(tmp_path / "clips", study / "model", tmp_path / "head")
    assert not (tmp_path / "head").exists()


def test_impossible_values_are_refused_where_a_head_is_asked_too(
    study: Path, tmp_path: Path
) -> None:
    write_clips(tmp_path / "clips", [clip(0, 4, "A4C", ef_percent=180.0)])
    out = tmp_path / "lvef.csv"
    with pytest.raises(EchoError, match="outside 0 to 100, first clip c000 with 180"):
        lvef.predict(tmp_path / "clips", study / "heads/lvef", out)
    assert not out.exists()
    assert len(ClipSet.open(tmp_path / "clips")) == 1
