from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.encaps import parse_basic_offsets

from echocli.phantoms.dicom import Coding, DicomOptions, write_loop
from echocli.phantoms.identity import clock, written
from echocli.phantoms.layouts import STUDY_COLUMNS, write_dicom_study
from echocli.phantoms.patient import Patient, PhantomConfig, draw_patient, identifiers
from echocli.phantoms.refusals import write_refusals
from echocli.phantoms.screen import Screen, draw_screen

Shown = tuple[Patient, Screen]

SHORT = PhantomConfig(seconds=(1.0, 1.05), frame_rates_hz=(20.0, 25.0))


@pytest.fixture(scope="module")
def shown() -> Shown:
    patient = draw_patient(6, 2, SHORT)
    return patient, draw_screen(patient, height=150, width=200)


def _written(tmp_path: Path, shown: Shown, **options: Any) -> Any:
    path = tmp_path / "loop.dcm"
    write_loop(path, *shown, DicomOptions(**options))
    return pydicom.dcmread(path)


@pytest.mark.parametrize("coding", ["rgb", "rle"])
def test_lossless_codings_give_the_screen_back(
    tmp_path: Path, shown: Shown, coding: Coding
) -> None:
    ds = _written(tmp_path, shown, coding=coding, offset_table=coding == "rgb")
    np.testing.assert_array_equal(ds.pixel_array, shown[1].frames)


def test_grey_is_the_luma_of_the_screen(tmp_path: Path, shown: Shown) -> None:
    ds = _written(tmp_path, shown, coding="grey")
    assert ds.PhotometricInterpretation == "MONOCHROME2"
    luma = shown[1].frames @ np.array([0.299, 0.587, 0.114])
    assert np.abs(ds.pixel_array - luma).max() <= 0.5


@pytest.mark.parametrize("offset_table", [True, False])
def test_jpeg_is_close_and_tells_offsets_or_not(
    tmp_path: Path, shown: Shown, offset_table: bool
) -> None:
    ds = _written(tmp_path, shown, coding="jpeg", offset_table=offset_table)
    assert ds.PhotometricInterpretation == "YBR_FULL_422"
    assert ds.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"
    assert bool(parse_basic_offsets(ds.PixelData)) == offset_table
    assert ds.LossyImageCompression == "01"
    scan = shown[1].scan
    box = (slice(None), slice(scan.y0, scan.y1), slice(scan.x0, scan.x1))
    off = ds.pixel_array[box].astype(int) - shown[1].frames[box]
    assert np.abs(off).mean() < 4


@pytest.mark.parametrize("vector", [True, False])
def test_times_are_told_in_either_way(tmp_path: Path, shown: Shown, vector: bool) -> None:
    ds = _written(tmp_path, shown, coding="grey", time_vector=vector)
    times = shown[1].loop.times_s
    if vector:
        assert "FrameTime" not in ds
        told = np.cumsum([float(step) for step in ds.FrameTimeVector]) / 1000
    else:
        told = np.arange(ds.NumberOfFrames) * float(ds.FrameTime) / 1000
    np.testing.assert_allclose(told, times, atol=1e-5)
    assert ds.FrameIncrementPointer == (0x00181065 if vector else 0x00181063)


def test_regions_tell_the_scan_in_centimetres_and_the_trace(
    tmp_path: Path, shown: Shown
) -> None:
    patient, screen = shown
    ds = _written(tmp_path, shown, coding="grey", box_first=True)
    empty, scan, trace = ds.SequenceOfUltrasoundRegions
    assert (empty.RegionSpatialFormat, empty.RegionDataType) == (0, 0)
    assert (scan.RegionSpatialFormat, scan.RegionDataType) == (1, 1)
    assert (scan.PhysicalUnitsXDirection, scan.PhysicalUnitsYDirection) == (3, 3)
    assert (trace.RegionSpatialFormat, trace.RegionDataType) == (4, 0xA)
    assert scan.PhysicalDeltaY * 10 == pytest.approx(screen.loop.spacing_mm[0])
    rows = np.flatnonzero(screen.loop.sector.any(1))
    depth_cm = (rows[-1] - rows[0]) * scan.PhysicalDeltaY
    assert depth_cm * 10 == pytest.approx(patient.scanner.depth_mm, rel=0.05)
    assert len(_written(tmp_path, shown, coding="grey").SequenceOfUltrasoundRegions) == 2


def test_the_screen_shows_name_trace_and_a_sector_that_is_the_loop(shown: Shown) -> None:
    _, screen = shown
    top = screen.frames[:, :16, :90]
    assert top.max() > 150
    assert (top == top[:1]).all()
    trace = screen.frames[
        :, screen.trace.y0 : screen.trace.y1, screen.trace.x0 : screen.trace.x1
    ]
    green = (trace[..., 1] > 180) & (trace[..., 0] < 90)
    assert green.any((1, 2)).all()
    truth = screen.place(screen.loop.sector[None].astype(np.uint8))[0] > 0
    grey = screen.frames[:, truth]
    assert (grey[..., 0] == grey[..., 1]).all()
    masks = screen.place(screen.loop.masks)
    assert masks.shape[1:] == screen.frames.shape[1:3]
    assert (masks.max(0) > 0)[~truth].sum() == 0


def test_every_identifier_is_planted_in_the_header(tmp_path: Path, shown: Shown) -> None:
    ds = _written(tmp_path, shown, coding="grey")
    del ds.PixelData
    text = str(ds.file_meta) + "\n" + "\n".join(str(element.value) for element in ds.iterall())
    who = shown[0].identity
    burned = {written(who.study_date), written(who.birth_date), clock(who.study_time)}
    assert burned < set(identifiers(shown[0]))
    missing = [
        part for part in identifiers(shown[0]) if part not in text and part not in burned
    ]
    assert missing == []
    assert any(element.tag.is_private for element in ds)
    assert min(len(part) for part in identifiers(shown[0])) >= 6


def test_a_study_has_the_documented_table_and_repeats_exactly(tmp_path: Path) -> None:
    patients = [draw_patient(8, k, SHORT) for k in (1, 3)]
    files = write_dicom_study(tmp_path / "a", patients, height=120, width=160)
    again = write_dicom_study(tmp_path / "b", patients, height=120, width=160)
    assert [f.read_bytes() for f in files] == [f.read_bytes() for f in again]
    table = (tmp_path / "a" / "labels.csv").read_text("utf-8")
    assert table == (tmp_path / "b" / "labels.csv").read_text("utf-8")
    assert table.splitlines()[0] == ",".join(STUDY_COLUMNS)
    assert STUDY_COLUMNS[:2] == ["file", "ef_percent"]
    assert table.splitlines()[1].split(",")[0] == files[0].name


def test_refusals_say_in_the_header_what_they_are(tmp_path: Path) -> None:
    paths = write_refusals(tmp_path, draw_patient(6, 2, SHORT), height=150, width=200)
    headers = {kind: pydicom.dcmread(path) for kind, path in paths.items()}
    assert all(ds.pixel_array.max() > 100 for ds in headers.values())
    assert "NumberOfFrames" not in headers["still"]
    assert headers["colour_doppler"].UltrasoundColorDataPresent == 1
    frame = headers["colour_doppler"].pixel_array[3].astype(int)
    assert (np.ptp(frame, axis=-1) > 60).sum() > 100
    formats = {
        kind: ds.SequenceOfUltrasoundRegions[0].RegionSpatialFormat
        for kind, ds in headers.items()
    }
    assert formats == {"still": 1, "colour_doppler": 1, "m_mode": 2, "spectral_doppler": 3}
