"""Files are either whole or absent."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest

from echocli.errors import UsageError
from echocli.files import atomic_path, new_file, new_folder, read_json, sha256_of, write_json


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
