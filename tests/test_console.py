"""Results go to standard output, everything else to standard error."""

from __future__ import annotations

import json
import math

import pytest

from echocli import console as console_module
from echocli.console import SILENT, Console


def test_only_results_reach_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.say("a message [with brackets]")
    console.warn("a warning")
    console.result("clips")
    told = capsys.readouterr()
    assert told.out == "clips\n"
    assert told.err == "a message [with brackets]\nwarning: a warning\n"


def test_quiet_keeps_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(quiet=True)
    console.say("a message")
    console.warn("a warning")
    with console.progress("working", 3) as advance:
        advance(3)
    assert capsys.readouterr().err == "warning: a warning\n"


def test_a_document_is_json_with_a_schema_and_never_nan(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Console(as_json=True).document("echocli.test/1", {"value": 1})
    assert json.loads(capsys.readouterr().out) == {"schema": "echocli.test/1", "value": 1}
    with pytest.raises(ValueError, match="JSON"):
        Console().document("echocli.test/1", {"value": math.nan})


def test_a_table_is_tab_separated_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Console().table("Title", ["a", "b"], [[1, None], ["x", 2.5]])
    assert capsys.readouterr().out == "a\tb\n1\t\nx\t2.5\n"


def test_progress_off_a_terminal_is_a_line_a_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 1000, 50))
    monkeypatch.setattr(console_module.time, "monotonic", lambda: float(next(clock)))
    with Console().progress("reading", 10) as advance:
        for _ in range(4):
            advance(1)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("reading: 2/10")


def test_silence_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    SILENT.say("x")
    SILENT.warn("x")
    with SILENT.progress("x", None) as advance:
        advance(1)
    assert capsys.readouterr() == ("", "")
