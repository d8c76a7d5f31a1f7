import csv
import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import examples

from echocli.api import inspect as inspecting
from echocli.api.inspect import (
    COLUMNS,
    InspectSummary,
    csv_file,
    inspect,
    inspect_each,
    linkage_file,
)
from echocli.errors import EchoError
from echocli.intake.read import FileDescription, describe
from echocli.intake.reasons import Reason


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    loop = Path(str(examples.get_path("ybr_color")))
    shutil.copy(loop, folder / "Doe_Jane_1")
    (folder / "Doe_Jane_2.dcm").write_bytes(loop.read_bytes()[:20_000])
    (folder / "Doe_Jane_3.dcm").write_text("hello")
    shutil.copy(str(examples.get_path("palette_color")), folder / "Doe_Jane_4.dcm")
    (folder / "Doe_Jane_5.zip").write_bytes(b"PK\x03\x04")
    return folder


def test_each_file_has_a_verdict_in_sorted_order(archive: Path) -> None:
    result = inspect([archive])
    assert [file.position for file in result.files] == [1, 2, 3, 4, 5]
    assert [file.description.reason for file in result.files] == [
        None,
        Reason.TRUNCATED,
        Reason.NOT_AN_IMAGE,
        Reason.STILL,
        Reason.ARCHIVE,
    ]
    summary = result.summary
    assert (summary.n_files, summary.n_usable) == (5, 1)
    assert summary.kinds.total() == 5
    assert summary.reasons.total() == 4


def test_a_row_tells_all(archive: Path) -> None:
    row = inspect([archive]).files[0].row()
    assert tuple(row) == COLUMNS
    assert row["frames"] == 30
    assert (row["rows"], row["columns"]) == (240, 320)
    assert row["rate_hz"] == pytest.approx(30, abs=0.01)
    assert row["time_source"] == "frame_time"
    assert row["spacing_source"] == "region_rescaled"
    assert row["transfer_syntax"] == "JPEG Baseline (Process 1)"
    assert row["decodable"] is True
    assert (row["verdict"], row["reason"]) == ("use", None)


def test_the_csv_holds_the_same_and_no_name(archive: Path, tmp_path: Path) -> None:
    with csv_file(tmp_path / "files.csv") as take:
        for file in inspect_each([archive], InspectSummary()):
            take(file)
    text = (tmp_path / "files.csv").read_text()
    assert "Doe" not in text
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["verdict"] for row in rows] == ["use"] + 4 * ["refuse"]
    assert [int(row["file"]) for row in rows] == [1, 2, 3, 4, 5]


def test_an_empty_folder_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(EchoError, match="no file to read"):
        inspect([tmp_path])


def test_the_linkage_alone_says_which_file_is_which(archive: Path, tmp_path: Path) -> None:
    strange = archive / os.fsdecode(b"\xff Zo\xeb")
    strange.write_text("hello")
    result = inspect([archive])
    assert "Doe" not in repr(result)
    with linkage_file(tmp_path / "linkage.csv") as take:
        for file in result.files:
            take(file)
    assert stat.S_IMODE((tmp_path / "linkage.csv").stat().st_mode) == 0o600
    with (tmp_path / "linkage.csv").open(errors="surrogateescape") as written:
        rows = list(csv.DictReader(written))
    assert [row["source"] for row in rows] == [str(path) for path in sorted(archive.iterdir())]
    assert [row["file"] for row in rows] == list("123456")
    assert rows[0] | {"source": ""} == {
        "source": "",
        "file": "1",
        "verdict": "use",
        "reason": "",
    }
    assert rows[2]["reason"] == "not_an_image"


def test_order_and_verdicts_do_not_depend_on_the_workers(archive: Path) -> None:
    folders = [archive] + [Path(shutil.copytree(archive, f"{archive}{n}")) for n in range(4)]
    one, three = inspect(folders, workers=1), inspect(folders, workers=3)
    assert [file.row() for file in one.files] == [file.row() for file in three.files]
    assert [file.path for file in one.files] == [file.path for file in three.files]
    assert one.summary == three.summary
    assert len(one.files) == 25


def describe_or_die(path: Path) -> FileDescription:
    if "Jane_3" in path.name:
        os.abort()
    return describe(path)


def test_a_header_that_kills_its_reader_costs_itself_alone(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(source: object, note: object) -> FileDescription:
        raise AssertionError("headers are read in workers")

    monkeypatch.setattr(inspecting, "describe", work)  # this process does not read them
    assert inspect([archive]).summary.n_usable == 1
    monkeypatch.setattr(inspecting, "_work", in_worker)
    found = inspect([archive])
    assert [file.description.reason for file in found.files] == [
        None,
        Reason.TRUNCATED,
        Reason.UNDECODABLE,
        Reason.STILL,
        Reason.ARCHIVE,
    ]


def in_worker(source: Any, note: object) -> FileDescription:
    return describe_or_die(source.path)


def nested(levels: int) -> bytes:
    """Sequences within sequences, of undefined length and never closed."""
    item = b"\x18\x00\x11\x60SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return item * levels


@pytest.mark.parametrize(
    "hostile",
    [
        nested(300),
        nested(100_000),
        b"\x10\x00\x20\x00UT\x00\x00\xf0\xff\xff\xff" + 20 * b"x",  # 4 GB declared
        b"\x18\x00\x11\x60SQ\x00\x00\xf0\xff\xff\xff" + 20 * b"x",
    ],
    ids=["300 deep", "100,000 deep", "4 GB of text", "4 GB of sequence"],
)
def test_hostile_headers_get_a_reason(archive: Path, hostile: bytes) -> None:
    meta = b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\x00"
    (archive / "Doe_Jane_0").write_bytes(bytes(128) + b"DICM" + meta + hostile)
    found = inspect([archive], workers=1)
    assert found.files[0].description.reason in (
        Reason.UNREADABLE,
        Reason.TRUNCATED,
        Reason.OUT_OF_MEMORY,
    )
    assert found.files[1].description.usable


def test_what_to_install_is_counted(archive: Path) -> None:
    file = inspect([archive]).files[0]
    summary = InspectSummary()
    for package in ("av", "", "imagecodecs", "imagecodecs"):
        lacking = replace(file.description, reason=Reason.NO_DECODER, missing=package)
        summary.add(replace(file, description=lacking))
    summary.add(replace(file, description=replace(lacking, reason=Reason.STILL)))
    assert summary.missing == {"imagecodecs": 2, "av": 1}
