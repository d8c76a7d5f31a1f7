"""``echocli report``: output and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from echocli.api import report as api
from echocli.api.report import ReportResult
from echocli.main import run


def call(
    monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> tuple[int | str | None, list[object]]:
    asked: list[object] = []

    def fake(study: Path, out: Path | None, **options: object) -> ReportResult:
        asked.extend([study, out, options["overwrite"]])
        return ReportResult(Path("study/report.html"), ("Clips",), 1.25, ())

    monkeypatch.setattr(api, "report", fake)
    with pytest.raises(SystemExit) as stop:
        run(["report", *words])
    return stop.value.code, asked


def test_without_arguments_it_reports_this_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, []) == (0, [Path(), None, False])
    assert capsys.readouterr().out == "study/report.html\n"


def test_options_reach_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    code, asked = call(monkeypatch, ["study", "-o", "page.html", "--overwrite"])
    assert (code, asked) == (0, [Path("study"), Path("page.html"), True])


def test_json_is_one_document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call(monkeypatch, ["--json"])
    said = capsys.readouterr()
    assert json.loads(said.out)["schema"] == "echocli.report/1"
    assert said.err == ""


def test_a_folder_without_results_is_unusable_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        run(["report", str(tmp_path)])
    assert stop.value.code == 3
    assert "echocli preprocess" in capsys.readouterr().err
