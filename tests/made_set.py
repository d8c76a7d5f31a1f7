"""A small audited clip set with DICOM copies, made of the rooms alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from made_dicom import moving_scan, region, ultrasound
from numpy.typing import NDArray
from pydicom import Dataset

from echocli.clips.record import Clip
from echocli.clips.store import ClipSet
from echocli.clips.writer import ClipSetWriter
from echocli.intake.loop import CineLoop
from echocli.intake.read import read_loop
from echocli.intake.reshape import Frame
from echocli.privacy.deid import write_deidentified
from echocli.privacy.pseudonyms import Pseudonyms

PSEUDONYMS = Pseudonyms(bytes(range(32)))
SIZE = 32


@dataclass(frozen=True)
class Made:
    """A source, what was read of it, and its copy."""

    source: Path
    loop: CineLoop
    sector: NDArray[np.bool_]
    clip_id: str
    patient_id: str


def fan(rows: int = 48, columns: int = 64) -> NDArray[np.bool_]:
    """Return a sector with its apex at the top."""
    y, x = np.mgrid[:rows, :columns]
    return np.asarray(
        (np.hypot(y + 4, x - columns / 2) < rows) & (abs(x - columns / 2) < y) & (y > 3)
    )


def made(path: Path, number: int = 0, **changes: Any) -> Made:
    """Write a DICOM file and read it as a worker would."""
    pixels = moving_scan() + np.uint8(number)
    data = ultrasound(pixels)
    data.SequenceOfUltrasoundRegions = [region(TransducerFrequency=3500)]
    data.PatientID = f"INVENTED-{number:04d}"
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID
    data.SeriesInstanceUID = f"1.2.3.4.{number}"
    for keyword, value in changes.items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return seen(path)


def seen(path: Path) -> Made:
    """Read a file, and choose its sector."""
    loop = read_loop(path)
    ids = PSEUDONYMS.clip(loop.sha256), PSEUDONYMS.patient(loop.patient_key)
    return Made(path, loop, fan(*loop.frames.shape[1:]), *ids)


def write_copy(one: Made, out: Path, *, dates: str = "drop", **changes: Any) -> Dataset:
    """Write and open a de-identified copy."""
    write_deidentified(
        one.source,
        out,
        loop=replace(one.loop, **changes),
        sector=one.sector,
        clip_id=one.clip_id,
        patient_id=one.patient_id,
        pseudonyms=PSEUDONYMS,
        dates=dates,
    )
    return pydicom.dcmread(out)


def clip_of(one: Made) -> Clip:
    """Return the clip of a source."""
    frame = Frame.around(one.sector, SIZE, one.loop.spacing_mm)
    frames, sector = frame.frames(one.loop.frames, one.sector)
    return Clip(
        clip_id=one.clip_id,
        patient_id=one.patient_id,
        study_id=PSEUDONYMS.study(one.loop.study_key),
        source_sha256=PSEUDONYMS.source(one.loop.sha256),
        frames=frames,
        sector=sector,
        times_s=one.loop.times_s,
        time_source=one.loop.time_source,
        spacing_mm=frame.spacing_mm,
        spacing_source=one.loop.spacing_source,
        labels={"view": "A4C", "ef_percent": 55.0},
    )


def write_set(folder: Path, sources: list[Made]) -> ClipSet:
    """Write a clip set with copies."""
    with ClipSetWriter(folder) as writer:
        for one in sources:
            writer.add(clip_of(one))
            write_copy(one, folder / "dicom" / f"{one.clip_id}.dcm")
    return ClipSet.open(folder)
