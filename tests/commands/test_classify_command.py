from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from exits import code_of

from echocli.checkpoint import save_model
from echocli.clips.contract import DataConfig
from echocli.clips.writer import ClipSetWriter
from echocli.datasets.phantom import PhantomConfig, phantom_clips
from echocli.models.vit import VisionTransformer, ViTConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with a few phantoms and a random encoder as its newest run."""
    study = tmp_path_factory.mktemp("study")
    config = PhantomConfig(size=32, difficulty="easy", views=("A4C", "A2C"), seconds=(0.5, 0.6))
    with ClipSetWriter(study / "clips") as writer:
        for clip in phantom_clips(config, 15, seed=1):
            writer.add(clip)
    shape = ViTConfig(frames=4, size=32, tubelet=(2, 8, 8), dim=32, depth=1, heads=2)
    encoder = VisionTransformer(shape, torch.Generator().manual_seed(0))
    data = DataConfig(frames=4, size=32, seconds=0.5)
    save_model(study / "runs/first/model", encoder, data, "vjepa", {"clip_size": 32})
    (study / "runs/latest").write_text("first\n")
    return study


def test_fit_predict_evaluate_and_verify_in_a_study_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert code_of(["classify"]) == 3
    assert "echocli classify fit" in capsys.readouterr().err

    assert code_of(["classify", "fit"]) == 0
    output = capsys.readouterr()
    assert output.out == "heads/classify\n"
    assert "always saying" in output.err

    assert code_of(["classify"]) == 0
    output = capsys.readouterr()
    assert output.out == "predictions/classify.csv\n"
    assert "patients that this head was fitted on" in output.err
    table = pd.read_csv("predictions/classify.csv")
    assert len(table) == 15
    names = ["clip_id", "patient_id", "p_false", "p_true", "predicted", "label", "split"]
    assert list(table) == names
    assert table[["p_false", "p_true"]].sum(axis=1).to_numpy() == pytest.approx(1)
    assert code_of(["verify", "predictions/classify.csv"]) == 0
    capsys.readouterr()
    spoilt = Path("predictions/classify.csv").read_text().replace(",false,", ",true,", 1)
    kept = Path("predictions/classify.csv").read_text()
    Path("predictions/classify.csv").write_text(spoilt)
    assert code_of(["verify", "predictions/classify.csv"]) == 3
    Path("predictions/classify.csv").write_text(kept)
    capsys.readouterr()

    assert code_of(["classify", "evaluate", "--json", "--by", "sex,view"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "echocli.classify-evaluate/1"
    assert set(document["subgroups"]) == {"sex", "view"}
    assert {"auroc", "auprc", "f1", "balanced_accuracy", "brier"} <= set(document["metrics"])
    assert {"leakage", "confounding", "per_class", "reliability"} <= set(document)


def test_rows_figures_and_paths_go_to_standard_output(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    head = str(tmp_path / "head")
    words = ["classify", "fit", "-q", "-o", head, "--label", "view", "--class-weights"]
    assert code_of([*words, "balanced", "--calibration", "platt"]) == 0
    assert capsys.readouterr().out == f"{head}\n"
    assert code_of(["classify", "clips", "--head", head, "-o", "-"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].startswith("clip_id,patient_id,p_A2C,p_A4C,predicted,label,split")
    assert len(rows) == 16
    assert code_of(["classify", "evaluate", "clips", "--head", head]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("\t")[:2] == ["part", "figure"]
    assert any(line.startswith("sex F\t") and "fewer than 30" in line for line in lines)
    assert not any("patients: auroc" in line for line in lines)  # one clip a patient
    (brier,) = (line for line in lines if line.split("\t")[:2] == ["all", "brier"])
    assert brier.endswith("\tover classes, 0 to 2"), "twice what others call so"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--label", "veiw"], "Did you mean view"),
        (["--label", "edv_ml", "--lr", "1"], "--probe attentive"),
        (["--probe", "ridge"], "linear, attentive"),
        (["--label", "view", "--positive", "PLAX"], "A2C, A4C"),
    ],
)
def test_wrong_words_are_refused_with_a_remedy(
    words: list[str],
    told: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    assert code_of(["classify", "fit", "-o", "other", *words]) == 2
    assert told in capsys.readouterr().err
    assert not Path("other").exists()
