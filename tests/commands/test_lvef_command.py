from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from exits import code_of
from micro import micro_clip, write_clips

from echocli.checkpoint import save_model
from echocli.clips.contract import DataConfig
from echocli.clips.writer import ClipSetWriter
from echocli.datasets.phantom import PhantomConfig, phantom_clips
from echocli.models.vit import VisionTransformer, ViTConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with a few phantoms and a random encoder as its newest run."""
    study = tmp_path_factory.mktemp("study")
    config = PhantomConfig(size=32, difficulty="easy")
    with ClipSetWriter(study / "clips") as writer:
        for clip in phantom_clips(config, 14, seed=1):
            writer.add(clip)
    shape = ViTConfig(frames=4, size=32, tubelet=(2, 8, 8), dim=32, depth=1, heads=2)
    encoder = VisionTransformer(shape, torch.Generator().manual_seed(0))
    data = DataConfig(frames=4, size=32, seconds=0.5)
    save_model(study / "runs/first/model", encoder, data, "vjepa", {"clip_size": 32})
    (study / "runs/latest").write_text("first\n")
    return study


def test_fit_predict_and_evaluate_in_a_study_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert code_of(["lvef", "predict"]) == 3
    assert "echocli lvef fit" in capsys.readouterr().err

    assert code_of(["lvef", "fit"]) == 0
    output = capsys.readouterr()
    assert output.out == "heads/lvef\n"
    assert "predicting the mean" in output.err
    assert code_of(["lvef", "fit"]) == 2
    assert "--overwrite" in capsys.readouterr().err

    assert code_of(["lvef"]) == 0
    assert capsys.readouterr().out == "predictions/lvef.csv\n"
    table = pd.read_csv("predictions/lvef.csv")
    assert len(table) == 14
    assert {"ef_percent", "lower", "upper", "measured_ef_percent", "split"} <= set(table)

    assert code_of(["lvef", "evaluate", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "echocli.lvef-evaluate/1"
    assert {"mae", "rmse", "r2", "bias", "limit_low"} <= set(document["metrics"])
    assert document["predict_the_mean"]["mae"]["value"] > 0
    assert {"subgroups", "leakage"} <= set(document)

    assert code_of(["lvef", "evaluate", "--by", "view"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("\t")[:2] == ["part", "figure"]
    assert any(line.startswith("all\tlimit_low") for line in lines)
    assert any(line.startswith("view ") and "fewer than 30" in line for line in lines)


def test_rows_stream_to_standard_output(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    head = str(tmp_path / "head")
    assert code_of(["lvef", "fit", "-q", "-o", head]) == 0
    assert capsys.readouterr().out == f"{head}\n"
    assert code_of(["lvef", "clips", "--head", head, "-o", "-"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].startswith("clip_id,patient_id,ef_percent,lower,upper")
    assert len(rows) == 15


def test_another_model_is_refused_with_both_hashes(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    head = str(tmp_path / "head")
    assert code_of(["lvef", "fit", "-q", "-o", head]) == 0
    shape = ViTConfig(frames=4, size=32, tubelet=(2, 8, 8), dim=32, depth=1, heads=2)
    other = VisionTransformer(shape, torch.Generator().manual_seed(9))
    save_model(tmp_path / "o", other, DataConfig(frames=4, size=32, seconds=0.5), "vjepa", {})
    capsys.readouterr()
    assert code_of(["lvef", "--head", head, "--model", str(tmp_path / "o"), "-o", "-"]) == 3
    told = capsys.readouterr().err
    assert "was fitted on the encoder" in told
    assert "echocli lvef fit" in told


def test_a_probe_that_does_not_exist_is_named_with_those_there_are(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert code_of(["lvef", "fit", "--probe", "knn", "-o", "other"]) == 2
    assert "ridge, attentive" in capsys.readouterr().err


def test_the_last_block_is_trained_on_request(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    head = tmp_path / "head"
    words = ["lvef", "fit", "-o", str(head), "--finetune-blocks", "1", "--epochs", "1"]
    words += ["--lr", "1e-3", "--windows", "1", "--layer-decay", "0.65"]
    assert code_of(words) == 0
    told = capsys.readouterr()
    assert told.out == f"{head}\n"
    assert "blocks of the encoder; best after 1 of 1 steps" in told.err
    assert (head / "encoder" / "model.safetensors").is_file()
    config = json.loads((head / "config.json").read_text())
    assert config["end_to_end"]["layer_decay"] == 0.65


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--epochs", "3"], "--probe attentive"),
        (["--layer-decay", "0.5"], "--finetune-blocks"),
        (["--from-scratch", "tiny", "--model", "runs/first"], "Leave --model out"),
        (["--from-scratch", "tiny", "--finetune-blocks", "1"], "trains all blocks"),
        (["--probe", "attentive", "--finetune-blocks", "1"], "frozen encoder"),
        (["--from-scratch", "enormous"], "enormous"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    words: list[str],
    told: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    assert code_of(["lvef", "fit", "-o", "other", *words]) == 2
    assert told in capsys.readouterr().err
    assert not Path("other").exists()


def test_views_are_looked_at_together_and_tell_a_row_a_study(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    head = str(tmp_path / "head")
    words = ["lvef", "fit", "-o", head, "--probe", "attentive", "--epochs", "1"]
    words += ["--windows", "1", "--label-fraction", "0.5"]
    assert code_of([*words, "--views", "A4C,A3C"]) == 2
    assert "of the view A3C; there are A4C" in capsys.readouterr().err
    assert code_of([*words, "--views", "A4C"]) == 0
    assert "looking at A4C together" in capsys.readouterr().err
    assert json.loads((tmp_path / "head/config.json").read_text())["label_fraction"] == 0.5
    assert code_of(["lvef", "clips", "--head", head, "-o", "-"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].startswith("study_id,patient_id,views,clips,ef_percent")
    assert len(rows) == 15
    assert code_of(["lvef", "evaluate", "--head", head]) == 0
    header = capsys.readouterr().out.splitlines()[0].split("\t")
    assert header == ["part", "figure", "value", "low", "high", "studies", "patients", "note"]


def test_masks_are_measured_without_a_head(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    assert code_of(["lvef", "--from-masks", "clips", "-o", "-"]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[0].startswith("study_id,patient_id,plane,ef_percent,edv_ml")
    assert "have one view" in told.err
    assert code_of(["lvef", "--from-masks", "clips", "--head", "x", "-o", "-"]) == 2
    assert code_of(["lvef", "clips", "clips", "--from-masks", "clips", "-o", "-"]) == 2
    assert code_of(["lvef", "--from-masks", "nowhere", "-o", str(tmp_path / "o.csv")]) == 3
    assert not (tmp_path / "o.csv").exists()


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ({"ef_percent": 140.0}, "outside 0 to 100"),
        ({"ef_percent": 0.4}, "fractions"),
        ({"split": "val"}, "more than one split"),
    ],
)
def test_labels_that_cannot_be_are_refused_and_leave_no_head(
    labels: dict[str, object],
    told: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    known: dict[str, object] = {"ef_percent": 55.0, "split": "train"}
    some = [micro_clip(n, labels=known | (labels if n % 2 else {})) for n in range(6)]
    if told == "fractions":
        some = [micro_clip(n, labels=known | labels) for n in range(6)]
    write_clips(tmp_path / "clips", some)
    assert code_of(["lvef", "fit", str(tmp_path / "clips"), "-o", str(tmp_path / "h")]) == 3
    assert told in capsys.readouterr().err
    assert not (tmp_path / "h").exists()
