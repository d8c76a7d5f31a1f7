"""Figures as a reader sees them."""

from __future__ import annotations

import math

import pytest

from echocli.reports.numbers import interval, interval_rows, number, plain


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.12345, "0.123"), (7.123, "7.12"), (54.43, "54.4"), (812.6, "813"), (48, "48"),
        (48.0, "48"), (None, "-"), (math.nan, "-"), ("x", "-"),
    ],
)  # fmt: skip
def test_numbers_have_about_three_digits(value: object, expected: str) -> None:
    assert number(value) == expected


def test_the_ends_of_an_interval_have_the_decimals_of_its_largest_number() -> None:
    assert interval({"value": 0.9, "low": 0.625, "high": 1.0}) == "0.900 (0.625 to 1.000)"
    assert interval({"value": 5.2, "low": -3.57, "high": 12.0}) == "5.2 (-3.6 to 12.0)"


def test_what_is_not_known_is_not_made_up() -> None:
    assert interval(None) == "-"
    assert interval({"value": None, "low": None, "high": None}) == "-"
    assert interval({"value": 0.5, "low": None, "high": None}) == "0.500 (no interval)"
    assert interval({"value": 1.0, "low": 1.0, "high": 1.0}) == "1.000 (no interval)"


def test_figures_are_found_wherever_they_stand_and_named_by_the_way_to_them() -> None:
    one = {"value": 0.8, "low": 0.7, "high": 0.9}
    found = interval_rows({"n": 3, "dice": {"lv_cavity": one, "left_atrium": one}, "mae": one})
    assert [name for name, _ in found] == [
        "dice, left-ventricular cavity", "dice, left atrium", "mean absolute error",
    ]  # fmt: skip
    assert plain("never_seen_before") == "never seen before"


def test_a_brier_score_is_told_with_its_scale() -> None:
    assert plain("brier").endswith("0 to 2)"), "of two classes twice what others call so"
