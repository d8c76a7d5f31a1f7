"""Millimetres, times, R waves and EF of a clip set against the truth of the phantom."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset

from echocli.api.preprocess import preprocess
from echocli.clips.store import ClipSet
from echocli.intake.read import read_loop
from echocli.intake.reshape import Frame
from echocli.intake.sector import find_sector
from echocli.phantoms.anatomy import Deformation
from echocli.phantoms.cycle import fullness
from echocli.phantoms.dicom import (
    ULTRASOUND_MULTIFRAME,
    DicomOptions,
    header,
    save,
    scan_regions,
    set_pixels,
    set_timing,
)
from echocli.phantoms.image import Renderer
from echocli.phantoms.patient import Patient, PhantomConfig, draw_patient
from echocli.phantoms.scanner import SectorGrid
from echocli.phantoms.screen import Screen, draw_screen
from echocli.statistics.volumes import cavity_volume_mm3, ejection_fraction_percent

SHORT = PhantomConfig(seconds=(1.0, 1.2), frame_rates_hz=(20.0, 30.0))
ROWS, COLUMNS = 480, 640  # as a screen; half of it is none
SIZE = 112
WIDE = 1.25
"""Width of a stored pixel over its height, as HP and Agilent have it."""


def resized(frames: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    small = [
        Image.fromarray(frame).resize((columns, rows), Image.Resampling.BOX) for frame in frames
    ]
    return np.stack([np.asarray(frame) for frame in small])


def write(
    path: Path, patient: Patient, screen: Screen, frames: NDArray[np.uint8], regions: Dataset
) -> Path:
    data = header(patient, 1, ULTRASOUND_MULTIFRAME)
    data.SequenceOfUltrasoundRegions = regions
    options = DicomOptions(coding="rgb", time_vector=patient.index % 2 == 1)
    set_timing(data, screen.loop.times_s, options)
    set_pixels(data, frames, options)
    save(data, path)
    return path


def as_drawn(path: Path, patient: Patient, screen: Screen) -> Path:
    return write(path, patient, screen, screen.frames, scan_regions(screen, DicomOptions()))


def with_wide_pixels(path: Path, patient: Patient, screen: Screen) -> Path:
    regions = scan_regions(screen, DicomOptions())
    for region in regions:
        region.RegionLocationMinX0 = round(region.RegionLocationMinX0 / WIDE)
        region.RegionLocationMaxX1 = round(region.RegionLocationMaxX1 / WIDE)
        region.PhysicalDeltaX *= -WIDE  # and running to the left, as ACUSON's
    frames = resized(screen.frames, ROWS, round(COLUMNS / WIDE))
    return write(path, patient, screen, frames, regions)


def shrunk_afterwards(path: Path, patient: Patient, screen: Screen) -> Path:
    regions = scan_regions(screen, DicomOptions())
    frames = resized(screen.frames, ROWS // 2, COLUMNS // 2)
    return write(path, patient, screen, frames, regions)


WAYS = {
    "as drawn": (as_drawn, (1.0, 1.0), "region"),
    "wide pixels": (with_wide_pixels, (1.0, WIDE), "region"),
    "shrunk": (shrunk_afterwards, (2.0, 2.0), "region_rescaled"),
}


@pytest.fixture(scope="module")
def patient() -> Patient:
    return draw_patient(4, 3, SHORT)


@pytest.fixture(scope="module")
def screen(patient: Patient) -> Screen:
    return draw_screen(patient, height=ROWS, width=COLUMNS)


@pytest.mark.parametrize("way", WAYS)
def test_millimetres_and_times_in_the_manifest_are_exact(
    tmp_path: Path, patient: Patient, screen: Screen, way: str
) -> None:
    maker, (down, across), source = WAYS[way]
    path = maker(tmp_path / "x.dcm", patient, screen)
    preprocess([path], tmp_path / "clips", size=SIZE, key_file=tmp_path / "key", workers=1)
    clips = ClipSet.open(tmp_path / "clips")
    told = clips.manifest.iloc[0]

    # The crop is the program's own; what a pixel of the file measures, the phantom knows.
    row_mm, column_mm = screen.loop.spacing_mm[0] * down, screen.loop.spacing_mm[1] * across
    sector = find_sector(read_loop(path))
    tall = int(np.ptp(np.flatnonzero(sector.any(axis=1)))) + 1
    wide = int(np.ptp(np.flatnonzero(sector.any(axis=0)))) + 1
    largest = max(tall * row_mm, wide * column_mm)
    high, broad = (round(side * SIZE / largest) for side in (tall * row_mm, wide * column_mm))
    assert told["row_mm"] == pytest.approx(tall * row_mm / high, rel=1e-6)
    assert told["column_mm"] == pytest.approx(wide * column_mm / broad, rel=1e-6)
    assert told["spacing_source"] == source
    assert ("region_rescaled" in list(told["notes"] if told["notes"] is not None else [])) == (
        way == "shrunk"
    )

    # Seen from outside: the sector is as deep as the machine was set to.
    stored = np.flatnonzero(clips.sector(0).any(axis=1))
    depth_mm = (np.ptp(stored) + 1) * told["row_mm"]
    assert depth_mm == pytest.approx(patient.scanner.depth_mm, rel=0.05)

    times = clips.times_s(0)
    assert times is not None
    np.testing.assert_allclose(times, screen.loop.times_s, atol=1e-7)
    assert told["time_source"] == "frame_time_vector"


def test_r_waves_in_the_manifest_are_those_of_the_heart(
    tmp_path: Path, patient: Patient, screen: Screen
) -> None:
    loop = screen.loop
    path = as_drawn(tmp_path / "x.dcm", patient, screen)
    preprocess([path], tmp_path / "clips", key_file=tmp_path / "key", workers=1)
    told = ClipSet.open(tmp_path / "clips").manifest.iloc[0]
    inside = (loop.r_peaks_s >= 0) & (loop.r_peaks_s <= loop.times_s[-1])
    assert told["r_wave_source"] == "trace"
    assert list(told["r_waves_s"]) == pytest.approx(
        loop.r_peaks_s[inside].tolist(), abs=float(loop.times_s[1])
    )


def ejection_fractions(index: int, size: int) -> tuple[float, float, float]:
    """EF of a patient in truth, from masks in the file's pixels, and in the clip's."""
    patient = draw_patient(11, index)
    times = patient.scanner.times_s()
    contraction = patient.heart.contraction(fullness(patient.rhythm, times))
    volumes = patient.heart.volume_ml(contraction)
    ends = [int(volumes.argmax()), int(volumes.argmin())]
    grid = SectorGrid(patient.scanner, 300, 400)
    renderer = Renderer.__new__(Renderer)  # without the picture, which takes a second to draw
    renderer.deformation = Deformation(patient.heart, patient.view)
    renderer.scanner, renderer.grid = patient.scanner, grid
    masks = renderer.masks(times[ends], contraction[ends])
    spacing = (grid.spacing_mm, grid.spacing_mm)
    frame = Frame.around(grid.sector, size, spacing)
    assert frame.spacing_mm is not None
    return (
        patient.heart.ef_percent,
        of_masks(masks, spacing),
        of_masks(frame.labels(masks), frame.spacing_mm),
    )


def of_masks(masks: NDArray[np.uint8], spacing_mm: tuple[float, float]) -> float:
    measured = [cavity_volume_mm3(mask, spacing_mm) for mask in masks]
    edv, esv = (volume[0] for volume in measured if volume is not None)
    return ejection_fraction_percent(edv, esv)


@pytest.mark.parametrize(("size", "usual", "worst"), [(SIZE, 0.7, 2.0), (224, 0.4, 0.9)])
def test_the_ejection_fraction_survives_the_clip_set(
    size: int, usual: float, worst: float
) -> None:
    truth, whole, stored = np.array([ejection_fractions(k, size) for k in range(24)]).T
    # The masks are right; a stored pixel of 1.8 mm moves a single EF by a point or so, either
    # way: a tenth of a pixel in the radius of a cavity is one per cent of its volume.
    assert np.abs(whole - truth).max() < 0.5
    assert np.abs((stored - truth).mean()) < 0.2
    assert np.abs(stored - truth).mean() < usual
    assert np.abs(stored - truth).max() < worst
