"""Files of an examination that are no grey loops, to be refused: still, Doppler, M-mode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.sequence import Sequence
from scipy import ndimage

from echocli.phantoms.dicom import (
    CENTIMETRES,
    COLOUR_FLOW,
    M_MODE,
    PW,
    SECONDS,
    SPECTRAL,
    TISSUE,
    ULTRASOUND_IMAGE,
    ULTRASOUND_MULTIFRAME,
    DicomOptions,
    header,
    region,
    save,
    scan_regions,
    set_pixels,
    set_timing,
)
from echocli.phantoms.patient import Patient
from echocli.phantoms.screen import Screen, draw_screen

CENTIMETRES_A_SECOND = 7
Frames = NDArray[np.uint8]


def write_refusals(
    folder: Path, patient: Patient, *, height: int = 300, width: int = 400
) -> dict[str, Path]:
    """Write one file of each kind.

    Returns:
        The file of ``still``, ``colour_doppler``, ``m_mode`` and ``spectral_doppler``.
    """
    screen = draw_screen(patient, height=height, width=width)
    makers = {
        "still": _still,
        "colour_doppler": _colour,
        "m_mode": _m_mode,
        "spectral_doppler": _spectrum,
    }
    paths = {}
    for number, (kind, maker) in enumerate(makers.items(), 51):
        paths[kind] = folder / f"{patient.identity.accession}_{number:04d}.dcm"
        maker(paths[kind], patient, screen, number)
    return paths


def _still(path: Path, patient: Patient, screen: Screen, number: int) -> None:
    ds = header(patient, number, ULTRASOUND_IMAGE)
    options = DicomOptions(coding="rgb")
    ds.SequenceOfUltrasoundRegions = scan_regions(screen, options)
    set_pixels(ds, screen.frames[:1], options)
    save(ds, path)


def _colour(path: Path, patient: Patient, screen: Screen, number: int) -> None:
    """Lay a jet of red and blue over the mitral valve, beating with the inflow."""
    frames = screen.frames[:24].copy()
    box, loop = screen.scan, screen.loop
    flow = np.random.default_rng([patient.seed, patient.index, 21])
    inside = frames[:, box.y0 : box.y1 + 1, box.x0 : box.x1 + 1]
    rows, columns = np.nonzero(loop.masks[0] == 3)
    for k, frame in enumerate(inside):
        away = (np.arange(frame.shape[0])[:, None] - rows.min()) / (0.16 * len(frame))
        aside = (np.arange(frame.shape[1]) - columns.mean()) / (0.07 * frame.shape[1])
        jet = away**2 + aside**2 < 1.0
        swirl = ndimage.gaussian_filter(flow.standard_normal(jet.shape), 3.0)[jet] * 5.0
        speed = np.sin(2 * np.pi * k / 12) * (1.0 - away**2 - aside**2)[jet] + 0.5 * swirl
        level = np.clip(90 + 140 * np.abs(speed), 0, 255)
        red, blue = np.where(speed > 0, level, 10), np.where(speed > 0, 20, level)
        frame[jet] = np.stack([red, 0.35 * level, blue], axis=1).astype(np.uint8)
    ds = header(patient, number, ULTRASOUND_MULTIFRAME)
    options = DicomOptions(coding="jpeg")
    ds.ImageType = ["ORIGINAL", "PRIMARY", "", "0011"]
    ds.SequenceOfUltrasoundRegions = scan_regions(screen, options, COLOUR_FLOW)
    ds.UltrasoundColorDataPresent = 1
    set_timing(ds, loop.times_s[: len(frames)], options)
    set_pixels(ds, frames, options)
    save(ds, path)


def _m_mode(path: Path, patient: Patient, screen: Screen, number: int) -> None:
    """Draw the middle beam against time."""
    box = screen.scan
    width = box.x1 - box.x0 + 1
    beam = screen.loop.frames[:, :, screen.loop.frames.shape[2] // 2]
    at = np.arange(width) * len(beam) // width
    picture = screen.frames[0].copy()
    picture[box.y0 : box.y1 + 1, box.x0 : box.x1 + 1] = beam[at].T[..., None]
    _write_picture(path, patient, screen, number, picture, M_MODE, TISSUE, "0002", CENTIMETRES)


def _spectrum(path: Path, patient: Patient, screen: Screen, number: int) -> None:
    """Draw the inflow's speed against time: an early and an atrial wave in each beat."""
    box = screen.scan
    height, width = box.y1 - box.y0 + 1, box.x1 - box.x0 + 1
    time = np.linspace(0, screen.trace_seconds, width)
    since = time[:, None] - screen.loop.r_peaks_s[None]
    early = np.exp(-0.5 * ((since - 0.48) / 0.05) ** 2).sum(1)
    late = 0.6 * np.exp(-0.5 * ((since + 0.06) / 0.035) ** 2).sum(1)
    speed = np.arange(height)[::-1, None] / height - 0.3
    envelope = 0.55 * (early + late)
    grain = np.random.default_rng([patient.seed, patient.index, 22]).rayleigh(
        60, (height, width)
    )
    lit = (speed > 0) & (speed < envelope)
    picture = screen.frames[0].copy()
    grain = grain * (0.4 + 0.6 * speed / (envelope + 0.01))
    inside = picture[box.y0 : box.y1 + 1, box.x0 : box.x1 + 1]
    inside[:] = np.where(lit, np.clip(grain + 60, 0, 255), 8)[..., None].astype(np.uint8)
    _write_picture(
        path, patient, screen, number, picture, SPECTRAL, PW, "0008", CENTIMETRES_A_SECOND
    )


def _write_picture(
    path: Path,
    patient: Patient,
    screen: Screen,
    number: int,
    picture: Frames,
    spatial_format: int,
    data_type: int,
    image_type: str,
    unit: int,
) -> None:
    """Write a still whose horizontal axis is time."""
    ds = header(patient, number, ULTRASOUND_IMAGE)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "", image_type]
    step = screen.trace_seconds / (screen.scan.x1 - screen.scan.x0)
    ds.SequenceOfUltrasoundRegions = Sequence(
        [region(screen.scan, spatial_format, data_type, (SECONDS, unit), (step, 0.05))]
    )
    set_pixels(ds, picture[None], DicomOptions(coding="rgb"))
    save(ds, path)
