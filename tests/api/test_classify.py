from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ears import Ears
from scipy import special
from sklearn import metrics
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from echocli.api import classify
from echocli.api._classes import Classes
from echocli.api._encode import encode_clips
from echocli.api._finetune import TuneConfig
from echocli.api.classify import ClassifyConfig
from echocli.checkpoint import load_model, save_model
from echocli.clips.contract import DataConfig
from echocli.clips.record import Clip
from echocli.clips.store import ClipSet
from echocli.clips.writer import ClipSetWriter
from echocli.errors import EchoError, UsageError
from echocli.models.finetune import FitConfig
from echocli.models.vit import VisionTransformer, ViTConfig

DATA = DataConfig(frames=4, size=32, seconds=0.4)
NORMAL = ClassifyConfig(draws=40)
VIEW = ClassifyConfig(label="view", draws=40)
VIEWS = ("A2C", "A4C", "PLAX")


def disc(number: int, *, frames: int = 10, **labels: Any) -> Clip:
    """A noisy disc: its place tells the view, its size, roughly, whether all is well."""
    generator = np.random.default_rng(number)
    patient = number // 2
    view = patient % 3
    normal = bool(np.random.default_rng(1000 + patient).random() < 0.5)
    rows, columns = np.mgrid[:32, :32]
    radius = (9 if normal else 6) + generator.normal(0, 1.2)
    inside = np.hypot(rows - 15.5, columns - (9 + 7 * view)) < radius
    pixels = 120.0 * inside + generator.uniform(0, 120, (frames, 32, 32))
    split = ("train", "train", "train", "val", "test")[patient % 5]
    known: dict[str, Any] = {
        "normal": None if patient % 17 == 0 else normal,
        "view": VIEWS[view],
        "ef_percent": 60.0 + generator.normal() if normal else 40.0 + generator.normal(),
        "sex": ("F", "M", None)[patient % 3],
        "scanner": ("one", "two")[patient % 2],
        "split": split,
    }
    return Clip(
        clip_id=f"clip{number}",
        patient_id=f"patient{patient}",
        study_id=f"study{number}",
        source_sha256=f"source{number}",
        frames=pixels.astype(np.uint8),
        sector=np.ones((32, 32), bool),
        times_s=np.linspace(0, (frames - 1) * 0.1, frames),
        time_source="dataset",
        spacing_mm=None,
        spacing_source="unknown",
        labels={**known, **labels},
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
    write_clips(folder / "clips", [disc(number) for number in range(160)])
    write_model(folder / "model")
    for config, name in ((NORMAL, "normal"), (VIEW, "view")):
        classify.fit(folder / "clips", folder / "model", folder / "heads" / name, config=config)
    return folder


def config_of(head: Path) -> dict[str, Any]:
    config = json.loads((head / "config.json").read_text())
    assert isinstance(config, dict)
    return config


@pytest.fixture(scope="module")
def predicted(study: Path) -> classify.ClassPredictions:
    return classify.predict(study / "clips", study / "heads/normal", draws=40)


def test_probabilities_equal_sklearn_on_the_same_features(
    study: Path, predicted: classify.ClassPredictions
) -> None:
    config = config_of(study / "heads/view")
    features, rows, _ = encode_clips(load_model(study / "model"), ClipSet.open(study / "clips"))
    table = ClipSet.open(study / "clips").manifest.iloc[rows].reset_index(drop=True)
    train = (table["split"] == "train").to_numpy()
    theirs = make_pipeline(
        StandardScaler(), LogisticRegression(C=1 / config["alpha"], tol=1e-10, max_iter=9999)
    ).fit(features[train].astype(float), table["view"][train])
    expected = special.softmax(
        config["calibration"]["slope"] * theirs.decision_function(features.astype(float)),
        axis=1,
    )
    found = classify.predict(study / "clips", study / "heads/view", draws=2).table
    assert list(found["clip_id"]) == list(table["clip_id"])
    columns = [f"p_{name}" for name in config["classes"]]
    assert config["classes"] == sorted(VIEWS)
    np.testing.assert_allclose(found[columns], expected, atol=1e-4)
    likeliest = found[columns].to_numpy().argmax(axis=1)
    assert (found["predicted"] == [config["classes"][k] for k in likeliest]).all()


def test_unlabelled_clips_take_no_part_in_fit_and_get_a_prediction(
    study: Path, predicted: classify.ClassPredictions
) -> None:
    config = config_of(study / "heads/normal")
    manifest = ClipSet.open(study / "clips").manifest
    known = manifest["normal"].notna()
    assert config["unlabelled"] == int((~known).sum()) > 0
    for split, counts in config["n"].items():
        chosen = known & (manifest["split"] == split)
        assert counts["clips"] == int(chosen.sum())
        assert counts["patients"] == manifest["patient_id"][chosen].nunique()
    assert len(predicted.table) == len(manifest)
    assert predicted.summary["unlabelled"] == config["unlabelled"]
    assert predicted.table["label"].isna().sum() == config["unlabelled"]


def test_figures_are_of_unseen_labelled_patients_and_equal_sklearn(
    study: Path, predicted: classify.ClassPredictions
) -> None:
    table, summary = predicted.table, predicted.summary
    test = table[(table["split"] == "test") & table["label"].notna()]
    assert summary["test"]["clips"] == len(test)
    abnormal = test["label"] == "false"
    assert summary["positive"] == "false"
    assert summary["metrics"]["auroc"]["value"] == pytest.approx(
        roc_auc_score(abnormal, test["p_false"])
    )
    assert summary["metrics"]["brier"]["value"] == pytest.approx(
        2 * brier_score_loss(abnormal, test["p_false"])
    )
    assert summary["metrics"]["balanced_accuracy"]["value"] == pytest.approx(
        balanced_accuracy_score(test["label"], test["predicted"])
    )
    assert summary["metrics"]["auroc"]["value"] > 0.7
    config = config_of(study / "heads/normal")
    for name, figure in config["metrics"].items():
        assert figure == pytest.approx(summary["metrics"][name], abs=1e-3), name


def test_the_threshold_is_youdens_on_validation_and_on_no_other_rows(
    study: Path, predicted: classify.ClassPredictions
) -> None:
    limit = config_of(study / "heads/normal")["threshold"]["clip"]
    table = predicted.table
    val = table[(table["split"] == "val") & table["label"].notna()]
    truth = val["label"] == "false"

    def gain(at: float) -> float:
        return float(balanced_accuracy_score(truth, val["p_false"] > at))

    assert gain(limit) == pytest.approx(max(gain(p - 1e-9) for p in val["p_false"]))
    assert (predicted.table["predicted"] == "false").equals(table["p_false"] > limit)


def test_test_labels_change_nothing_that_was_fitted(study: Path, tmp_path: Path) -> None:
    clips = []
    for number in range(160):
        clip = disc(number)
        if clip.labels["split"] == "test" and clip.labels["normal"] is not None:
            clip.labels["normal"] = not clip.labels["normal"]
        clips.append(clip)
    folder = write_clips(tmp_path / "clips", clips)
    classify.fit(folder, study / "model", tmp_path / "head", config=NORMAL)
    name = "head.safetensors"
    assert (tmp_path / "head" / name).read_bytes() == (
        study / "heads/normal" / name
    ).read_bytes()
    ours, theirs = config_of(tmp_path / "head"), config_of(study / "heads/normal")
    assert ours["threshold"] == theirs["threshold"]
    assert ours["calibration"] == theirs["calibration"]
    assert ours["metrics"]["auroc"]["value"] == pytest.approx(
        1 - theirs["metrics"]["auroc"]["value"]
    )


def test_patients_are_the_mean_of_their_clips(predicted: classify.ClassPredictions) -> None:
    table, rows = predicted.table, pd.DataFrame(predicted.summary["patients"])
    means = table.groupby("patient_id")["p_false"].mean()
    assert len(rows) == table["patient_id"].nunique()
    assert rows["p_false"].to_numpy() == pytest.approx(means[rows["patient_id"]].to_numpy())
    assert (rows["clips"] == 2).all()
    test = rows[(rows["split"] == "test") & rows["label"].notna()]
    assert predicted.summary["patient_metrics"]["auroc"]["value"] == pytest.approx(
        roc_auc_score(test["label"] == "false", test["p_false"])
    )
    assert predicted.summary["patient_test"] == {"patients": len(test), "of_several_classes": 0}


def test_a_clip_gets_its_own_probabilities_whatever_stands_beside_it(
    study: Path, tmp_path: Path, predicted: classify.ClassPredictions
) -> None:
    numbers = [77, 3, 150, 12, 41]
    clips = [disc(number) for number in numbers]
    clips.insert(2, disc(200, frames=3))  # too short for a window
    folder = write_clips(tmp_path / "clips", clips)
    found = classify.predict(folder, study / "heads/normal", draws=2)
    assert list(found.table["clip_id"]) == [f"clip{number}" for number in numbers]
    assert [entry["clip_id"] for entry in found.left_out] == ["clip200"]
    whole = predicted.table.set_index("clip_id").loc[found.table["clip_id"]]
    np.testing.assert_allclose(found.table["p_true"], whole["p_true"], atol=1e-4)
    assert list(found.table["patient_id"]) == list(whole["patient_id"])


def test_evaluation_divides_and_audits(study: Path) -> None:
    ears = Ears()
    found = classify.evaluate(
        study / "clips", study / "heads/normal", by=["sex", "view"], draws=40, reporter=ears
    ).summary
    assert [part["name"] for part in found["subgroups"]["sex"]] == ["F", "M", "unknown"]
    assert sum(part["clips"] for part in found["subgroups"]["view"]) == found["test"]["clips"]
    assert all(part["small"] for part in found["subgroups"]["view"])
    assert found["leakage"]["findings"] == []
    assert found["leakage"]["near_duplicates"]["pairs"] == 0
    assert "scanner" in found["confounding"]["cramers_v"]
    assert not [line for line in ears.warned if "stand in both" in line]
    assert found["per_class"]["false"]["auroc"]["value"] == pytest.approx(
        found["metrics"]["auroc"]["value"]
    )
    usual = classify.evaluate(study / "clips", study / "heads/normal", draws=2).summary
    assert {"sex", "scanner"} <= set(usual["subgroups"])


@pytest.mark.parametrize(
    ("numbers", "by", "words"),
    [
        (range(160), ["machine"], "There is no column machine to divide by"),
        (range(6), None, "is labelled with normal"),  # of training patients alone
    ],
)
def test_what_cannot_be_judged_is_refused_before_anything_is_encoded(
    study: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    numbers: range,
    by: list[str] | None,
    words: str,
) -> None:
    clips = write_clips(tmp_path / "clips", [disc(number) for number in numbers])
    monkeypatch.setattr("echocli.api._look.ask_head", None)
    with pytest.raises((UsageError, EchoError), match=words):
        classify.evaluate(clips, study / "heads/normal", by=by, draws=2)


def test_grades_have_weighted_kappas_by_the_order_that_was_told(
    study: Path, tmp_path: Path
) -> None:
    grades = ("PLAX", "A2C", "A4C")
    config = ClassifyConfig(label="view", classes=grades, ordered=True, draws=20)
    head = tmp_path / "head"
    fitted = classify.fit(study / "clips", study / "model", head, config=config).config
    assert (fitted["classes"], fitted["ordered"]) == (list(grades), True)
    found = classify.predict(study / "clips", head, draws=20)
    table = found.table[found.table["split"] == "test"]
    for name, weights in (("kappa_linear", "linear"), ("kappa_quadratic", "quadratic")):
        expected = metrics.cohen_kappa_score(
            table["label"], table["predicted"], labels=grades, weights=weights
        )
        assert found.summary["metrics"][name]["value"] == pytest.approx(expected, abs=1e-9)
        assert name in found.summary["patient_metrics"]
    assert "kappa_linear" not in config_of(study / "heads/view")["metrics"]
    with pytest.raises(UsageError, match="three classes or more"):
        ClassifyConfig(label="view", classes=grades[:2], ordered=True)


def test_numbers_are_grades_by_themselves_and_those_of_older_heads_too() -> None:
    table = pd.DataFrame({"grade": [10, 9, 2, 10], "view": list("abca")})
    chosen = Classes.choose(table, "grade", (), None)
    assert (chosen.names, chosen.order) == (("2", "9", "10"), [0, 1, 2])
    older = Classes.from_config({"label": "grade", "classes": ["10", "2"], "positive": None})
    assert older.order == [1, 0]
    assert Classes.choose(table, "view", (), None).order == []


def test_a_clip_that_returns_in_another_split_is_called_out(
    study: Path, tmp_path: Path
) -> None:
    again = disc(0)  # a training clip under another name, of an invented patient
    twin = Clip(**{**vars(again), "clip_id": "twin", "patient_id": "other"})
    others = [disc(number) for number in range(30)]
    folder = write_clips(tmp_path / "clips", [*others, twin])
    ears = Ears()
    found = classify.evaluate(folder, study / "heads/view", draws=2, reporter=ears).summary
    assert found["leakage"]["near_duplicates"]["first"] == [["clip0", "twin"]]
    assert found["leakage"]["sources_shared"][0]["splits"] == ["train", "test"]
    assert any("look almost the same" in line for line in ears.warned)
    assert any("fitted on" in line for line in ears.warned)


@pytest.mark.parametrize(
    ("change", "problem", "remedy"),
    [
        ({"label": "veiw"}, "no label column veiw", "Did you mean view"),
        ({"label": "patient_id"}, "no label column", "view"),
        ({"label": "LV<50"}, "There is no label column LV", "The clips have"),
        ({"label": "veiw==A4C"}, "no label column veiw", "Did you mean view"),
        ({"label": "EF<0"}, "EF<0 = false", "another class"),
        ({"label": "ef_percent"}, "measurement", "ef_percent<"),
        ({"label": "view", "classes": ("A4C", "A5C")}, "view = A5C", "A2C"),
        ({"label": "view", "classes": ("A4C",)}, "view = A4C", "another class"),
        ({"label": "view", "positive": "A4C"}, "3 classes", "--classes"),
        ({"positive": "sick"}, "sick", "false, true"),
    ],
)
def test_labels_that_cannot_be_told_apart_are_refused_by_name(
    study: Path, tmp_path: Path, change: dict[str, Any], problem: str, remedy: str
) -> None:
    config = ClassifyConfig(**change)
    with pytest.raises(EchoError) as caught:
        classify.fit(study / "clips", study / "model", tmp_path / "head", config=config)
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy
    assert not (tmp_path / "head").exists()


def test_one_class_is_refused_by_name_in_fit_and_evaluate(study: Path, tmp_path: Path) -> None:
    same = write_clips(tmp_path / "same", [disc(n, normal=True) for n in range(20)])
    with pytest.raises(EchoError, match="normal = true"):
        classify.fit(same, study / "model", tmp_path / "head")
    with pytest.raises(EchoError, match="normal = true"):
        classify.evaluate(same, study / "heads/normal", draws=2)
    labels = [{"normal": n != 1} for n in range(40)]
    rare = write_clips(tmp_path / "rare", [disc(n, **labels[n // 2]) for n in range(40)])
    with pytest.raises(EchoError, match=r"1 patient\(s\) with normal = false"):
        classify.fit(rare, study / "model", tmp_path / "head")
    bare = write_clips(tmp_path / "bare", [disc(n, normal=None) for n in range(10)])
    found = classify.predict(bare, study / "heads/normal", draws=2)
    assert "label" not in found.table
    assert found.summary["metrics"] is None
    with pytest.raises(EchoError, match="is labelled with normal"):
        classify.evaluate(bare, study / "heads/normal", draws=2)


def test_classes_that_the_head_does_not_know_are_counted_apart(
    study: Path, tmp_path: Path
) -> None:
    clips = [disc(n, **({"view": "A5C"} if n in (8, 9) else {})) for n in range(20)]
    folder = write_clips(tmp_path / "clips", clips)
    found = classify.predict(folder, study / "heads/view", draws=2).summary
    assert found["of_other_classes"] == {"A5C": 2}
    assert found["test"]["clips"] == 2  # patients 4 and 9 are unseen


def test_a_rule_on_a_number_makes_two_classes(study: Path, tmp_path: Path) -> None:
    config = ClassifyConfig(label="ef_percent<50", draws=2, threshold="quantile")
    head = classify.fit(study / "clips", study / "model", tmp_path / "head", config=config)
    assert head.config["classes"] == ["false", "true"]
    assert head.config["positive"] == "true"
    assert head.config["unlabelled"] == 0


def test_a_quantile_needs_patients_enough_and_says_so(study: Path, tmp_path: Path) -> None:
    for rate, kind in ((0.4, "quantile"), (0.01, "even")):
        config = ClassifyConfig(threshold="quantile", false_positive_rate=rate, draws=2)
        ears = Ears()
        head = tmp_path / kind
        fitted = classify.fit(
            study / "clips", study / "model", head, config=config, reporter=ears
        )
        assert fitted.config["threshold"]["kind"] == kind
        assert any("0.5" in line for line in ears.warned) == (kind == "even")


@pytest.mark.parametrize("wrong", [False, True])
def test_a_probe_that_tells_nothing_on_validation_patients_is_called_that(
    study: Path, tmp_path: Path, wrong: bool
) -> None:
    clips = []
    for number in range(60):
        labels = disc(number).labels
        if wrong and labels["split"] == "val" and labels["normal"] is not None:
            labels["normal"] = not labels["normal"]
        clips.append(disc(number, normal=labels["normal"]))
    ears = Ears()
    folder, head = write_clips(tmp_path / "clips", clips), tmp_path / "head"
    classify.fit(folder, study / "model", head, config=NORMAL, reporter=ears)
    assert any("no better than chance" in line for line in ears.warned) == wrong


def test_without_validation_patients_nothing_is_calibrated_and_it_is_told(
    study: Path, tmp_path: Path
) -> None:
    clips = [disc(n, **({"split": "train"} if n // 2 % 5 == 3 else {})) for n in range(40)]
    folder = write_clips(tmp_path / "clips", clips)
    ears = Ears()
    head = classify.fit(
        folder, study / "model", tmp_path / "head", config=NORMAL, reporter=ears
    )
    assert head.config["calibration"]["kind"] == "none"
    assert any("not calibrated" in line for line in ears.warned)


def test_another_encoder_or_task_is_refused(study: Path, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other", seed=1)
    with pytest.raises(EchoError, match="was fitted on the encoder"):
        classify.predict(study / "clips", study / "heads/normal", model=other)
    broken = shutil.copytree(study / "heads/normal", tmp_path / "head")
    config = config_of(broken)
    (broken / "config.json").write_text(json.dumps({**config, "classes": ["true", "false"]}))
    with pytest.raises(EchoError, match="damaged"):
        classify.predict(study / "clips", broken, model=study / "model")


def test_files_are_written_whole_and_nothing_is_clobbered(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "predictions/classify.csv"
    result = classify.predict(study / "clips", study / "heads/view", out, draws=2)
    pd.testing.assert_frame_equal(pd.read_csv(out), result.table, check_dtype=False)
    document = json.loads(out.with_suffix(".json").read_text())
    assert document["schema"] == "echocli.classify/1"
    with pytest.raises(UsageError, match="already exists"):
        classify.predict(study / "clips", study / "heads/view", out)


QUICK = FitConfig(least_steps=8, epochs=1, batch=4, checks=2)


@pytest.mark.parametrize(
    "change",
    [
        {"probe": "attentive", "attentive": QUICK},
        {"tune": TuneConfig(blocks=1, fit=QUICK)},
    ],
)
def test_heads_that_are_trained_in_steps_come_back_and_say_the_same(
    study: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    config = ClassifyConfig(
        label="view",
        windows=1,
        class_weights="balanced",
        calibration="platt",
        draws=2,
        **change,
    )
    small = write_clips(tmp_path / "clips", [disc(number) for number in range(60)])
    head = tmp_path / "head"
    fitted = classify.fit(small, study / "model", head, config=config, precision="fp32")
    found = classify.predict(small, head, draws=2, precision="fp32")
    for name in ("auroc", "brier"):
        assert found.summary["metrics"][name]["value"] == pytest.approx(
            fitted.config["metrics"][name]["value"], abs=1e-5
        )
    assert fitted.config["class_weights"] == "balanced"
    assert (head / "encoder").exists() == ("tune" in change)


@pytest.mark.parametrize(
    "wrong",
    [
        {"probe": "ridge"},
        {"class_weights": "heavy"},
        {"calibration": "isotonic"},
        {"threshold": "best"},
        {"false_positive_rate": 1.0},
        {"depth": 0},
        {"probe": "attentive", "tune": TuneConfig(blocks=1)},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ClassifyConfig(**wrong)
