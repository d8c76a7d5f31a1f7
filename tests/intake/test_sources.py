import os
from pathlib import Path

import pytest

from echocli.errors import EchoError
from echocli.intake.read import describe, read_loop
from echocli.intake.reasons import Reason, Refused
from echocli.intake.sources import Content, content_of, find_sources


def touch(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_folders_are_walked_and_sorted(tmp_path: Path) -> None:
    kept = [touch(tmp_path / name) for name in ("a", "b/IM0001", "b/c/x.dcm", "z.mp4")]
    for name in (".hidden", "b/.git/x", "labels.csv", "notes.txt", "DICOMDIR", "b/dicomdir"):
        touch(tmp_path / name)
    os.symlink(kept[0], tmp_path / "link")
    os.symlink(tmp_path, tmp_path / "b" / "loop")
    assert find_sources([tmp_path]) == kept
    assert find_sources([tmp_path / "z.mp4", tmp_path]) == [kept[3], *kept[:3]]


def test_a_named_file_is_taken_whatever_its_name(tmp_path: Path) -> None:
    table = touch(tmp_path / "labels.csv")
    assert find_sources([table, table]) == [table]


def test_nothing_and_missing_are_one_clear_message(tmp_path: Path) -> None:
    with pytest.raises(EchoError, match="no file to read"):
        find_sources([tmp_path])
    secret = tmp_path / "Doe_John.dcm"
    with pytest.raises(EchoError, match="Path 2 of 2 does not exist") as caught:
        find_sources([tmp_path, secret])
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (b"\0" * 128 + b"DICM", Content.DICOM),
        (b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100", Content.DICOM),
        (b"\x08\x00\x05\x00\x0a\x00\x00\x00ISO_IR 100", Content.DICOM),
        (b"PK\x03\x04" + b"\0" * 200, Content.ARCHIVE),
        (b"\x1f\x8b\x08" + b"\0" * 200, Content.ARCHIVE),
        (b"\xff\xd8\xff\xe0" + b"\0" * 200, Content.PICTURE),
        (b"GIF89a" + b"\0" * 200, Content.VIDEO),
        (b"RIFF\x10\x00\x00\x00AVI LIST", Content.VIDEO),
        (b"\x00\x00\x00\x20ftypisom", Content.VIDEO),
        (b"just a text file, called x.dcm", Content.OTHER),
        (b"\x08\x00", Content.OTHER),
    ],
)
def test_the_bytes_tell_and_not_the_name(tmp_path: Path, data: bytes, content: Content) -> None:
    for name in ("x.dcm", "x.mp4", "noext"):
        assert content_of(touch(tmp_path / name, data)) is content


def reason_of(path: Path) -> Reason | None:
    with pytest.raises(Refused) as caught:
        read_loop(path)
    assert describe(path).reason is caught.value.reason
    return caught.value.reason


def test_what_is_no_image_has_its_reason(tmp_path: Path) -> None:
    assert reason_of(touch(tmp_path / "x.dcm", b"hello, I am text")) is Reason.NOT_AN_IMAGE
    assert reason_of(touch(tmp_path / "empty", b"")) is Reason.EMPTY
    assert reason_of(touch(tmp_path / "a.zip", b"PK\x03\x04....")) is Reason.ARCHIVE
    assert reason_of(tmp_path / "gone") is Reason.UNREADABLE
    bare = touch(tmp_path / "bare", b"\0" * 128 + b"DICM")
    assert reason_of(bare) in (Reason.UNREADABLE, Reason.NOT_AN_IMAGE)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.timeout(10)
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert reason_of(pipe) is Reason.UNREADABLE


def test_a_folder_called_dcm_is_a_folder(tmp_path: Path) -> None:
    inside = touch(tmp_path / "x.dcm" / "y")
    assert find_sources([tmp_path]) == [inside]


def test_names_that_are_no_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xfe" + b"n" * 200)
    path = touch(tmp_path / name)
    assert find_sources([tmp_path]) == [path]
    assert reason_of(path) is Reason.NOT_AN_IMAGE


def test_a_folder_that_cannot_be_opened_costs_itself_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shut").mkdir()
    (tmp_path / "x.dcm").write_bytes(b"x")
    scandir = os.scandir

    def failing(path: str) -> object:
        if os.path.basename(path) == "shut":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", failing)
    found = find_sources([tmp_path])
    assert [path.name for path in found] == ["shut", "x.dcm"]
    assert describe(found[0]).detail == "a folder that cannot be opened"


def test_clip_sets_are_passed_over_as_preprocess_does(tmp_path: Path) -> None:
    for name in ("set/manifest/part-00000.parquet", "set/shard-00000.u8", "study/manifest/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert find_sources([tmp_path]) == [tmp_path / "study/manifest/x"]
