"""A token planted in every place that can hold a name comes out of no command, in no form."""

from __future__ import annotations

import base64
import csv
import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pydicom
import pytest
from leaks import PICTURE, find_leaks
from ocr import mosaic, needs_tesseract, read_text
from PIL import Image
from planted import BURNED, Hospital, build_hospital

import echocli.api.preprocess
from echocli.clips.store import ClipSet
from echocli.errors import ExitCode
from echocli.main import run
from echocli.privacy.copies import open_copy, stored_frames
from echocli.privacy.sheets import strip

FILES = 6
"""Three DICOM files, a video, a NIfTI and a MetaImage volume."""


Call = Callable[..., tuple[int, list[str]]]


@dataclass(frozen=True)
class Worked:
    """What a hospital's folder became, and all that was said on the way."""

    hospital: Hospital
    root: Path
    said: list[str]

    @property
    def clips(self) -> Path:
        return self.root / "clips"


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Worked:
    hospital = build_hospital(tmp_path_factory.mktemp("hospital") / "archive")
    root = tmp_path_factory.mktemp("worked")
    (root / "temporary").mkdir()
    environment = os.environ | {
        "ECHOCLI_KEY_FILE": str(root / "key"),
        "TMPDIR": str(root / "temporary"),
        "HOME": str(root / "home"),
        "OMP_NUM_THREADS": "1",
    }
    words = ["preprocess", hospital.folder, "-o", root / "clips", "--keep-dicom"]
    words += ["--dates", "shift", "--labels", hospital.root / "labels.csv", "--workers", "1"]
    command = [sys.executable, "-m", "echocli", *words, "--linkage", root / "linkage.csv"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200)
    assert done.returncode in (ExitCode.DONE, ExitCode.PARTIAL), done.stderr
    return Worked(hospital, root, [done.stdout, done.stderr])


