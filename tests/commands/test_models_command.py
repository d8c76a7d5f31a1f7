"""`echocli models` at the command line: tables, JSON, refusals, and a model that embeds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from made_weights import MADE

from echocli import main


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A small file in DISCOVR's layout."""
    found = MADE["discovr"]()
    tensors = {name.removeprefix("model."): tensor for name, tensor in found.tensors.items()}
    torch.save({"model": tensors, "epoch": 3}, tmp_path / "checkpoint-3.pth")
    return tmp_path / "checkpoint-3.pth"


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main.run([str(word) for word in words])
    return int(caught.value.code or 0), *capsys.readouterr()


WORDS = ("--heads", 3, "--size", 32, "--frames", 4)


def test_the_list_warns_of_what_may_have_been_seen(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, error = run(capsys, "models", "list")
    assert code == 0
    assert out.splitlines()[0].startswith("name\t")
    assert "warning: discovr: trained on public heart ultrasound" in error
    assert "CC BY-NC" in out
    _, out, _ = run(capsys, "models", "list", "--json")
    listed = json.loads(out)
    assert listed["schema"] == "echocli.models-list/1"
    _, out, error = run(capsys, "models", "list", "-q")
    assert out.split() == [model["name"] for model in listed["models"]]
    assert not error


def test_from_a_file_to_embeddings(
    weights: Path,
    micro_clips: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "models", "info", weights.name, "--heads", 3)
    assert code != 0  # the file does not tell the size, and is not of the published one
    code, out, error = run(capsys, "models", "import", weights.name, *WORDS, "-o", "models/d")
    assert (code, out) == (0, "models/d\n")
    assert "licence: Apache-2.0" in error
    assert "warning: trained on public heart ultrasound" in error
    code, out, _ = run(capsys, "models", "verify", "d", "--json")
    assert json.loads(out)["format"] == "echocli"
    code, out, _ = run(capsys, "models", "info", "d")
    assert "network\tvideo_teacher" in out
    options = ("--model", "d", "--device", "cpu", "-o", "e.parquet", "--pool", "cls")
    code, _, error = run(capsys, "embed", micro_clips, *options)
    assert code == 0, error
    import pandas as pd

    assert len(pd.read_parquet("e.parquet")) == 10


def test_refusals_name_the_remedy(
    weights: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, _, error = run(capsys, "models", "import", weights, "-o", tmp_path / "out")
    assert code == 2
    assert "--heads" in error
    code, _, error = run(capsys, "models", "import", "vjepa-vitl")
    assert code == 2
    assert "--download" in error
    content = torch.load(weights, weights_only=True)
    del content["model"]["video_teacher.norm.bias"]
    torch.save(content, weights)
    code, _, error = run(
        capsys, "models", "verify", weights, "--heads", 3, "--format", "discovr"
    )
    assert code in (2, 3)
    assert "fix:" in error
