"""Numbers come back from CSV as they were, and no cell is run by a spreadsheet."""

from __future__ import annotations

import csv
import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from echocli.reports.csvs import FORMULA, csv_of, file_name, flattened


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_come_back_to_the_last_digit(values: list[float]) -> None:
    _, *rows = csv.reader(io.StringIO(csv_of(["value"], [[v] for v in values])))
    assert [float(row[0]) for row in rows] == values


@given(st.text(alphabet="=+-@,\"'\n\tab1", max_size=12))
def test_no_text_begins_a_formula_and_none_is_lost(word: str) -> None:
    _, row = csv.reader(io.StringIO(csv_of(["word", "other"], [[word, "end"]])))
    told = row[0]
    assert row[1] == "end"
    assert told in (word, f"'{word}")
    if told.startswith(FORMULA):
        float(told)  # only a number may begin like one


def test_what_is_unknown_stays_empty() -> None:
    assert csv_of(["a", "b", "c"], [[None, float("nan"), np.float64("nan")]]) == "a,b,c\n,,\n"


def test_every_leaf_has_its_way() -> None:
    content = {"mae": {"value": 1.5, "low": None}, "list": [{"n": 2}], "word": "x"}
    assert list(flattened(content)) == [
        ("mae.value", 1.5), ("mae.low", None), ("list[0].n", 2), ("word", "x"),
    ]  # fmt: skip


@given(st.text(max_size=80))
def test_a_file_name_is_plain(words: str) -> None:
    assert set(file_name(words)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert file_name(words)
