"""Results go to standard output, everything else to standard error."""

from __future__ import annotations

import json
import math
import re
import sys

import pytest

from echocli import console as console_module
from echocli.console import SILENT, Console, in_lines


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


def test_a_narrow_terminal_loses_no_letter_of_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "24")
    Console().table("T", ["structure", "patients"], [["lv_myocardium", "123456789012"]])
    drawn = re.sub(r"[\W\d]", "", capsys.readouterr().out)
    assert "lv_myocardium" in drawn.replace("structure", "").replace("patients", "")


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


def test_what_was_done_before_counts_for_the_place_and_not_for_the_speed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 1000, 60))
    monkeypatch.setattr(console_module.time, "monotonic", lambda: float(next(clock)))
    with Console().progress("training", 1000, done=900) as advance:
        advance(30)
        advance(30, "7 clips/s")
    assert capsys.readouterr().err.splitlines() == [
        "training: 930/1000, 0.5/s, 2.3 min left",
        "training: 960/1000, 7 clips/s, 1.3 min left",
    ]


@pytest.mark.parametrize("terminal", ["xterm-256color", "dumb"])
def test_a_bar_is_drawn_on_a_terminal_that_can_draw_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], terminal: str
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", terminal)
    clock = iter(range(0, 10000, 50))
    monkeypatch.setattr(console_module.time, "monotonic", lambda: float(next(clock)))
    with Console().progress("training", 10, done=2) as advance:
        advance(1, "7 clips/s [of many]")
        advance(1, "7 clips/s [of many]")
    drawn = capsys.readouterr().err
    assert "7 clips/s [of many]" in drawn
    assert "4/10" in drawn
    assert ("\x1b[" in drawn) == (terminal != "dumb")


def test_without_colours_a_bar_has_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    with Console().progress("training", 10) as advance:
        advance(1)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9][0-9;]*m", capsys.readouterr().err)


def test_silence_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    SILENT.say("x")
    SILENT.warn("x")
    with SILENT.progress("x", None) as advance:
        advance(1)
    assert capsys.readouterr() == ("", "")


def test_what_is_said_beside_a_bar_has_lines_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = Console()
    with console.progress("reading", 3) as advance:
        advance(1)
        console.say("one file is damaged")
        advance(1)
    console.say("done")
    drawn = capsys.readouterr().err
    said = next(line for line in drawn.split("\n") if "damaged" in line)
    # The line that held the bar is cleared before anything else is written in it.
    assert said.rpartition("\x1b[2K")[2].strip() == "one file is damaged"
    assert drawn.endswith("done\n")


def test_a_terminal_gets_lines_that_fit_and_a_file_whole_sentences(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    remedy = "Make one with `echocli preprocess SOURCES -o clips`, or name another."
    Console().error("There is no clip set.", remedy)
    assert capsys.readouterr().err.splitlines()[1] == f"  fix: {remedy}"
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    Console().error("There is no clip set.", remedy)
    assert capsys.readouterr().err.splitlines()[1:] == [
        "  fix: Make one with",
        "  `echocli preprocess SOURCES -o clips`,",
        "  or name another.",
    ]


@pytest.mark.parametrize("width", [1, 7, 20, 80])
def test_breaking_lines_loses_no_word(width: int) -> None:
    message = "two words\n\n  in lines, `with a command` (`or two`), and/a/long/path\n"
    broken = in_lines(message, width)
    assert broken.split() == message.split()
    assert broken.count("`with a command`") == 1
    assert max(map(len, broken.split("\n"))) <= max(
        width, len("  (`or two`),"), len("  `with a command`")
    )
    assert in_lines(message, 80) == message.rstrip("\n") + "\n"
