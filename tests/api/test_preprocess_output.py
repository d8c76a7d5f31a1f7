"""The output belongs to the clip set alone: no source lies in it, nothing else is replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ears import Ears
from made_sources import REASONS, SIDE, make_inbox, make_quick, put, reasons, run, state_of

from echocli.api.preprocess import PreprocessResult, preprocess
from echocli.clips.store import ClipSet
from echocli.errors import EchoError, UsageError
from echocli.files import read_json


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    make_quick(monkeypatch)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    return make_inbox(tmp_path / "inbox")


def of_list(files: list[Path], out: Path, ears: Ears) -> PreprocessResult:
    key = out.parent / "key"
    return preprocess(sorted(files), out, size=SIDE, key_file=key, reporter=ears)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("named", ["clips", "clips/raw", "clips/raw/01", "link", "link/raw"])
def test_sources_in_the_output_are_refused_and_stay(
    inbox: Path, tmp_path: Path, named: str, overwrite: bool
) -> None:
    out = tmp_path / "clips"
    run(inbox, out)
    (tmp_path / "link").symlink_to("clips")
    put(out / "raw", "01", "clip patient9")
    before = state_of(out)
    options = {"size": SIDE, "key_file": tmp_path / "key", "overwrite": overwrite}
    with pytest.raises(UsageError, match="Path 2 of 2 lies in the output"):
        preprocess([inbox, tmp_path / named], out, **options)  # type: ignore[arg-type]
    assert state_of(out) == before


def test_what_is_no_part_of_a_set_is_never_replaced(inbox: Path, tmp_path: Path) -> None:
    out = tmp_path / "clips"
    run(inbox, out)
    put(out, ".DS_Store", "of a file manager")
    put(out, "thesis.txt", "three years of work")
    put(out / "manifest", "notes.txt", "more of it")
    before = state_of(out)
    with pytest.raises(UsageError, match=r"holds 2 file\(s\) that no clip set has") as told:
        run(inbox, out, overwrite=True)
    assert "thesis" not in told.value.problem
    put(inbox, "10", "clip patient9")
    with pytest.raises(UsageError, match="holds 2"):  # not only when all the work is done
        run(inbox, out)
    assert state_of(out) == before
    (out / "thesis.txt").unlink()
    (out / "manifest/notes.txt").unlink()
    assert run(inbox, out).n_clips == 8
    (out / "quarantine.csv").unlink()  # a set that lacks something may be replaced
    put(out, ".audit.json.0123abcd.tmp", "half written")
    assert run(inbox, out, overwrite=True).n_clips == 8
    assert sorted(os.listdir(tmp_path)) == ["clips", "inbox", "key"]


def test_a_link_to_the_output_stays_a_link(inbox: Path, tmp_path: Path) -> None:
    out, disk = tmp_path / "clips", tmp_path / "disk"
    disk.mkdir()
    out.symlink_to("disk/clips")
    (disk / "clips").mkdir()
    run(inbox, out)
    put(inbox, "10", "clip patient9")
    assert run(inbox, out, overwrite=True).n_clips == 8
    assert out.is_symlink()
    assert len(ClipSet.open(disk / "clips")) == 8
    (disk / "clips").rename(disk / ".clips.0123abcd.old")  # killed here, between two renames
    assert run(inbox, out).unchanged
    assert sorted(os.listdir(tmp_path)) == ["clips", "disk", "inbox", "key"]
    assert os.listdir(disk) == ["clips"]


def test_a_list_of_all_files_may_name_those_of_sets(inbox: Path, tmp_path: Path) -> None:
    out, other, ears = tmp_path / "clips", tmp_path / "other", Ears()
    run(inbox, other)
    sources = [path for path in inbox.iterdir() if path.is_file()]
    of_list(sources, out, ears)
    put(out / "dicom", "c0123456789abcdef.dcm", "a copy of our own")
    before = state_of(out)
    (out / "dicom").mkdir(exist_ok=True)
    lists = [[p for p in folder.rglob("*") if p.is_file()] for folder in (out, other)]
    assert of_list([*sources, *lists[0], *lists[1]], out, ears).unchanged
    assert state_of(out) == before
    assert reasons(out) == REASONS
    count = len(lists[0]) + len(lists[1])
    assert ears.heard_of(f"{count} file(s) passed over")


def test_a_clip_set_is_no_source_but_its_copies_are(inbox: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    run(inbox, made)
    with pytest.raises(EchoError, match="Path 1 of 1 is a clip set") as told:
        run(made, tmp_path / "clips")
    assert "embed" not in told.value.problem
    assert not (tmp_path / "clips").exists()
    copy = put(made / "dicom", "c0123456789abcdef.dcm", "clip patient9")
    assert run(made / "dicom", tmp_path / "of folder").n_clips == 1
    assert of_list([copy], tmp_path / "of file", Ears()).n_clips == 1


@pytest.mark.parametrize("content", ["", "{", "[]", "null", None])
def test_a_damaged_audit_is_made_again_by_the_same_command(
    inbox: Path, tmp_path: Path, content: str | None
) -> None:
    out = tmp_path / "clips"
    run(inbox, out)
    audit = read_json(out / "audit.json")
    (out / "audit.json").unlink()
    if content is not None:
        (out / "audit.json").write_text(content)
    run(inbox, out)
    again = read_json(out / "audit.json")
    assert {**again, "checks": audit["checks"]} == audit
    assert all(check["passed"] for check in again["checks"])
