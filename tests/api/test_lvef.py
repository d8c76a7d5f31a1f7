from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from echocli.api import lvef
from echocli.api._encode import encode_clips
from echocli.api.lvef import LvefConfig
from echocli.checkpoint import load_model, save_model
from echocli.clips.contract import DataConfig
from echocli.clips.record import Clip
from echocli.clips.store import ClipSet
from echocli.clips.writer import ClipSetWriter
from echocli.errors import EchoError, SpaceError, UsageError
from echocli.models.finetune import FitConfig
from echocli.models.vit import VisionTransformer, ViTConfig

FRAMES = 10
DATA = DataConfig(frames=4, size=32, seconds=0.4)
QUICK = LvefConfig(draws=50)


def beating_disc(number: int, *, labelled: bool = True, frames: int = FRAMES) -> Clip:
    """A bright disc whose radius swings by its ejection fraction."""
    generator = np.random.default_rng(number)
    ef = float(generator.uniform(25, 75))
    rows, columns = np.mgrid[:32, :32] - 15.5
    phase = np.cos(np.linspace(0, 4 * np.pi, frames))
    radius = 10 * (1 - ef / 200 * (1 - phase) / 2 * 1.2)
    frame = 220.0 * (np.hypot(rows, columns) < radius[:, None, None])
    pixels = (frame + generator.uniform(0, 30, frame.shape)).astype(np.uint8)
    split = ("train", "train", "train", "val", "test")[number // 2 % 5]
    return Clip(
        clip_id=f"clip{number}",
        patient_id=f"patient{number // 2}",  # two clips a patient
        study_id=f"study{number}",
        source_sha256=f"source{number}",
        frames=pixels,
        sector=np.ones((32, 32), bool),
        times_s=np.linspace(0, (frames - 1) * 0.1, frames),
        time_source="dataset",
        spacing_mm=None,
        spacing_source="unknown",
        labels={
            "ef_percent": ef if labelled else None,
            "sex": ("F", "M", None)[number // 2 % 3],
            "split": split,
        },
    )


def write_clips(folder: Path, clips: list[Clip]) -> Path:
    with ClipSetWriter(folder) as writer:
        for clip in clips:
            writer.add(clip)
    return folder


def write_model(folder: Path, seed: int = 0) -> Path:
    config = ViTConfig(frames=4, size=32, tubelet=(2, 8, 8), dim=48, depth=1, heads=3)
    encoder = VisionTransformer(config, torch.Generator().manual_seed(seed))
    save_model(folder, encoder, DATA, "vjepa", {})
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    clips = [beating_disc(number, labelled=number % 11 != 0) for number in range(80)]
    write_clips(folder / "clips", clips)
    write_model(folder / "model")
    lvef.fit(folder / "clips", folder / "model", folder / "heads/lvef", config=QUICK)
    return folder


@pytest.fixture(scope="module")
def evaluated(study: Path) -> lvef.LvefPredictions:
    return lvef.evaluate(study / "clips", study / "heads/lvef", draws=50)


def head_config(study: Path) -> dict[str, Any]:
    config = json.loads((study / "heads/lvef/config.json").read_text())
    assert isinstance(config, dict)
    return config


def test_fit_and_predict_equal_sklearn_on_the_same_features(
    study: Path, evaluated: lvef.LvefPredictions
) -> None:
    config = head_config(study)
    clips, model = ClipSet.open(study / "clips"), load_model(study / "model")
    features, rows, _ = encode_clips(model, clips, pool="mean_std", windows=3)
    table = clips.manifest.iloc[rows].reset_index(drop=True)
    train = ((table["split"] == "train") & table["ef_percent"].notna()).to_numpy()
    theirs = make_pipeline(StandardScaler(), Ridge(alpha=config["alpha"]))
    theirs.fit(features[train].astype(float), table["ef_percent"][train])
    result = evaluated
    expected = theirs.predict(features.astype(float)).clip(0, 100)
    assert list(result.table["clip_id"]) == list(table["clip_id"])
    np.testing.assert_allclose(result.table["ef_percent"], expected, atol=0.02)


def test_figures_are_of_test_patients_with_the_mean_beside_them(
    study: Path, evaluated: lvef.LvefPredictions
) -> None:
    config = head_config(study)
    table = evaluated.table
    test = table[(table["split"] == "test") & table["measured_ef_percent"].notna()]
    summary = evaluated.summary
    assert summary["test"]["clips"] == len(test)
    assert summary["metrics"]["mae"]["value"] == pytest.approx(
        mean_absolute_error(test["measured_ef_percent"], test["ef_percent"])
    )
    assert summary["predict_the_mean"]["mae"]["value"] == pytest.approx(
        (test["measured_ef_percent"] - config["mean_ef_percent"]).abs().mean()
    )
    assert summary["auroc"]["below_50"]["value"] == pytest.approx(
        roc_auc_score(test["measured_ef_percent"] < 50, -test["ef_percent"])
    )
    assert summary["metrics"]["mae"]["low"] < summary["metrics"]["mae"]["high"]
    assert config["metrics"]["mae"]["value"] == pytest.approx(
        summary["metrics"]["mae"]["value"], abs=1e-4
    )
    assert summary["metrics"]["mae"]["value"] < summary["predict_the_mean"]["mae"]["value"]


def test_figures_of_parts_are_those_of_their_clips_alone(
    evaluated: lvef.LvefPredictions, study: Path
) -> None:
    parts = {part["name"]: part for part in evaluated.summary["subgroups"]["sex"]}
    assert list(parts) == ["F", "M", "unknown"]
    assert all(part["small"] for part in parts.values())
    sexes = ClipSet.open(study / "clips").manifest.set_index("clip_id")["sex"]
    table = evaluated.table.assign(sex=sexes[evaluated.table["clip_id"]].to_numpy())
    tested = table[(table["split"] == "test") & table["measured_ef_percent"].notna()]
    for sex in ("F", "M"):
        rows = tested[tested["sex"] == sex]
        difference = rows["ef_percent"] - rows["measured_ef_percent"]
        shown = parts[sex]["metrics"]
        assert parts[sex]["clips"] == len(rows)
        assert shown["mae"]["value"] == pytest.approx(difference.abs().mean())
        limit = difference.mean() - 1.96 * difference.std()
        assert shown["limit_low"]["value"] == pytest.approx(limit)
        assert shown["limit_low"]["low"] < limit < shown["limit_low"]["high"]


@pytest.mark.parametrize(
    ("numbers", "labels", "by", "words"),
    [
        (range(80), {}, ["sexe"], "There is no column sexe to divide by"),
        (range(3), {}, None, "is labelled with ef_percent"),  # of training patients alone
        (range(8, 10), {"ef_percent": 140.0}, None, "outside 0 to 100"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_anything_is_encoded(
    study: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    numbers: range,
    labels: dict[str, float],
    by: list[str] | None,
    words: str,
) -> None:
    drawn = [beating_disc(number) for number in numbers]
    drawn = [Clip(**{**vars(clip), "labels": {**clip.labels, **labels}}) for clip in drawn]
    clips = write_clips(tmp_path / "clips", drawn)
    monkeypatch.setattr("echocli.api._look.ask_head", None)
    with pytest.raises((UsageError, EchoError), match=words):
        lvef.evaluate(clips, study / "heads/lvef", by=by, draws=2)


def test_a_clip_that_returns_in_another_split_is_called_out(
    study: Path, tmp_path: Path, evaluated: lvef.LvefPredictions
) -> None:
    assert evaluated.summary["leakage"]["sources_shared"] == []
    again = beating_disc(1)  # a training clip under another name, of an invented patient
    twin = Clip(**{**vars(again), "clip_id": "twin", "patient_id": "other"})
    folder = write_clips(tmp_path / "clips", [again, beating_disc(8), twin])
    leakage = lvef.evaluate(folder, study / "heads/lvef", draws=2).summary["leakage"]
    assert leakage["sources_shared"][0]["splits"] == ["train", "test"]
    assert ["clip1", "twin"] in leakage["near_duplicates"]["first"]


def test_train_val_and_test_patients_are_apart_and_unlabelled_clips_take_no_part(
    study: Path, evaluated: lvef.LvefPredictions
) -> None:
    config = head_config(study)
    table = evaluated.table
    manifest = ClipSet.open(study / "clips").manifest.set_index("clip_id")
    official = manifest.loc[table["clip_id"], "split"].to_numpy()
    assert (table["split"] == official).all()
    train, val = (set(config["patients"][name]) for name in ("train", "val"))
    assert train.isdisjoint(val)
    assert config["n"]["train"]["clips"] == int(
        ((manifest["split"] == "train") & manifest["ef_percent"].notna()).sum()
    )


def test_intervals_are_conformal_and_say_where_they_come_from(
    study: Path, evaluated: lvef.LvefPredictions
) -> None:
    config = head_config(study)
    table = evaluated.table
    half = config["interval"]["half_width"]
    assert config["interval"]["from"] == "validation and out of fold"  # 8 patients, 9 needed
    inner = table[(table["lower"] > 0) & (table["upper"] < 100)]
    np.testing.assert_allclose(inner["upper"] - inner["lower"], 2 * half)
    known = table[table["measured_ef_percent"].notna()]
    inside = known["measured_ef_percent"].between(known["lower"], known["upper"])
    assert 0.7 < inside.mean() <= 1


def test_files_are_written_whole_and_nothing_is_clobbered(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "predictions/lvef.csv"
    result = lvef.predict(study / "clips", study / "heads/lvef", out, draws=50)
    pd.testing.assert_frame_equal(pd.read_csv(out), result.table, check_dtype=False)
    document = json.loads(out.with_suffix(".json").read_text())
    assert document["schema"] == "echocli.lvef/1"
    assert sorted(p.name for p in out.parent.iterdir()) == ["lvef.csv", "lvef.json"]
    with pytest.raises(UsageError, match="already exists"):
        lvef.predict(study / "clips", study / "heads/lvef", out)
    with pytest.raises(UsageError, match="already exists"):
        lvef.fit(study / "clips", study / "model", study / "heads/lvef")


def test_the_head_is_refused_with_another_encoder(study: Path, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other", seed=1)
    hashes = load_model(study / "model").sha256, load_model(other).sha256
    with pytest.raises(EchoError) as caught:
        lvef.predict(study / "clips", study / "heads/lvef", model=other)
    for digest in hashes:
        assert digest[:12] in caught.value.problem
    assert "echocli lvef fit" in caught.value.remedy


def test_without_labels_model_or_head_the_remedy_is_named(study: Path, tmp_path: Path) -> None:
    bare = write_clips(tmp_path / "bare", [beating_disc(n, labelled=False) for n in range(4)])
    with pytest.raises(EchoError, match=r"ef_percent.*--labels"):
        lvef.fit(bare, study / "model", tmp_path / "head")
    assert not (tmp_path / "head").exists()
    with pytest.raises(EchoError, match="echocli pretrain"):
        lvef.fit(study / "clips", tmp_path, tmp_path / "head")
    with pytest.raises(EchoError, match="echocli lvef fit"):
        lvef.predict(bare, tmp_path / "none")
    table = lvef.predict(bare, study / "heads/lvef").table
    assert "measured_ef_percent" not in table
    with pytest.raises(EchoError, match="--labels"):
        lvef.evaluate(bare, study / "heads/lvef")


@pytest.mark.parametrize(("value", "word"), [(140.0, "outside"), (0.55, "fractions")])
def test_impossible_labels_are_refused(
    study: Path, tmp_path: Path, value: float, word: str
) -> None:
    clips = [beating_disc(number) for number in range(8)]
    for clip in clips:
        clip.labels["ef_percent"] = value
    folder = write_clips(tmp_path / "clips", clips)
    with pytest.raises(EchoError, match=word):
        lvef.fit(folder, study / "model", tmp_path / "head")


def test_clips_too_short_for_a_window_are_told_not_guessed(study: Path, tmp_path: Path) -> None:
    clips = [beating_disc(100), beating_disc(102, frames=3)]
    folder = write_clips(tmp_path / "clips", clips)
    result = lvef.predict(folder, study / "heads/lvef", draws=50)
    assert list(result.table["clip_id"]) == ["clip100"]
    assert [clip["clip_id"] for clip in result.left_out] == ["clip102"]
    assert "shorter" in result.left_out[0]["reason"]


ATTENTIVE = LvefConfig(
    probe="attentive",
    windows=2,
    attentive=FitConfig(least_steps=150, epochs=1, lr=3e-3, checks=5),
    draws=50,
)


@pytest.fixture(scope="module")
def attentive(study: Path) -> Path:
    head = study / "heads/attentive"
    lvef.fit(study / "clips", study / "model", head, config=ATTENTIVE, precision="fp32")
    return head


def test_an_attentive_head_comes_back_and_predicts_as_at_its_fit(
    study: Path, attentive: Path
) -> None:
    config = json.loads((attentive / "config.json").read_text())
    assert config["probe"] == "attentive"
    assert 0 < config["step"] <= config["steps"] == 150
    result = lvef.evaluate(study / "clips", attentive, draws=50, precision="fp32")
    again, before = result.summary, config
    assert again["metrics"]["mae"]["value"] == pytest.approx(
        before["metrics"]["mae"]["value"], abs=1e-3
    )
    assert again["metrics"]["mae"]["value"] < again["predict_the_mean"]["mae"]["value"]
    assert result.table["ef_percent"].between(0, 100).all()
    assert config["interval"]["from"] == "validation and out of fold"
    assert config["interval"]["patients"] > len(config["patients"]["val"])


def test_no_tokens_stay_on_the_disk(attentive: Path) -> None:
    assert not [path.name for path in attentive.parent.iterdir() if "tokens" in path.name]


def test_an_attentive_probe_is_the_same_again(
    study: Path, attentive: Path, tmp_path: Path
) -> None:
    lvef.fit(
        study / "clips", study / "model", tmp_path / "h", config=ATTENTIVE, precision="fp32"
    )
    name = "head.safetensors"
    assert (tmp_path / "h" / name).read_bytes() == (attentive / name).read_bytes()


def test_a_disk_without_room_for_the_tokens_is_told_before_any_work(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(SpaceError, match="--probe ridge"):
        lvef.fit(study / "clips", study / "model", tmp_path / "head", config=ATTENTIVE)
    assert not (tmp_path / "head").exists()


@pytest.mark.parametrize("wrong", [{"probe": "knn"}, {"depth": 0}, {"windows": 0}])
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        LvefConfig(**wrong)
