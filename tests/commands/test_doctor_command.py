"""``echocli doctor``: lines, JSON and exit codes."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from echocli.api import doctor as api
from echocli.api._doctor.check import Check, State
from echocli.api.doctor import DoctorResult
from echocli.main import run

GOOD = Check("Python", State.OK, "3.13")
ODD = Check("threads", State.WARN, "64 threads on 2 cores", "export OMP_NUM_THREADS=2")
BAD = Check("DICOM RLE", State.FAIL, "no decoder", "pip install pylibjpeg-rle")


def doctor(
    monkeypatch: pytest.MonkeyPatch, words: list[str], *checks: Check
) -> int | str | None:
    monkeypatch.setattr(api, "doctor", lambda folder, reporter: DoctorResult(checks, 0.1))
    with pytest.raises(SystemExit) as stop:
        run(["doctor", *words])
    return stop.value.code


def test_a_machine_with_warnings_can_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor(monkeypatch, [], GOOD, ODD) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["ok", "Python", "3.13"]
    assert lines[1].startswith("warn  threads")
    assert lines[2] == "      fix: export OMP_NUM_THREADS=2"


def test_a_machine_that_lacks_something_needed_ends_with_5(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor(monkeypatch, [], GOOD, BAD) == 5
    assert "fix: pip install pylibjpeg-rle" in capsys.readouterr().out


def test_quiet_prints_only_what_is_not_ok(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor(monkeypatch, ["-q"], GOOD, ODD) == 0
    said = capsys.readouterr()
    assert "Python" not in said.out
    assert "threads" in said.out
    assert said.err == ""


def test_json_is_one_document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor(monkeypatch, ["--json"], GOOD, BAD) == 5
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "echocli.doctor/1"
    assert document["fit"] is False
    assert document["checks"][1] == {
        "name": "DICOM RLE",
        "state": "fail",
        "found": "no decoder",
        "remedy": "pip install pylibjpeg-rle",
    }


def test_a_folder_that_does_not_exist_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        run(["doctor", str(tmp_path / "nothing")])
    assert stop.value.code == 2


def test_a_bundle_is_written_beside_the_lines_and_not_over_another(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bundle = tmp_path / "doctor.zip"
    assert doctor(monkeypatch, ["--bundle", str(bundle)], GOOD, BAD) == 5
    assert "no decoder" in capsys.readouterr().out
    with zipfile.ZipFile(bundle) as opened:
        content = json.loads(opened.read("doctor.json"))
    assert [check["state"] for check in content["checks"]] == ["ok", "fail"]
    assert doctor(monkeypatch, ["--bundle", str(bundle)], GOOD) == 2
    assert doctor(monkeypatch, ["--bundle", str(bundle), "--overwrite"], GOOD) == 0
