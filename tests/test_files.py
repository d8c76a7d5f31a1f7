"""Files are either whole or absent."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import shutil
from pathlib import Path

import pytest

from echocli.errors import UsageError
from echocli.files import (
    atomic_path,
    claimed,
    new_file,
    new_folder,
    read_json,
    sha256_of,
    sweep,
    take_place,
    write_json,
)

posix = pytest.mark.skipif(os.name != "posix", reason="locks and links of POSIX systems")


def test_a_failed_write_leaves_what_was_there_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    target.write_text("old")

    def fail_half_way() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("new, but not who")
            assert temporary.parent == target.parent
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_write_is_seen_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "table.csv"
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


def test_json_goes_round_and_refuses_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": [1, 2.5, None, "x"]})
    assert read_json(tmp_path / "a.json") == {"a": [1, 2.5, None, "x"]}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", {"a": math.nan})
    assert not (tmp_path / "b.json").exists()


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    with pytest.raises(UsageError, match="--overwrite"):
        new_folder(folder)
    assert (folder / "sub").exists()
    assert list(new_folder(folder, overwrite=True).iterdir()) == []
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(UsageError, match="--overwrite"):
        new_folder(file)
    with pytest.raises(UsageError, match="--overwrite"):
        new_file(file)
    assert new_file(file, overwrite=True) == file


def test_sha256_is_the_standard_one(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(b"echo" * 100_000)
    assert sha256_of(path) == hashlib.sha256(b"echo" * 100_000).hexdigest()


@posix
def test_what_the_dead_left_is_swept_and_what_lives_or_is_strange_stays(tmp_path: Path) -> None:
    dead, folder, alive, gone, others = (
        tmp_path / f".{name}.tmp"
        for name in (
            *("out.csv.0000000a", "out.csv.0000000b", "out.csv.0000000c"),
            *("out.csv.0000000d", "out.json.0000000e"),
        )
    )
    for path in (dead, alive, others):
        path.touch()
    folder.mkdir()
    gone.symlink_to(tmp_path / "nothing")  # as if its owner ended while we looked
    with claimed(alive):
        sweep(tmp_path, ["out.csv"])
    assert sorted(tmp_path.iterdir()) == sorted([alive, gone, others])


@posix
@pytest.mark.parametrize("number", [errno.EBADF, errno.ENOLCK])
def test_where_files_cannot_be_locked_they_are_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(number, "no locks for readers")

    monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / ".table.csv.0000000a.tmp").touch()
    write_json(tmp_path / "table.csv", 3)
    sweep(tmp_path, ["table.csv"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".table.csv.0000000a.tmp",
        "table.csv",
    ]


@posix
@pytest.mark.parametrize("before", ["folder", "file", "link", "nothing"])
def test_a_folder_takes_the_place_of_whatever_stood_there(tmp_path: Path, before: str) -> None:
    new, place = tmp_path / "new", tmp_path / "place"
    new.mkdir()
    (new / "result").touch()
    (tmp_path / "elsewhere").mkdir()
    if before == "folder":
        place.mkdir()
        (place / "old").touch()
    elif before == "file":
        place.touch()
    elif before == "link":
        place.symlink_to(tmp_path / "elsewhere")
    take_place(new, place)
    assert [path.name for path in place.iterdir()] == ["result"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "place"]


def test_a_folder_that_cannot_take_a_place_leaves_what_stood_there(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "old").touch()
    with pytest.raises(OSError):  # noqa: PT011 - the system's own words
        take_place(tmp_path / "none", tmp_path / "place")
    assert [path.name for path in tmp_path.iterdir()] == ["place"]
    assert (tmp_path / "place" / "old").exists()


@posix
def test_a_process_killed_between_two_names_loses_neither_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, place, rename = tmp_path / ".place.0000000a.tmp", tmp_path / "place", Path.replace
    for folder in (new, place):
        folder.mkdir()
    (place / "result").touch()

    def die(path: Path, target: Path) -> Path:
        if path == new:
            sweep(tmp_path, ["place"])  # of somebody else, who sees that this one lives
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as killed, claimed(new):
        killed.setattr(Path, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            take_place(new, place)
    assert not place.exists()
    sweep(tmp_path, ["place"])
    assert [path.name for path in tmp_path.iterdir()] == ["place"]
    assert [path.name for path in place.iterdir()] == ["result"]


def test_the_new_folder_is_whole_before_the_old_one_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("new", "place"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()

    def die(*_: object, **how: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", die)
    with pytest.raises(KeyboardInterrupt):
        take_place(tmp_path / "new", tmp_path / "place")
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["new"]
