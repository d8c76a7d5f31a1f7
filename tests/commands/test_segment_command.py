from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from exits import code_of

from echocli.checkpoint import save_model
from echocli.clips.contract import DataConfig
from echocli.clips.store import ClipSet
from echocli.clips.writer import ClipSetWriter
from echocli.datasets.phantom import PhantomConfig, phantom_clips
from echocli.models.vit import VisionTransformer, ViTConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with a few phantoms and a random encoder as its newest run."""
    study = tmp_path_factory.mktemp("study")
    config = PhantomConfig(size=32, difficulty="easy")
    with ClipSetWriter(study / "clips") as writer:
        for clip in phantom_clips(config, 8, seed=1):
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
    assert code_of(["segment"]) == 3
    assert "echocli segment fit" in capsys.readouterr().err
    assert code_of(["segment", "-o", "-"]) == 2
    assert "writes a folder" in capsys.readouterr().err

    assert code_of(["segment", "fit", "--steps", "20"]) == 0
    output = capsys.readouterr()
    assert output.out == "heads/segment\n"
    assert re.search(
        r"lv_cavity: Dice 0\.\d+ \(.*\), the mean map 0\.\d+; HD95 .* mm", output.err
    )

    assert code_of(["segment", "--overlays", "2", "--write", "nifti, png"]) == 0
    assert capsys.readouterr().out == "predictions/segment\n"
    out = Path("predictions/segment")
    assert not ClipSet.open(out).verify()
    assert len(pd.read_csv(out / "volumes.csv")) == 8
    assert len(list((out / "nifti").iterdir())) == 8
    assert code_of(["verify", str(out)]) == 0
    capsys.readouterr()
    assert len(list((out / "overlays").glob("*.png"))) <= 2
    document = json.loads((out / "segment.json").read_text())
    assert set(document["metrics"]["dice"]) == set(document["mean_map"]["dice"])
    assert code_of(["segment"]) == 2
    assert "--overwrite" in capsys.readouterr().err

    assert code_of(["segment", "evaluate", "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert evaluated["schema"] == "echocli.segment-evaluate/1"
    assert evaluated["metrics"] == document["metrics"]
    assert code_of(["segment", "evaluate", "--by", "sex"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    cavity = next(line for line in lines if line[:2] == ["all", "lv_cavity"])
    for column, name, digits in ((2, "dice", 3), (6, "hd95_mm", 1), (8, "assd_mm", 1)):
        found = evaluated["metrics"][name]["lv_cavity"]
        value, low, high = (f"{found[key]:.{digits}f}" for key in ("value", "low", "high"))
        assert cavity[column] == f"{value} ({low} to {high})"
    parts = {line[0] for line in lines}
    assert {"all", "mean map", "phase ED", "phase ES"} <= parts
    assert any(part.startswith("sex ") for part in parts)
    assert len({len(line) for line in lines}) == 1
    assert code_of(["segment", "evaluate", "--against", "heads/segment"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert ["dice", "lv_cavity"] in [line[:2] for line in lines]
    assert all(line[4] == "0.000 (0.000 to 0.000)" for line in lines if line[0] == "dice")


def test_the_last_block_is_trained_on_request(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    words = ["segment", "fit", "-o", str(tmp_path / "head"), "--finetune-blocks", "1"]
    assert code_of([*words, "--steps", "5"]) == 2
    assert "--epochs" in capsys.readouterr().err
    assert code_of([*words, "--epochs", "1"]) == 0
    assert "blocks of the encoder; best after" in capsys.readouterr().err
    assert code_of([*words, "--head", "dense"]) == 2
    assert "frozen encoder" in capsys.readouterr().err
    assert code_of(["segment", "fit", "-o", "other", "--lr", "1"]) == 2
    assert "--finetune-blocks" in capsys.readouterr().err
