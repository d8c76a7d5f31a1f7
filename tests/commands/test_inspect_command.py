import csv
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import examples

from echocli.api.inspect import COLUMNS
from echocli.intake.read import FileDescription, describe
from echocli.intake.reasons import Reason
from echocli.main import run


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "dicom"
    folder.mkdir()
    shutil.copy(str(examples.get_path("ybr_color")), folder / "Doe_Jane.dcm")
    (folder / "x.dcm").write_text("just text")
    return tmp_path


@dataclass
class Done:
    returncode: int
    stdout: bytes
    stderr: bytes


@pytest.fixture
def echocli(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], study: Path
) -> Callable[..., Done]:
    """Run the command line in the study folder, in this process."""

    def call(*words: str, feed: bytes = b"") -> Done:
        monkeypatch.chdir(study)
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(feed)))
        with pytest.raises(SystemExit) as caught:
            run(list(words))
        out, err = capfdbinary.readouterr()
        return Done(int(caught.value.code or 0), out, err)

    return call


Run = Callable[..., Done]


def test_a_study_folder_needs_no_arguments(echocli: Run) -> None:
    done = echocli("inspect")
    assert done.returncode == 0
    head, *rows = done.stdout.decode().splitlines()
    assert head.startswith("file\tkind")
    assert [row.split("\t")[6] for row in rows] == [
        "use",
        "neither DICOM nor a video nor a volume",
    ]
    assert b"1 of 2 file(s) can be used" in done.stderr
    assert b"Doe" not in done.stdout + done.stderr


def test_json_quiet_and_csv_say_the_same(echocli: Run, study: Path) -> None:
    done = echocli("inspect", "dicom", "--json", "-o", "files.csv")
    document = json.loads(done.stdout)
    assert document["schema"] == "echocli.inspect/1"
    assert (document["n_files"], document["n_usable"]) == (2, 1)
    assert document["reasons"] == {"not_an_image": 1}
    assert document["kinds"] == {"2-D cine": 1, "other": 1}
    assert document["missing"] == {}
    assert tuple(document["files"][0]) == COLUMNS
    rows = list(csv.DictReader((study / "files.csv").read_text().splitlines()))
    assert [row["kind"] for row in rows] == [file["kind"] for file in document["files"]]
    assert echocli("inspect", "-q").stdout == b"1\n"
    again = echocli("inspect", "-o", "files.csv")
    assert again.returncode == 2
    assert b"--overwrite" in again.stderr
    streamed = echocli("inspect", "-o", "-").stdout.decode()
    assert streamed == (study / "files.csv").read_text()


def test_the_summary_and_the_linkage_come_with_every_form(echocli: Run, study: Path) -> None:
    done = echocli("inspect", "--csv", "-", "--linkage", "linkage.csv", "--workers", "2")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 3
    said = done.stderr.decode()
    assert "1 of 2 file(s) can be used: 1 2-D cine, 1 other" in said
    assert "1 not_an_image: neither DICOM nor a video nor a volume" in said
    assert "who is who" in said
    assert "Doe" not in said
    assert "dicom/Doe_Jane.dcm,1,use," in (study / "linkage.csv").read_text()
    assert echocli("inspect", "--linkage", "linkage.csv").returncode == 2


def test_a_missing_decoder_is_named_with_the_number_of_files(
    echocli: Run, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echocli.api.inspect._work", without_jpeg)
    for number in range(2):
        shutil.copy(study / "dicom/Doe_Jane.dcm", study / f"dicom/Roe_{number}")
    done = echocli("inspect")
    assert done.returncode == 3
    assert b"for 3 file(s) a decoder is missing: pip install imagecodecs" in done.stderr


def without_jpeg(source: Any, note: object) -> FileDescription:
    said = describe(source.path)
    if not said.usable:
        return said
    reason = Reason.NO_DECODER
    return replace(said, decodable=False, missing="imagecodecs", reason=reason)


@pytest.mark.parametrize(("option", "end"), [((), b"\n"), (("-0",), b"\0")])
def test_paths_come_on_standard_input(echocli: Run, option: tuple[str], end: bytes) -> None:
    feed = end.join([b"dicom/x.dcm", b"dicom/Doe_Jane.dcm", b""])
    done = echocli("inspect", "-", "-q", *option, feed=feed)
    assert (done.returncode, done.stdout) == (0, b"2\n")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("dicom/x.dcm", b"None of 1 file(s) can be used: 1 not_an_image."),
        ("empty", b"There is no file to read."),
        ("gone", b"Path 1 of 1 does not exist."),
    ],
)
def test_nothing_usable_is_one_message_and_code_3(
    echocli: Run, study: Path, word: str, said: bytes
) -> None:
    (study / "empty").mkdir()
    done = echocli("inspect", word, "-q")
    assert done.returncode == 3
    assert done.stdout == b""
    error, remedy = done.stderr.splitlines()
    assert said in error
    assert b"fix:" in remedy
