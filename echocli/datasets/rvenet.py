"""RVENet: 3,583 apical four-chamber loops of 831 patients, with RVEF from three dimensions.

Layout: ``codebook.csv`` and ``<FileName>.dcm`` beside it or in a folder below. The first two
parts of a file's name are what the authors' code takes for the patient; whether a patient with
two examinations has two such names is not told, so a column that names patients goes before
them. ``Mayo`` pictures are mirrored against ``Stanford`` ones,
and are turned here, so that the left ventricle lies to the right in all. What the authors' own
code leaves out is kept with a note. Licence: research only, on request.

Source:
    Magyar et al., ECCV 2022 Workshops (RVENet), and the authors' published code for the
    columns FileName, RVEF, HR, FPS and Split; the other columns' names are looked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from echocli.clips.record import Label
from echocli.datasets._tables import SEXES, SPLITS, Row, choose, has_columns, number, read_table
from echocli.datasets.base import PROPOSAL, DatasetItem, inside, one_split_each
from echocli.datasets.rules import NormalRule
from echocli.intake.loop import CineLoop, Region

INDEX = "codebook.csv"
COLUMNS = ("FileName", "RVEF", "Split")
PATIENT = ("patienthash", "patientid", "patient")
"""What the column that names patients may be called."""
FEWEST_FRAMES, LOWEST_RATE, HIGHEST_RATE = 20, 30.0, 150.0
"""Frames and beats a minute beyond which the authors leave a loop out."""

RULE = NormalRule(
    "rvenet_rvef",
    "rvef_percent >= 50",
    "rvef_percent < 45",
    f"{PROPOSAL}; 45 to 49 left out; 45 % is the usual limit of a reduced RVEF",
)
EXPECTED = {"clips": 3_583, "patients": 831}


def recognise(folder: Path) -> bool:
    """Return whether the folder holds ``codebook.csv`` with an RVEF."""
    return has_columns(folder / INDEX, COLUMNS)


def how_split(folder: Path) -> str:
    """Return what the column ``split`` means."""
    told = "the authors' train and validation (here val); they publish no test"
    if all(find(row, *PATIENT) for row in read_table(folder / INDEX, COLUMNS)):
        return told
    return (
        f"{told}. WARNING: {INDEX} does not name every file's patient ({', '.join(PATIENT)}"
        "); names of files stand for patients there, and a patient who was examined twice may "
        "count as two and stand in two splits"
    )


def loops(folder: Path) -> Iterator[DatasetItem]:
    """List the files of the codebook, in its order."""
    places = {
        path.stem: path
        for pattern in ("*/*/*.dcm", "*/*.dcm", "*.dcm")
        for path in sorted(folder.glob(pattern))
    }
    rows = read_table(folder / INDEX, COLUMNS)
    # A patient named in one row of an examination is that of its other rows.
    named = {study_of(row): find(row, *PATIENT) for row in rows if find(row, *PATIENT)}
    patients = [named.get(study_of(row), study_of(row)) for row in rows]
    told = (choose(row["Split"], SPLITS) for row in rows)
    splits = one_split_each(zip(patients, told, strict=True))
    for row, (facts, patient) in enumerate(zip(rows, patients, strict=True), start=1):
        stem = stem_of(facts)
        yield DatasetItem(
            path=places.get(stem) or inside(folder, f"{stem}.dcm", row),
            reader=read,
            row=row,
            facts={
                "mirrored": "mayo" in find(facts, "videoorientation", "orientation").lower(),
                "heart_rate": number(find(facts, "hr", "heartrate")),
            },
            labels={**_labels(facts), "split": splits.get(patient)},
            patient=patient,
            study=study_of(facts),
        )


def stem_of(row: Row) -> str:
    """Return the name of a row's file without its ending."""
    return row["FileName"].removesuffix(".dcm")


def study_of(row: Row) -> str:
    """Return the examination: the first two parts of the file's name."""
    return "_".join(stem_of(row).split("_")[:2])


def find(row: Row, *names: str) -> str:
    """Return the first filled column of some names, whatever their case and underscores."""
    plain = {key.lower().replace("_", "").replace(" ", ""): value for key, value in row.items()}
    return next((plain[name] for name in names if plain.get(name)), "")


def _labels(row: Row) -> dict[str, Label]:
    return {
        "dataset": "rvenet",
        "view": "A4C",
        "rvef_percent": number(row["RVEF"]),
        "rvedv_ml": number(find(row, "rvedv")),
        "rvesv_ml": number(find(row, "rvesv")),
        "diagnosis": find(row, "patientgroup", "group") or None,
        "quality": find(row, "videoquality", "quality") or None,
        "scanner": find(row, "ultrasoundsystem", "system") or None,
        "sex": choose(find(row, "sex", "gender"), SEXES),
        "age_years": number(find(row, "age")),
    }


def read(path: Path, mirrored: bool, heart_rate: float | None) -> CineLoop:
    """Read one DICOM file as any user's.

    Args:
        path: The file.
        mirrored: Whether it is in Mayo orientation and must be turned.
        heart_rate: Beats a minute.
    """
    from echocli.intake.read import read_loop

    loop = read_loop(path)
    rate_told = heart_rate is not None and LOWEST_RATE < heart_rate < HIGHEST_RATE
    if len(loop.frames) < FEWEST_FRAMES or not rate_told:
        loop = replace(loop, notes=(*loop.notes, "excluded_by_authors"))
    return mirror(loop) if mirrored else loop


def mirror(loop: CineLoop) -> CineLoop:
    """Turn a loop without masks left to right, its region with it."""
    width = loop.frames.shape[2]
    region = loop.region
    if region is not None:
        region = Region(
            region.row0,
            region.row1,
            width - region.column1,
            width - region.column0,
            region.source,
        )
    return replace(
        loop,
        frames=np.ascontiguousarray(loop.frames[:, :, ::-1]),
        chroma=np.ascontiguousarray(loop.chroma[:, ::-1]),
        region=region,
        notes=(*loop.notes, "mirrored"),
    )
