"""Checklists have every item, and say aloud what no file can answer."""

from __future__ import annotations

import pytest
from made_study import write_study

from echocli.reports.checklist import FILL_IN, answers, checklist_section
from echocli.reports.claim import CLAIM
from echocli.reports.known import known
from echocli.reports.study_reader import Results, read_study
from echocli.reports.tripod import TRIPOD

ITEMS = {"claim": CLAIM, "tripod": TRIPOD}


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    return known(read_study(write_study(tmp_path_factory.mktemp("study"))))


def test_every_item_is_there_once() -> None:
    assert [number for number, *_ in CLAIM] == [str(n) for n in range(1, 43)]
    numbers = [number for number, *_ in TRIPOD]
    assert len(numbers) == len(set(numbers)) == 52  # Collins 2024: 27 items, 52 with subitems
    assert {int(number.rstrip("abcdefg")) for number in numbers} == set(range(1, 28))


@pytest.mark.parametrize("name", ITEMS)
def test_nothing_is_known_of_nothing_and_that_is_said(name: str) -> None:
    for *_, answer in answers(ITEMS[name], {}):
        assert answer == FILL_IN


@pytest.mark.parametrize("name", ITEMS)
def test_ethics_money_and_the_like_are_never_filled_in(
    name: str, facts: dict[str, tuple[str, str]]
) -> None:
    told = {number: answer for number, _, _, answer in answers(ITEMS[name], facts)}
    never = {"claim": ("16", "19", "32", "40", "42"), "tripod": ("8b", "10", "17", "18a", "19")}
    assert all(told[number] == FILL_IN for number in never[name])
    assert sum(answer != FILL_IN for answer in told.values()) > len(told) / 3


def test_what_is_known_in_part_asks_for_the_rest(facts: dict[str, tuple[str, str]]) -> None:
    told = {row[0]: row[-1] for row in answers(CLAIM, facts)}
    assert told["7"].startswith("12 clips of 12 patients (phantom)")
    assert told["7"].endswith(f"{FILL_IN}: hospitals, years")
    assert "none in two splits" in told["21"]


def test_every_fact_answers_an_item(facts: dict[str, tuple[str, str]]) -> None:
    asked = {fact for items in ITEMS.values() for *_, fact in items}
    assert set(facts) <= asked


def test_without_any_results_there_is_a_list_all_the_same() -> None:
    assert "to fill in" in checklist_section(Results()).body
