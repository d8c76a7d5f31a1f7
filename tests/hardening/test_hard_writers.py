"""A share of what ``benchmarks/harden.py`` does to every command that writes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract import all_commands
from forked import forks
from hard_study import WRITERS, HardStudy

from echocli.main import insert_default_subcommand

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs fork and rlimits")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HardStudy]:
    folder = tmp_path_factory.mktemp("hard")
    with forks(folder, "echocli.api.score", "echocli.api.models", "echocli.api.export") as run:
        yield HardStudy(run, folder, heads=())


READING = (
    *("--against", "--config", "--from-masks", "--head", "--key-file", "--labels", "--model"),
    "--normals",
)
"""Options that name a file to be read; all others that take a path name a place to write."""
ELSEWHERE = ("demo",)
"""Minutes each time; ``tests/api/test_demo.py`` interrupts it."""


def test_every_place_to_write_is_in_the_list_of_writers() -> None:
    places = {
        (name, param.opts[0])
        for name, command in all_commands().items()
        for param in command.params
        if param.type_descriptor.annotation is Path and param.opts[0].startswith("--")
        if param.opts[0] not in READING and name not in ELSEWHERE
    }
    disturbed = {
        (name, "--out" if word == "-o" else word)
        for writer in WRITERS.values()
        for name in all_commands()
        if f"{' '.join(insert_default_subcommand([*writer.words]))} ".startswith(f"{name} ")
        for word in (writer.option, *writer.words)
    }
    assert len(places) > 15
    assert places - disturbed == set()


def test_a_kill_between_a_table_and_its_figures_is_noticed_and_mended(study: HardStudy) -> None:
    changes = study.changes("score")
    for change in range(changes - 3, changes + 1):
        assert study.killed("score", change) == ""


def test_what_a_killed_export_left_is_swept(study: HardStudy) -> None:
    assert study.killed_in_file("export", 1_000) == ""
    assert study.killed("export", study.changes("export") // 2) == ""


def test_a_killed_import_of_a_model_is_done_again(study: HardStudy) -> None:
    assert study.killed("models import", study.changes("models import") // 2) == ""
    assert study.killed_in_file("models import", 10_000) == ""


def test_full_and_locked_places_are_told(study: HardStudy) -> None:
    assert study.limited("models import", 10_000) == ""
    assert study.full("score") == ""
    assert study.locked_out("score") == ""


def test_names_that_are_long_or_no_text_are_taken(study: HardStudy) -> None:
    assert study.longest("embed") == ""
    assert study.too_long("embed") == ""
    assert study.strange("models import") == ""


def test_preprocess_bears_a_clock_that_runs_backwards_and_names_of_any_length(
    study: HardStudy,
) -> None:
    assert study.backwards("preprocess") == ""
    assert study.too_long("preprocess") == ""


def test_two_at_once_and_a_clock_that_runs_backwards_change_nothing(study: HardStudy) -> None:
    assert study.rivals("score") == ""
    assert study.backwards("score") == ""
