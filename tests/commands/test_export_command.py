from __future__ import annotations

import json
from pathlib import Path

import pytest
from exits import code_of
from micro import micro_clip, write_clips

from echocli.errors import ExitCode


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    timeless = micro_clip(2, times_s=None, time_source="unknown")
    write_clips(tmp_path / "clips", [micro_clip(0), micro_clip(1), timeless])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_study_is_exported_without_a_word(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(["export"]) == ExitCode.PARTIAL
    told = capsys.readouterr()
    assert told.out == "export\n"
    assert "--assume-fps" in told.err
    assert sorted(p.suffix for p in (study / "export").iterdir()) == [".json", ".mp4", ".mp4"]


def test_quiet_prints_paths_and_json_one_document(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(["export", "clips", "-o", "a", "--id", "c001", "-q"]) == ExitCode.DONE
    assert capsys.readouterr() == ("a/c001.mp4\n", "")
    assert code_of(["export", "clips", "-o", "b", "--sheet", "--json"]) == ExitCode.DONE
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert document["schema"] == "echocli.export/1"
    assert (document["files"], document["n_clips"]) == (["sheet-0001.png"], 3)
    assert told.err == ""


def test_what_stands_there_is_refused(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (study / "export").mkdir()
    (study / "export" / "own.txt").write_text("mine")
    assert code_of(["export", "--overwrite"]) == ExitCode.USAGE
    assert "-o" in capsys.readouterr().err
    assert code_of(["export", "nowhere"]) == ExitCode.INPUT
