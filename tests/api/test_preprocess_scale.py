"""A clip set grows by parts, whoever writes, whatever ends them: nothing is lost or doubled."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import pytest
from ears import Ears
from made_sources import (
    REASONS,
    fake_clip,
    fake_outcomes,
    lives_of,
    make_inbox,
    make_quick,
    put,
    reasons,
    run,
    run_and_die,
    same,
    state_of,
)

from echocli.api import preprocess as module
from echocli.api._preprocess.clip import Outcome, Settings, Task
from echocli.clips.progress import read_states
from echocli.clips.store import ClipSet
from echocli.errors import EchoError, MachineError, PrivacyError, UsageError
from echocli.files import read_json
from echocli.intake.reasons import Reason, Refused
from echocli.locks import locked


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    make_quick(monkeypatch)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    return make_inbox(tmp_path / "inbox")


def test_parts_are_whole_and_account_for_every_source(inbox: Path, tmp_path: Path) -> None:
    result = run(inbox, tmp_path / "clips")
    assert (result.n_sources, result.n_clips, result.n_patients) == (10, 7, 4)
    parts = sorted((tmp_path / "clips/manifest").glob("*.json"))
    told = [source for part in parts for source in read_json(part)["sources"]]
    assert [source["position"] for source in told] == [1, 2, 3, 4, 5, 6, 7, 9, 10]
    assert [len(read_json(part)["sources"]) for part in parts] == [3, 3, 3]
    assert all(read_json(part)["checks"] for part in parts)
    assert reasons(tmp_path / "clips") == REASONS
    assert not list((tmp_path / "clips").glob(".*"))


def test_the_same_again_changes_no_byte_and_new_sources_are_added(
    inbox: Path, tmp_path: Path
) -> None:
    out = tmp_path / "clips"
    run(inbox, out)
    before, order = state_of(out), ClipSet.open(out).manifest["clip_id"].tolist()
    assert run(inbox, out).unchanged
    assert state_of(out) == before
    put(inbox, "00b", "clip patient9")
    result = run(inbox, out)
    assert not result.unchanged
    assert ClipSet.open(out).manifest["clip_id"].tolist()[:7] == order
    assert (result.n_clips, result.n_sources) == (8, 11)
    # Positions are those in the newest list, so that a reader finds the file.
    assert reasons(out) == [(number + 1, reason) for number, reason in REASONS]
    put(tmp_path / "more", "10", "clip patient4")
    assert run(tmp_path / "more", out).n_clips == 9
    assert run(inbox, out).unchanged


def test_what_the_machine_lacked_is_tried_again(
    inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "clips"
    run(inbox, out)
    now = {"no_decoder": Refused(Reason.TOO_SLOW), "still": None}

    def other_machine(
        tasks: Iterable[Task], settings: Settings, *rest: Any
    ) -> Generator[Outcome, None, None]:
        for outcome in fake_outcomes(tasks, settings, *rest):
            word = outcome.task.path.read_text()
            if outcome.known or word not in now:
                yield outcome
            elif refused := now[word]:
                yield Outcome(outcome.task, outcome.sha256, refused=refused)
            else:
                clip = fake_clip(outcome.sha256, word, settings)
                yield Outcome(outcome.task, outcome.sha256, clip)

    monkeypatch.setattr(module, "outcomes", other_machine)
    run(inbox, out)
    assert reasons(out) == [(8, "duplicate"), (9, "still"), (10, "too_slow")]
    before = state_of(out)
    assert run(inbox, out).unchanged
    assert state_of(out) == before
    now["no_decoder"] = None
    assert run(inbox, out).n_clips == 8
    assert reasons(out) == [(8, "duplicate"), (9, "still")]


def test_a_mended_file_takes_the_place_of_the_broken_one(inbox: Path, tmp_path: Path) -> None:
    put(inbox, "10", "truncated")
    run(inbox, tmp_path / "clips")
    assert (11, "truncated") in reasons(tmp_path / "clips")
    put(inbox, "10", "clip patient5")
    assert run(inbox, tmp_path / "clips").n_sources == 11
    assert reasons(tmp_path / "clips") == REASONS


def test_a_death_at_any_moment_costs_nothing(inbox: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "clips"
    run(inbox, whole)
    moments = lives_of(inbox, out)
    assert moments > 100
    seen = set()
    for moment in range(0, moments, 6):  # every one of them passes, and takes minutes
        shutil.rmtree(out, ignore_errors=True)
        run_and_die(inbox, out, moment)
        if ClipSet.is_one(out):  # what can be read is whole, at any moment
            assert ClipSet.open(out).verify() == []
            seen.add(len(ClipSet.open(out)))
        run(inbox, out)
        assert same(whole, out), moment
        assert not list(out.rglob(".*")), moment
        assert ClipSet.open(out).unfinished() == []
    assert seen == {3, 6, 7}


def test_a_death_while_replacing_leaves_one_of_the_two(tmp_path: Path) -> None:
    old, new, out = tmp_path / "old", tmp_path / "new", tmp_path / "clips"
    before, after = tmp_path / "before", tmp_path / "after"
    put(before, "a", "clip patient7")
    put(after, "b", "clip patient8")
    put(after, "c", "clip patient9")
    run(before, old)
    run(after, new)
    shutil.copytree(old, out)
    moments = lives_of(after, out, overwrite=True)
    seen = set()
    for moment in range(0, moments, 9):
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(old, out)
        run_and_die(after, out, moment, overwrite=True)
        seen.add(len(ClipSet.open(out)))
        run(after, out, overwrite=True)
        assert same(new, out), moment
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert seen == {1, 2}


def test_a_set_that_was_moved_aside_is_brought_back(inbox: Path, tmp_path: Path) -> None:
    out = tmp_path / "clips"
    run(inbox, out)
    before = state_of(out)
    out.rename(tmp_path / ".clips.0123abcd.old")  # killed here, before the new one came
    (tmp_path / ".clips.0123abcd.tmp/manifest").mkdir(parents=True)
    (tmp_path / ".clips.mine.tmp").mkdir()  # of another program
    assert run(inbox, out).unchanged
    assert state_of(out) == before
    assert sorted(os.listdir(tmp_path)) == [".clips.mine.tmp", "clips", "inbox", "key"]


def test_shares_make_one_set_with_every_source_once(inbox: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "clips"
    expected = run(inbox, whole)
    for number in (2, 3, 1):
        result = run(inbox, out, shard=f"{number}/3")
        assert len(result.unfinished) == {2: 2, 3: 1, 1: 0}[number]
        assert (out / "audit.html").exists()
    both = [ClipSet.open(folder).manifest for folder in (whole, out)]
    assert set(both[0]["clip_id"]) == set(both[1]["clip_id"])
    assert both[0]["clip_id"].is_unique
    assert both[1]["clip_id"].is_unique
    assert reasons(out) == REASONS
    assert result.n_sources == expected.n_sources == 10
    splits = [dict(zip(m["patient_id"], m["split"], strict=True)) for m in both]
    assert splits[0] == splits[1]
    before = state_of(out)
    assert all(run(inbox, out, shard=f"{number}/3").unchanged for number in (1, 2, 3))
    assert state_of(out) == before
    # Another division of the work, and none at all, find everything done.
    assert run(inbox, out, shard="1/2").unchanged
    assert run(inbox, out).unchanged
    assert reasons(out) == REASONS
    assert ClipSet.open(out).unfinished() == []


def test_twins_in_two_shares_that_work_at_once_count_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox, out = tmp_path / "inbox", tmp_path / "clips"
    for number in range(12):
        put(inbox, f"{number:02d}", "clip patient1")

    def meanwhile(
        tasks: Iterable[Task], settings: Settings, *rest: Any
    ) -> Generator[Outcome, None, None]:
        yield from fake_outcomes(tasks, settings, *rest)
        if not nested:
            nested.append(True)
            run(inbox, out, shard="2/2")

    nested: list[bool] = []
    monkeypatch.setattr(module, "outcomes", meanwhile)
    run(inbox, out, shard="1/2")
    assert nested
    assert len(list((out / "manifest").glob("*.parquet"))) == 2
    assert len(ClipSet.open(out)) == 1
    assert [reason for _, reason in reasons(out)] == ["duplicate"] * 11


def test_who_comes_second_is_refused_and_harms_nothing(inbox: Path, tmp_path: Path) -> None:
    out = tmp_path / "clips"
    run(inbox, out)
    before = state_of(out)
    with locked(out / "state/set.lock"):
        for options in ({}, {"overwrite": True}, {"shard": "1/2"}):
            with pytest.raises(UsageError, match="Another `echocli preprocess`"):
                run(inbox, out, **options)
    with locked(out / "state/set.lock", shared=True), locked(out / "state/2-of-2.lock"):
        with pytest.raises(UsageError, match="Another `echocli preprocess`"):
            run(inbox, out)
        with pytest.raises(UsageError, match="working on share 2 of 2"):
            run(inbox, out, shard="2/2")
        (out / "state/2-of-2.lock").unlink()
        run(inbox, out, shard="1/2")
    left = state_of(out)
    assert {name: left[name] for name in before if "state/" not in name} == {
        name: content for name, content in before.items() if "state/" not in name
    }


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1", "a/b", "1/0", "-1/2", ""])
def test_a_share_that_is_none_is_refused(inbox: Path, tmp_path: Path, shard: str) -> None:
    with pytest.raises(UsageError, match="--shard"):
        run(inbox, tmp_path / "clips", shard=shard)


def test_shares_do_not_replace(inbox: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--overwrite and --shard"):
        run(inbox, tmp_path / "clips", shard="1/2", overwrite=True)


def test_a_stop_publishes_what_is_in_hand(inbox: Path, tmp_path: Path) -> None:
    out = tmp_path / "clips"
    asked = iter([False, False, False, False, True])
    result = run(inbox, out, stop=lambda: next(asked))
    assert result.stopped
    assert result.n_clips == 5
    assert result.unfinished == ["it is not finished"]
    assert len(ClipSet.open(out)) == 5
    assert not list(out.glob(".*"))
    assert not run(inbox, out).stopped
    run(inbox, tmp_path / "whole")
    assert same(tmp_path / "whole", out)


def test_a_stop_while_replacing_replaces_nothing(inbox: Path, tmp_path: Path) -> None:
    out = tmp_path / "clips"
    run(inbox, out)
    before = state_of(out)
    assert run(inbox, out, overwrite=True, stop=lambda: True).stopped
    assert state_of(out) == before
    assert sorted(os.listdir(tmp_path)) == ["clips", "inbox", "key"]


def test_too_many_refusals_end_the_run_and_keep_the_rest(inbox: Path, tmp_path: Path) -> None:
    out = tmp_path / "clips"
    for _ in range(2):
        with pytest.raises(EchoError, match="the last is file 9: still"):
            run(inbox, out, max_fail=1)
        assert len(ClipSet.open(out)) == 7
        assert ClipSet.open(out).unfinished() == ["it is not finished"]
    assert run(inbox, out, max_fail=3).unfinished == []


def test_a_patient_stays_in_its_split_for_ever(inbox: Path, tmp_path: Path) -> None:
    out, labels = tmp_path / "clips", tmp_path / "labels.csv"
    labels.write_text("file,split\n00,test\n02,val\n")
    run(inbox, out, labels=labels)
    table = ClipSet.open(out).manifest
    first = dict(zip(table["patient_id"], table["split"], strict=True))
    assert table["split"].tolist()[:4] == ["test", "test", "val", "val"]  # 01 and 03 follow
    put(inbox, "10", "clip patient0 another")
    run(inbox, out, labels=labels)
    table = ClipSet.open(out).manifest
    assert dict(zip(table["patient_id"], table["split"], strict=True)) == first
    labels.write_text("file,split\n01,test\n00,train\n")
    with pytest.raises(EchoError, match="two splits"):
        run(inbox, tmp_path / "torn", labels=labels)


def test_a_table_of_labels_may_grow_but_not_change(inbox: Path, tmp_path: Path) -> None:
    out, labels = tmp_path / "clips", tmp_path / "labels.csv"
    labels.write_text("file,view\n00,A4C\n02,A2C\n")
    run(inbox, out, labels=labels)
    put(inbox, "10", "clip patient5")
    put(inbox, "00a", "clip patient5 again")  # all positions move
    labels.write_text("file,ignored,view\n10,x,PLAX\n02,y,A2C\n00,z,A4C\n")
    run(inbox, out, labels=labels)
    views = ClipSet.open(out).manifest["view"].dropna().tolist()
    assert views == ["A4C", "A2C", "PLAX"]
    before = state_of(out)
    for text, problem in (
        ("00,A3C\n02,A2C\n10,PLAX", "File 1 became a clip with labels and has others"),
        ("00,A4C\n10,PLAX", "File 4 became a clip with labels and has none"),
        ("00,A4C\n01,A4C\n02,A2C\n10,PLAX", "File 3 became a clip with no labels and has some"),
    ):
        labels.write_text(f"file,view\n{text}\n")
        with pytest.raises(UsageError, match=problem):
            run(inbox, out, labels=labels)
    with pytest.raises(UsageError, match=r"File 1 .* has none"):
        run(inbox, out)
    assert state_of(out) == before


def test_labels_by_patient_are_compared_too(inbox: Path, tmp_path: Path) -> None:
    out, labels = tmp_path / "clips", tmp_path / "labels.csv"
    labels.write_text("patient,sex\npatient0,F\n")
    run(inbox, out, labels=labels)
    put(inbox, "10", "clip patient5")
    labels.write_text("patient,sex\npatient5,M\npatient0,F\n")
    run(inbox, out, labels=labels)
    assert ClipSet.open(out).manifest["sex"].dropna().tolist() == ["F", "F", "M"]
    labels.write_text("patient,sex\npatient0,F\npatient1,M\n")
    with pytest.raises(UsageError, match="File 3"):
        run(inbox, out, labels=labels)


def test_patients_in_the_labels_without_a_clip_are_told(inbox: Path, tmp_path: Path) -> None:
    out, labels, ears = tmp_path / "clips", tmp_path / "labels.csv", Ears()
    labels.write_text("patient,sex\n patient0 ,F\npatient1,M\nPATIENT2,M\n7,F\n")
    run(inbox, out, labels=labels, reporter=ears)
    assert ClipSet.open(out).manifest["sex"].notna().sum() == 4
    assert [word for word in ears.warned if "labels" in word] == [
        "2 of 4 patient(s) in the labels have no clip: see that the ids are written as in the "
        "files, with all their zeros."
    ]


@pytest.mark.parametrize("name", ["manifest/part-00000.json", "state/1-of-1.json"])
@pytest.mark.parametrize("content", ["[]", "{", '{"places": 3, "sources": [3]}'])
def test_notes_that_are_damaged_are_told(
    inbox: Path, tmp_path: Path, name: str, content: str
) -> None:
    run(inbox, tmp_path / "clips")
    (tmp_path / "clips" / name).write_text(content)
    with pytest.raises(EchoError, match="cannot be read") as told:
        run(inbox, tmp_path / "clips")
    assert "--overwrite" in told.value.remedy
    run(inbox, tmp_path / "clips", overwrite=True)


def test_a_name_among_labels_takes_the_whole_run_back(
    inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, labels = tmp_path / "clips", tmp_path / "labels.csv"
    labels.write_text("file,view\n00,as 99_Quillonius_77\n")
    put(inbox, "99_Quillonius_77", "clip patient3 last")  # met long after the label
    with pytest.raises(PrivacyError, match="view"):
        run(inbox, out, labels=labels)
    assert not ClipSet.is_one(out)
    assert not list(tmp_path.rglob("*.u8"))


def test_files_called_by_numbers_are_no_leak_in_lists_that_count(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    for number in range(1, 1003):  # "1000" stands at position 1000
        put(inbox, f"{number:04d}", f"clip patient0 {number}" if number > 998 else "still")
    put(inbox, "00000", "clip patient1")  # as a part is called
    assert run(inbox, tmp_path / "clips").n_clips == 5


def test_a_rule_labels_the_clips_and_is_counted(inbox: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("file,ef_percent\n00,60\n01,52\n02,30\n03,61\n")
    rule = {"normal": "ef_percent >= 55", "abnormal": "ef_percent < 50"}
    result = run(inbox, tmp_path / "clips", labels=labels, **rule)
    normal = ClipSet.open(tmp_path / "clips").manifest["normal"].tolist()
    assert normal == [True, None, False, True, None, None, None]
    (used,) = result.rules
    assert (used.normal, used.abnormal, used.neither) == (2, 1, 4)
    with pytest.raises(UsageError, match="normal was"):
        run(inbox, tmp_path / "clips", labels=labels, normal="ef_percent >= 50")
    with pytest.raises(UsageError, match="--abnormal alone"):
        run(inbox, tmp_path / "clips", labels=labels, abnormal="ef_percent < 50")


def test_a_place_that_cannot_be_written_is_told(inbox: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        run(inbox, tmp_path / "file" / "clips")


def test_a_file_system_without_locks_is_told(
    inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import fcntl

    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with pytest.raises(MachineError, match="locks"):
        run(inbox, tmp_path / "clips")


def test_sets_of_older_versions_are_read_but_not_added_to(inbox: Path, tmp_path: Path) -> None:
    out = tmp_path / "clips"
    run(inbox, out)
    (out / "settings.json").unlink()
    shutil.rmtree(out / "state")
    assert ClipSet.open(out).unfinished() == []
    with pytest.raises(UsageError, match="older version"):
        run(inbox, out)
    assert run(inbox, out, overwrite=True).n_clips == 7


def test_a_state_says_nothing_but_keyed_hashes(inbox: Path, tmp_path: Path) -> None:
    out = tmp_path / "clips"
    run(inbox, out)
    (state,) = read_states(out)
    assert (state.name, state.finished, len(state.places)) == ("1-of-1", True, 10)
    assert all(len(place) == 16 and int(place, 16) >= 0 for place in state.places)
    assert len({found.source_id for found in state.places.values()}) == 9
