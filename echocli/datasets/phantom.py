"""The phantom: invented patients whose truth is known.

Everything that other rooms need of it is exported here. A folder that ``write_dicom_study``
wrote is read as any user's DICOM files are; only labels and masks come from beside them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from echocli.clips.record import Clip, Label
from echocli.datasets._tables import number, read_table
from echocli.datasets.base import DatasetItem
from echocli.intake.loop import CineLoop
from echocli.phantoms.layouts import (
    STUDY_COLUMNS,
    STUDY_SCHEMA,
    split_of,
    write_dicom_study,
)
from echocli.phantoms.patient import (
    Patient,
    PhantomConfig,
    PhantomLoop,
    draw_patient,
    identifiers,
    render,
)

__all__ = [
    "Patient",
    "PhantomConfig",
    "PhantomLoop",
    "draw_patient",
    "identifiers",
    "phantom_clips",
    "render",
    "split_of",
    "write_dicom_study",
]

SMOOTH_PIXELS = 96

RULE = None
EXPECTED: Mapping[str, int] = {}


def recognise(folder: Path) -> bool:
    """Return whether ``write_dicom_study`` wrote the folder."""
    mark = folder / "phantom.json"
    return mark.is_file() and f'"{STUDY_SCHEMA}"' in mark.read_text("utf-8", "replace")


def loops(folder: Path) -> Iterator[DatasetItem]:
    """List the DICOM files with the truth that lies beside them."""
    for row, facts in enumerate(read_table(folder / "labels.csv", STUDY_COLUMNS), start=1):
        labels: dict[str, Label] = {
            name: facts[name] for name in ("abnormality", "view", "sex", "split", "dataset")
        }
        labels |= {name: number(facts[name]) for name in ("ef_percent", "edv_ml", "esv_ml")}
        labels |= {name: int(facts[name]) for name in ("ed_frame", "es_frame", "age_years")}
        labels["normal"] = facts["normal"] == "True"
        yield DatasetItem(
            path=folder / "dicom" / facts["file"],
            reader=read,
            row=row,
            facts={"truth": folder / "truth"},
            labels=labels,
        )


def how_split(folder: Path) -> str:
    """Return what the column ``split`` means."""
    return "drawn by the patient's number: three of five train, one val, one test"


def read(path: Path, truth: Path) -> CineLoop:
    """Read one DICOM file as any user's, and add its masks.

    Args:
        path: The file.
        truth: Folder of the masks, which lie in the file's own pixels.
    """
    from echocli.intake.read import read_loop

    with np.load(truth / f"{path.stem}.npz") as file:
        masks, frames = file["masks"], tuple(int(frame) for frame in file["frames"])
    return replace(read_loop(path), masks=masks, mask_frames=frames)


def phantom_clips(
    config: PhantomConfig, n: int, seed: int = 0, *, start: int = 0
) -> Iterator[Clip]:
    """Draw patients and yield one clip of each, at the size the settings ask for.

    Args:
        config: Which patients, and the pictures' side.
        n: How many.
        seed: The population.
        start: Number of the first patient.
    """
    for index in range(start, start + n):
        patient = draw_patient(seed, index, config)
        yield clip_of(patient, config.size)


def clip_of(patient: Patient, size: int) -> Clip:
    """Return the patient's loop as a square clip with the masks of its ED and ES frames.

    Small pictures are drawn large and averaged, as a stored clip is.
    """
    factor = -(-SMOOTH_PIXELS // size)
    loop = render(patient, height=size * factor, width=size * factor, every_mask=False)
    blocks = loop.frames.reshape(-1, size, factor, size, factor)
    frames = np.round(blocks.mean((2, 4), dtype=np.float32)).astype(np.uint8)
    sector = np.asarray(loop.sector.reshape(size, factor, size, factor).all((1, 3)))
    frames[:, ~sector] = 0
    middle = factor // 2
    key = hashlib.sha256(f"phantom {patient.seed} {patient.index} {size}".encode()).hexdigest()
    return Clip(
        clip_id=key[:16],
        patient_id=f"p{patient.seed:04d}-{patient.index:06d}",
        study_id=f"s{patient.seed:04d}-{patient.index:06d}",
        source_sha256=key,
        frames=frames,
        sector=sector,
        times_s=loop.times_s,
        time_source="dataset",
        spacing_mm=(loop.spacing_mm[0] * factor, loop.spacing_mm[1] * factor),
        spacing_source="dataset",
        labels=loop.labels()
        | {
            "sex": patient.sex,
            "age_years": patient.age_years,
            "split": split_of(patient.index),
        },
        masks=loop.masks[:, middle::factor, middle::factor] * sector,
        mask_frames=loop.mask_frames,
    )
