"""The phantom: invented patients whose truth is known.

Everything that other rooms need of it is exported here. A folder that ``write_dicom_study``
wrote is read as any user's DICOM files are; only labels and masks come from beside them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from echocli.clips.record import Clip
from echocli.phantoms.layouts import split_of, write_dicom_study
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
    loop = render(patient, height=size * factor, width=size * factor)
    blocks = loop.frames.reshape(-1, size, factor, size, factor)
    frames = np.round(blocks.mean((2, 4), dtype=np.float32)).astype(np.uint8)
    sector = loop.sector.reshape(size, factor, size, factor).all((1, 3))
    frames[:, ~sector] = 0
    marked = tuple(sorted({loop.ed_frame, loop.es_frame}))
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
        masks=loop.masks[list(marked), middle::factor, middle::factor] * sector,
        mask_frames=marked,
    )
