import csv
import shutil
from pathlib import Path

import pytest
from pydicom import examples

from echocli.api.inspect import COLUMNS, InspectResult, inspect, write_csv
from echocli.errors import EchoError
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
    assert result.n_usable == 1
    assert sum(result.reasons.values()) == 4


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
    result = inspect([archive])
    write_csv(result, tmp_path / "files.csv")
    text = (tmp_path / "files.csv").read_text()
    assert "Doe" not in text
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["verdict"] for row in rows] == ["use"] + 4 * ["refuse"]
    assert [int(row["file"]) for row in rows] == [1, 2, 3, 4, 5]


def test_an_empty_folder_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(EchoError, match="no file to read"):
        inspect([tmp_path])


def test_reasons_are_counted_most_frequent_first(archive: Path) -> None:
    shutil.copy(archive / "Doe_Jane_3.dcm", archive / "Doe_Jane_6.dcm")
    result = inspect([archive])
    assert isinstance(result, InspectResult)
    assert next(iter(result.reasons)) is Reason.NOT_AN_IMAGE
    assert result.reasons[Reason.NOT_AN_IMAGE] == 2
