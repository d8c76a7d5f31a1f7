"""The examples run."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_the_training_loop_learns(capsys: pytest.CaptureFixture[str]) -> None:
    losses = runpy.run_path(str(EXAMPLES / "training_loop.py"))["main"](20)
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])
    assert "Health(" in capsys.readouterr().out


def test_the_python_api_goes_from_dicom_to_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ECHOCLI_KEY_FILE", str(tmp_path / "pseudonym.key"))
    study = tmp_path / "study"
    runpy.run_path(str(EXAMPLES / "python_api.py"))["main"](study, patients=16, steps=1)
    assert "16 clips of 16 patients" in capsys.readouterr().out
    assert len((study / "scores.csv").read_text().splitlines()) == 17
