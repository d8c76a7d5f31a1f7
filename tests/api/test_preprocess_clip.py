"""One source, in this process: what its loop passes on, and what is not read twice."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from echocli import files
from echocli.api._preprocess import clip as clip_module
from echocli.api._preprocess.clip import Settings, Task, lost, process, source_hash
from echocli.datasets.phantom import PhantomConfig, draw_patient, write_dicom_study
from echocli.intake import fingerprint
from echocli.intake.loop import CineLoop
from echocli.intake.read import read_loop
from echocli.intake.reasons import Reason, Refused
from echocli.privacy.pseudonyms import Pseudonyms

SETTINGS = Settings(64, None, Pseudonyms(bytes(32)))


@pytest.fixture(scope="module")
def dicom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    write_dicom_study(folder, [draw_patient(5, 0, PhantomConfig())], height=200, width=268)
    return next((folder / "dicom").iterdir())


def with_changes(monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    def read(path: Path) -> CineLoop:
        return replace(read_loop(path), **changes)  # type: ignore[arg-type]

    monkeypatch.setattr(clip_module, "read_loop", read)


def test_a_source_is_hashed_once_and_first(
    dicom: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []

    def count(path: Path) -> str:
        hashed.append(path)
        return files.sha256_of(path)

    monkeypatch.setattr(fingerprint, "sha256_of", count)
    fingerprint._hash.cache_clear()
    noted: list[str] = []
    outcome = process(Task(1, dicom), SETTINGS, noted.append)
    assert hashed == [dicom]
    assert noted == [outcome.sha256] == [files.sha256_of(dicom)]
    assert outcome.clip is not None
    assert outcome.clip.source_sha256 == SETTINGS.pseudonyms.source(outcome.sha256)


def test_a_changed_file_is_hashed_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    seen = set()
    for text in ("one", "three", "four!"):
        path.write_text(text)
        seen.add(fingerprint.fingerprint(path))
        assert fingerprint.fingerprint(path) == files.sha256_of(path)
    assert len(seen) == 3


def test_equal_headers_with_other_data_are_other_sources(tmp_path: Path) -> None:
    header = "NDims = 3\nDimSize = 4 4 8\nElementType = MET_UCHAR\nElementDataFile = {}\n"
    seen = []
    for patient, value in (("one", 1), ("two", 2), ("three", 2)):
        (tmp_path / patient).mkdir()
        path = tmp_path / patient / "loop.mhd"
        path.write_text(header.format("loop.raw"))
        (tmp_path / patient / "loop.raw").write_bytes(bytes([value]) * 128)
        seen.append(fingerprint.fingerprint(path))
    assert seen[0] != seen[1] == seen[2]
    for name in ("LOCAL", "absent.raw", "../one/loop.raw"):
        path.write_text(header.format(name))
        assert fingerprint.fingerprint(path) == files.sha256_of(path)


def test_what_is_done_is_not_read(dicom: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = frozenset({SETTINGS.pseudonyms.source(files.sha256_of(dicom))})
    monkeypatch.setattr(clip_module, "read_loop", None)
    outcome = process(Task(1, dicom), replace(SETTINGS, done=done))
    assert outcome.known
    assert (outcome.clip, outcome.refused) == (None, None)
    assert outcome.sha256 == files.sha256_of(dicom)


def test_r_waves_stay_within_the_loop(dicom: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end = float(read_loop(dicom).times_s[-1])  # type: ignore[index]
    beats = {"r_waves_s": (-0.1, 0.0, 0.3, end, end + 0.01), "r_wave_source": "trace"}
    with_changes(monkeypatch, **beats, notes=("region_rescaled",))
    clip = process(Task(1, dicom), SETTINGS).clip
    assert clip is not None
    assert (clip.r_waves_s, clip.r_wave_source) == ((0.0, 0.3, end), "trace")
    assert clip.notes == ("region_rescaled", "side_in_dark"), "of the loop, and of its sector"
    with_changes(monkeypatch, **beats, times_s=None, time_source="unknown")
    untimed = process(Task(1, dicom), SETTINGS).clip
    assert untimed is not None
    assert (untimed.r_waves_s, untimed.r_wave_source) == ((), "unknown")
    timed = process(Task(1, dicom), replace(SETTINGS, assume_rate_hz=20.0)).clip
    assert timed is not None
    assert timed.time_source == "assumed"
    assert timed.r_waves_s[:2] == (0.0, 0.3)


def test_dates_are_dropped_or_shifted(dicom: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    days = []
    for raw in ("20240110", "20240117"):
        with_changes(monkeypatch, study_date=raw)
        dropped = process(Task(1, dicom), SETTINGS).clip
        clip = process(Task(1, dicom), replace(SETTINGS, dates="shift")).clip
        assert clip is not None
        assert dropped is not None
        assert dropped.study_date is None
        assert clip.study_date is not None
        days.append(np.datetime64(clip.study_date))
    assert days[1] - days[0] == np.timedelta64(7, "D")
    assert days[0] < np.datetime64("2024-01-10")


def test_copies_are_made_of_dicom_sources_only(dicom: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, dicom_folder=tmp_path)
    clip = process(Task(1, dicom), settings).clip
    assert clip is not None
    assert [path.name for path in tmp_path.iterdir()] == [f"{clip.clip_id}.dcm"]
    copy = pydicom.dcmread(tmp_path / f"{clip.clip_id}.dcm")
    assert copy.PatientID == clip.patient_id
    assert copy.PatientIdentityRemoved == "YES"
    text = tmp_path / "letter"
    text.write_text("dear colleague")
    assert process(Task(1, text), settings).refused
    assert len(list(tmp_path.iterdir())) == 2


def test_a_lost_source_has_an_id_even_if_it_was_never_opened(tmp_path: Path) -> None:
    one, two = (lost(Task(n, tmp_path / str(n)), "", Refused(Reason.TOO_SLOW)) for n in (1, 2))
    assert one.sha256 != two.sha256
    assert one.sha256 == source_hash(tmp_path / "1")
    assert lost(Task(1, tmp_path), "f" * 64, Refused(Reason.TOO_SLOW)).sha256 == "f" * 64


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("head", "reason"), [(b"PK\x03\x04", Reason.ARCHIVE), (b"hello", Reason.NOT_AN_IMAGE)]
)
def test_what_nobody_reads_is_not_read_to_be_hashed(
    tmp_path: Path, head: bytes, reason: Reason
) -> None:
    seen = set()
    for number in range(3):
        path = tmp_path / f"{number}.bin"
        with path.open("wb") as file:  # a terabyte without blocks
            file.write(head + bytes([number % 2]))
            file.truncate(1 << 40)
        outcome = process(Task(1, path), SETTINGS)
        assert outcome.refused is not None
        assert outcome.refused.reason is reason
        seen.add(outcome.sha256)
    assert len(seen) == 2  # by their beginnings
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    seen.add(source_hash(path))
    with path.open("r+b") as file:
        file.truncate((1 << 40) - 1)
    seen.add(source_hash(path))
    assert len(seen) == 4
