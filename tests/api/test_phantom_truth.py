"""Millimetres, times, R waves and EF of a clip set against the truth of the phantom."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset

from echocli.api._preprocess.clip import Settings, make_clip
from echocli.api.preprocess import preprocess
from echocli.clips.store import ClipSet, ClipSetWriter
from echocli.intake.loop import CineLoop
from echocli.intake.read import read_loop
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
from echocli.privacy.pseudonyms import Pseudonyms
from echocli.statistics.volumes import cavity_volume_mm3, ejection_fraction_percent

SHORT = PhantomConfig(seconds=(1.0, 1.2), frame_rates_hz=(20.0, 30.0))
ROWS, COLUMNS = 480, 640  # as a screen; half of it is none
SIZE = 112
HEARTS = 24
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
    sector = find_sector(read_loop(path)).mask
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


def ends(index: int, height: int, width: int) -> tuple[Patient, CineLoop]:
    """A patient, and a loop with the masks of end diastole and end systole.

    The frames are black: drawing them takes a second, and masks do not depend on them.
    """
    patient = draw_patient(11, index)
    times = patient.scanner.times_s()
    contraction = patient.heart.contraction(fullness(patient.rhythm, times))
    volumes = patient.heart.volume_ml(contraction)
    both = sorted([int(volumes.argmax()), int(volumes.argmin())])
    grid = SectorGrid(patient.scanner, height, width)
    renderer = Renderer.__new__(Renderer)
    renderer.deformation = Deformation(patient.heart, patient.view)
    renderer.scanner, renderer.grid = patient.scanner, grid
    loop = CineLoop(
        frames=np.zeros((8, height, width), np.uint8),
        chroma=np.zeros((height, width), np.uint8),
        times_s=None,
        time_source="unknown",
        spacing_mm=(grid.spacing_mm, grid.spacing_mm),
        spacing_source="region",
        region=None,
        patient_key=f"patient {index}",
        study_key=f"study {index}",
        sha256=f"{index:064x}",
        masks=renderer.masks(times[both], contraction[both]),
        mask_frames=(0, 7),
        sector_known=grid.sector,
    )
    return patient, loop


def of_masks(masks: NDArray[np.uint8] | None, spacing_mm: tuple[float, float] | None) -> float:
    assert masks is not None
    assert spacing_mm is not None
    measured = [cavity_volume_mm3(mask, spacing_mm) for mask in masks]
    volumes = [volume[0] for volume in measured if volume is not None]
    return ejection_fraction_percent(max(volumes), min(volumes))


@pytest.mark.parametrize(("height", "width"), [(300, 400), (480, 640)])
def test_the_ejection_fraction_survives_the_clip_set(
    tmp_path: Path, height: int, width: int
) -> None:
    settings = Settings(SIZE, None, Pseudonyms(bytes(32)))
    truth, before = [], []
    with ClipSetWriter(tmp_path) as writer:
        for index in range(HEARTS):
            patient, loop = ends(index, height, width)
            sector = find_sector(loop)
            writer.add(make_clip(replace(loop, sector_known=None), sector, settings))
            truth.append(patient.heart.ef_percent)
            before.append(of_masks(loop.masks, loop.spacing_mm))
    clips = ClipSet.open(tmp_path)
    rows = range(HEARTS)
    after = [of_masks(clips.fine_masks(row), clips.mask_spacing_mm(row)) for row in rows]
    coarse = [of_masks(clips.masks(row), clips.spacing_mm(row)) for row in rows]
    error = np.abs(np.array(after) - truth)
    assert error.max() < 0.5
    assert error.mean() < 0.2
    np.testing.assert_allclose(after, before, atol=0.01)  # nothing is lost on the way
    assert np.abs(np.array(coarse) - truth).max() > 0.5, "else finer masks were not needed"
