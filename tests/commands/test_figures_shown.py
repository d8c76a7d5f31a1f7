"""Figures on a terminal: everyone's in full, those of parts side by side; all elsewhere."""

from __future__ import annotations

import sys

import pytest

from echocli.commands._figures import in_full, show, side_by_side
from echocli.console import Console

COLUMNS = ["part", "figure", "value", "low", "high", "clips", "patients", "note"]
ALL = [
    ["all", "mae", "5", "4", "6", "9", "8", ""],
    ["all", "bias", "1", "0", "2", "9", "8", ""],
]
PARTS = [
    ["sex F", "mae", "6 (5 to 7)", "5", "7", "4", "3", "few"],
    ["sex F", "ece", "0.1", "0", "1", "4", "3", "few"],
    ["sex M", "mae", "4", "3", "5", "5", "5", ""],
    ["sex X", "one class only", "-", "-", "-", "0", "0", "few"],
]


def test_what_every_row_says_alike_is_left_out() -> None:
    columns, rows = in_full(COLUMNS, ALL, ["high"])
    assert columns == ["figure", "value", "low"]
    assert rows == [["mae", "5", "4"], ["bias", "1", "0"]]


def test_one_row_is_shown_whole() -> None:
    assert in_full(COLUMNS, ALL[:1], []) == (COLUMNS, ALL[:1])


def test_each_part_has_one_row_with_its_own_figures_and_counts() -> None:
    columns, rows = side_by_side(COLUMNS, PARTS, [])
    assert columns == ["part", "mae", "ece", "clips", "patients"]
    assert rows == [
        ["sex F", "6", "0.1", "4", "3 *"],
        ["sex M", "4", "-", "5", "5"],
        ["sex X", "-", "-", "0", "0 *"],
    ]
    assert side_by_side(COLUMNS, PARTS, ["ece"])[0] == ["part", "mae", "clips", "patients"]


def test_a_pipe_gets_every_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    show(Console(), "t", COLUMNS, ALL, PARTS, ["ece"])
    told = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert told == [COLUMNS, *ALL, *PARTS]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show(Console(), "t", COLUMNS, ALL, PARTS, ["ece"])
    drawn = capsys.readouterr().out
    assert all(word in drawn for word in ("bias", "sex M"))
    assert "one class only" not in drawn
