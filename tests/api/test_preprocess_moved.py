"""A source that was moved is known by its content; one that was copied is a duplicate."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Generator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ears import Ears
from made_sources import (
    REASONS,
    SIDE,
    fake_outcomes,
    lives_of,
    make_inbox,
    make_quick,
    put,
    reasons,
    run,
    run_and_die,
    state_of,
)

from echocli.api import preprocess as module
from echocli.api._preprocess.clip import Outcome, Settings, Task
from echocli.api.preprocess import PreprocessResult, preprocess
from echocli.clips.progress import read_states
from echocli.clips.store import ClipSet
from echocli.intake.reasons import Reason, Refused


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    make_quick(monkeypatch)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    return make_inbox(tmp_path / "inbox")


MOVED = "{} source(s) stand at other places than before: known by their content, they are not"


def again(inbox: Path, out: Path, **options: Any) -> tuple[PreprocessResult, list[str]]:
    """Run, and return what was said of sources that have moved."""
    ears = Ears()
    result = run(inbox, out, reporter=ears, **options)
    return result, [said for said in ears.said if "other places" in said]


def test_a_folder_that_was_moved_is_known_by_its_content(inbox: Path, tmp_path: Path) -> None:
    out = tmp_path / "clips"
    run(inbox, out)
    before = {name: data for name, data in state_of(out).items() if "state/" not in name}
    for name in ("renamed", "inbox", "mounted elsewhere"):  # back again, too
        inbox = inbox.rename(tmp_path / name)
        result, said = again(inbox, out)
        assert (result.moved, result.n_clips, result.n_sources) == (10, 7, 10)
        assert result.unchanged
        assert said == [MOVED.format(10) + " made again"]
        assert reasons(out) == REASONS  # the twins in it are twins still, and nothing else is
        after = state_of(out)
        assert {name: after[name] for name in before} == before
        assert again(inbox, out) == (replace(result, moved=0), [])
        assert state_of(out) == after
    (state,) = read_states(out)
    assert (len(state.places), len(state.left)) == (10, 20)


def test_half_of_a_folder_may_move(inbox: Path, tmp_path: Path) -> None:
    out, above = tmp_path / "clips", tmp_path / "above"
    above.mkdir()
    inbox = inbox.rename(above / "inbox")
    preprocess([inbox], out, size=SIDE, key_file=tmp_path / "key")
    (above / "other").mkdir()
    for name in ("05", "06", "08"):
        (inbox / name).rename(above / "other" / name)
    result, said = again(above, out)
    assert (result.moved, result.n_sources) == (3, 10)
    assert said == [MOVED.format(3) + " made again"]
    assert reasons(out) == [(6, "duplicate"), (7, "no_decoder"), (10, "still")]


def test_copies_that_are_named_together_are_duplicates(inbox: Path, tmp_path: Path) -> None:
    out, key = tmp_path / "clips", tmp_path / "key"
    run(inbox, out)
    copy = shutil.copytree(inbox, tmp_path / "copy")
    both = preprocess([inbox, copy], out, size=SIDE, key_file=key)
    assert (both.moved, both.n_sources) == (0, 20)
    twins = [(number, "duplicate") for number in range(11, 19)]
    assert reasons(out) == [*REASONS, *twins, (19, "still"), (20, "no_decoder")]
    # Who names one of two twins says nothing of the other.
    told = reasons(out)
    assert again(inbox, out)[0].moved == again(copy, out)[0].moved == 0
    assert len(reasons(out)) == len(told)
    # Of a copy without its original nobody knows whether it is one: it counts as moved.
    elsewhere = shutil.copytree(inbox, tmp_path / "elsewhere")
    assert again(elsewhere, out)[0].moved == 10
    assert reasons(out) == REASONS


def test_what_stands_where_a_moved_file_stood_is_another_source(
    inbox: Path, tmp_path: Path
) -> None:
    out = tmp_path / "clips"
    run(inbox, out)
    (inbox / "03").rename(inbox / "20")
    put(inbox, "03", "clip patient8 new")
    (inbox / "08").rename(inbox / "09")  # a refusal over another
    result, said = again(inbox, out)
    assert (result.moved, result.n_clips, len(said)) == (2, 8, 1)
    assert reasons(out) == [(8, "duplicate"), (9, "still")]
    (inbox / "20").rename(inbox / "03")  # and back, over the new one
    assert again(inbox, out)[0].n_clips == 8
    assert reasons(out) == [(8, "duplicate"), (9, "still")]


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_shares_know_what_has_moved_from_one_to_another(
    inbox: Path, tmp_path: Path, order: tuple[int, ...]
) -> None:
    out = tmp_path / "clips"

    def shares(folder: Path) -> int:
        return sum(run(folder, out, shard=f"{number}/3").moved for number in order)

    assert shares(inbox) == 0
    for name in ("b", "a", "inbox"):
        inbox = inbox.rename(tmp_path / name)
        assert shares(inbox) in (9, 10)  # the twins may be in two shares
        for number in range(10):  # by the name of a file goes its share
            file = next(file for file in inbox.iterdir() if file.name[-2:] == f"{number:02}")
            file.rename(inbox / f"{number}{name}{number:02}")
        assert shares(inbox) in (9, 10)  # the twins may be in two shares
        assert reasons(out) == REASONS
    assert run(inbox, out).moved == 0
    assert run(inbox.rename(tmp_path / "c"), out).moved == 10
    assert shares(tmp_path / "c") == 0
    assert reasons(out) == REASONS


def test_the_later_of_two_shares_says_what_stands_at_a_place(
    inbox: Path, tmp_path: Path
) -> None:
    out = tmp_path / "clips"
    run(inbox, out)
    put(inbox, "08", "clip patient9 instead of a still")
    put(inbox, "09", "clip patient9 instead of no decoder")
    for number in (2, 1):  # each takes over what was known of the other's sources
        run(inbox, out, shard=f"{number}/2")
    assert reasons(out) == [(8, "duplicate")]


def test_a_disk_that_is_away_for_the_moment_makes_no_duplicates(
    inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, key = tmp_path / "clips", tmp_path / "key"
    run(inbox, out)
    copy = shutil.copytree(inbox, tmp_path / "copy")

    def unread(
        tasks: Iterable[Task], settings: Settings, *rest: Any
    ) -> Generator[Outcome, None, None]:
        """Tell of a disk whose folders are there and whose files cannot be read."""
        for task in tasks:
            if task.path.is_relative_to(inbox):
                away = Refused(Reason.UNREADABLE)
                yield Outcome(task, hashlib.sha256(bytes(task.path)).hexdigest(), refused=away)
            else:
                yield from fake_outcomes([task], settings, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(module, "outcomes", unread)
        preprocess([inbox, copy], out, size=SIDE, key_file=key)
    found = reasons(out)
    assert found[:10] == [(number, "unreadable") for number in range(1, 11)]
    assert found[10:] == [(number + 10, reason) for number, reason in REASONS]
    preprocess([inbox, copy], out, size=SIDE, key_file=key)
    assert [reason for _, reason in reasons(out)].count("duplicate") == 8 + 1
    assert "unreadable" not in dict(reasons(out)).values()


def test_a_death_after_a_move_costs_nothing(inbox: Path, tmp_path: Path) -> None:
    first, out = tmp_path / "first", tmp_path / "clips"
    run(inbox, first)
    inbox = inbox.rename(tmp_path / "moved")
    put(inbox, "10", "clip patient9")
    shutil.copytree(first, out)
    moments = lives_of(inbox, out)
    for moment in range(0, moments, 3):
        shutil.rmtree(out)
        shutil.copytree(first, out)
        run_and_die(inbox, out, moment)
        run(inbox, out)
        assert (len(ClipSet.open(out)), reasons(out)) == (8, REASONS), moment


def test_a_state_that_vanishes_while_it_is_read_is_another_process_at_work(
    inbox: Path, tmp_path: Path
) -> None:
    out = tmp_path / "clips"
    run(inbox, out)
    (out / "state/1-of-9.json").symlink_to("gone.json")
    assert [state.name for state in read_states(out)] == ["1-of-1"]
    assert run(inbox, out).unchanged