@pytest.fixture
def call(
    worked: Worked, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Call:
    """Return what runs a command here, and gives its exit code and all that was written."""
    monkeypatch.setenv("ECHOCLI_KEY_FILE", str(worked.root / "key"))

    def echocli(*words: str | Path) -> tuple[int, list[str]]:
        code = 0
        try:
            run([str(word) for word in words])
        except SystemExit as ended:
            code = int(ended.code or 0)
        return code, [*capfd.readouterr()]

    return echocli


def test_nothing_planted_is_in_the_clip_set(worked: Worked) -> None:
    assert len(ClipSet.open(worked.clips)) + refused(worked) == FILES
    assert len(list((worked.clips / "dicom").glob("*.dcm"))) >= 2
    planted = worked.hospital.planted()
    assert len(planted) > 1000
    assert find_leaks([worked.clips, *worked.said], planted) == []
    assert find_leaks([worked.root / "temporary"], planted) == []
    assert not list((worked.root / "temporary").rglob("*"))
    linked = find_leaks([worked.root / "linkage.csv"], planted)
    assert linked, "the linkage does identify, so the search works"


def refused(worked: Worked) -> int:
    with (worked.clips / "quarantine.csv").open(newline="") as file:
        return len(list(csv.reader(file))) - 1


def test_everything_planted_is_in_the_files(worked: Worked) -> None:
    """A token that never was in a file proves nothing by its absence."""
    inside = find_leaks([worked.hospital.root], worked.hospital.planted())
    found = {line.split("'")[1] for line in inside}
    video = {text for where, text in worked.hospital.tokens.items() if "video" in where}
    # Burned-in texts are pixels; of a video's tags, each muxer writes those it knows.
    missing = set(worked.hospital.tokens.values()) - found - video
    identity = {t for where, t in worked.hospital.tokens.items() if "identity" in where}
    assert {text for text in missing if len(text) > 5} <= identity
    assert len(video & found) >= 3


def test_later_commands_say_and_write_nothing_planted(worked: Worked, call: Call) -> None:
    out = worked.root / "looked"
    said = []
    for words in (
        ["inspect", worked.hospital.folder, "--json"],
        ["verify", worked.clips],
        ["export", worked.clips, "-o", out / "videos", "--assume-fps", "30"],
        ["export", worked.clips, "-o", out / "pages", "--sheet"],
    ):
        code, texts = call(*words)
        assert code in (ExitCode.DONE, ExitCode.PARTIAL), texts
        said += texts
    assert list(out.rglob("*.mp4"))
    assert find_leaks([out, *said], worked.hospital.planted()) == []


def test_embedding_the_folder_itself_leaks_nothing(
    worked: Worked, micro_run: Path, tmp_path: Path, call: Call
) -> None:
    out = tmp_path / "embeddings.parquet"
    words = ["embed", worked.hospital.folder, "--model", micro_run, "-o", out]
    code, said = call(*words, "--device", "cpu", "--precision", "fp32")
    assert code in (ExitCode.DONE, ExitCode.PARTIAL), said
    assert out.exists()
    assert find_leaks([out, *said], worked.hospital.planted()) == []


@pytest.mark.skipif(not find_spec("mlflow"), reason="MLflow is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # theirs
def test_trackers_the_report_the_bundle_and_the_cache_hold_nothing_planted(
    worked: Worked,
    micro_words: tuple[str, ...],
    tmp_path: Path,
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable, name in (("HOME", "home"), ("XDG_CACHE_HOME", "cache")):
        monkeypatch.setenv(variable, str(tmp_path / name))
    run = tmp_path / "runs" / "first"
    settings = (*micro_words, "watch.trackers=['mlflow','tensorboard']")
    light = ("--device", "cpu", "--precision", "fp32")
    said = []
    for words in (
        ["pretrain", worked.clips, "--method", "videomae", "--steps", "2", "-o", run, *light]
        + [part for setting in settings for part in ("--set", setting)],
        ["report", run, "-o", tmp_path / "run.html"],
        ["doctor", tmp_path, "--bundle", tmp_path / "doctor.zip"],
    ):
        code, texts = call(*words)
        assert code == ExitCode.DONE, texts
        said += texts
    assert (run / "mlflow" / "runs.db").is_file()
    assert list((run / "tensorboard").iterdir())
    assert find_leaks([tmp_path, *said], worked.hospital.planted()) == []


@pytest.mark.parametrize("debug", ["", "1"])
def test_a_crash_tells_the_line_and_not_the_words(
    worked: Worked, call: Call, monkeypatch: pytest.MonkeyPatch, debug: str
) -> None:
    planted = worked.hospital.planted()

    def crash(*_: object, **__: object) -> None:
        try:
            (worked.hospital.folder / planted[3]).read_bytes()
        except OSError as error:
            raise ValueError(f"{planted}") from error

    monkeypatch.setattr(echocli.api.preprocess, "find_tasks", crash)
    monkeypatch.setenv("ECHOCLI_DEBUG", debug)
    code, said = call("preprocess", worked.hospital.folder, "-o", worked.root / "no")
    assert code == ExitCode.BUG
    assert "ValueError" in said[1]
    assert ("test_planted.py" in said[1] and "FileNotFoundError" in said[1]) == bool(debug)
    assert find_leaks(said, planted) == []


def test_the_copies_open_strictly_and_hold_shifted_dates(worked: Worked) -> None:
    sources = [pydicom.dcmread(path) for path in worked.hospital.folder.glob("*.dcm")]
    true_dates = {str(source.StudyDate) for source in sources}
    for path in (worked.clips / "dicom").glob("*.dcm"):
        copy = open_copy(path)
        assert copy.StudyDate
        assert copy.StudyDate not in true_dates
        assert copy.PatientAge == "089Y"
        assert "SeriesNumber" not in copy or not copy.SeriesNumber  # seven digits: too many
        assert copy.Manufacturer == "Philips"


@needs_tesseract
def test_an_ocr_engine_reads_nothing_in_what_came_out(worked: Worked) -> None:
    clips = ClipSet.open(worked.clips)
    pictures = [strip(clips.frames(row)) for row in range(len(clips))]
    page = (worked.clips / "audit.html").read_bytes()
    for found in PICTURE.finditer(page):
        with Image.open(io.BytesIO(base64.b64decode(found[1]))) as thumbnail:
            pictures.append(np.asarray(thumbnail.convert("L")))
    copies = [
        strip(np.stack(list(stored_frames(open_copy(path)))))
        for path in (worked.clips / "dicom").glob("*.dcm")
    ]
    words = read_text(mosaic(pictures, 4)) | read_text(mosaic(copies, 2))
    assert words == set()


@needs_tesseract
def test_the_ocr_engine_does_read_what_went_in(worked: Worked) -> None:
    burned = worked.hospital.burned
    with pydicom.config.disable_value_validation():
        dicom = pydicom.dcmread(burned).pixel_array[0, ..., 0]
    with av.open(str(next(worked.hospital.folder.glob("*.mp4")))) as container:
        video = next(container.decode(video=0)).to_ndarray(format="gray8")
    words = read_text(mosaic([dicom, video], 2))
    assert all(any(text in word for word in words) for text in BURNED)
    assert len(words) >= 4
