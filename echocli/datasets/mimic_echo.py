"""MIMIC-IV-ECHO: 525,000 DICOM files of 7,243 studies of 4,579 patients of one hospital.

Layout: ``echo-record-list.csv``, ``echo-study-list.csv``, ``structured-measurement.csv.gz`` and
``files/pNN/pSUBJECT/sSTUDY/STUDY_NNNN.dcm``; many copy only a part of the files. Four of ten
files are stills, and are refused as such. There are no views. Dates have been shifted patient
by patient already, so nothing is joined across patients. Licence: PhysioNet, credentialed.

Source:
    Gow et al., PhysioNet 2023 (0.1) and 2026 (1.0), doi 10.13026/ef48-v217.
"""

from __future__ import annotations

import csv
import gzip
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from echocli.clips.record import Label
from echocli.datasets._tables import SEXES, Row, choose, has_columns, number, read_table
from echocli.datasets.base import PROPOSAL, DatasetItem, inside
from echocli.datasets.rules import NormalRule
from echocli.errors import EchoError
from echocli.intake.loop import CineLoop

RECORDS, RECORD_COLUMNS = "echo-record-list.csv", ("subject_id", "study_id", "dicom_filepath")
STUDIES, STUDY_COLUMNS = "echo-study-list.csv", ("subject_id", "study_id")
MEASUREMENTS = ("structured-measurement.csv.gz", "structured-measurement.csv")
MEASUREMENT_COLUMNS = ("subject_id", "measurement_id", "measurement", "result")
MEASURED = {"lvef": "ef_percent", "height_cm": "height_cm", "gender": "sex"}
"""Measurements that become label columns."""
SAME_EXAMINATION = timedelta(days=1)
"""Time between pictures and measurement, beyond which they are not of one examination."""

RULE = NormalRule(
    "mimic_ef",
    "ef_percent >= 55",
    "ef_percent < 50",
    f"{PROPOSAL}; a hospital's patients: few are healthy although their EF is normal",
)
EXPECTED = {"clips": 525_328, "patients": 4_579}

Key = tuple[str, str]
"""A patient, and a study or a measurement of this patient."""


def recognise(folder: Path) -> bool:
    """Return whether the folder holds ``echo-record-list.csv``."""
    return has_columns(folder / RECORDS, RECORD_COLUMNS)


def how_split(folder: Path) -> str:
    """Return what the column ``split`` means."""
    return "by echocli's hash of the patient: the authors publish no split"


def loops(folder: Path) -> Iterator[DatasetItem]:
    """List the files of the record list, in its order, of the studies that are there."""
    there = cache(lambda study: os.path.isdir(folder / study))
    measured = _measured(folder)
    nothing: dict[str, Label] = {"dataset": "mimic_echo"}
    shared: dict[Key, dict[str, Label]] = {}
    for row, facts in enumerate(read_table(folder / RECORDS, RECORD_COLUMNS), start=1):
        place = re.sub(r"^.*?(?=files/)", "", facts["dicom_filepath"])
        path = inside(folder, place, row)
        if not there(str(Path(place).parent)):
            continue  # not copied: a part of the data set is enough
        key = (facts["subject_id"], facts["study_id"])
        labels = shared.setdefault(key, {**nothing, **measured.get(key, {})})
        yield DatasetItem(
            path=path, reader=read, row=row, labels=labels, patient=key[0], study="/".join(key)
        )


def _measured(folder: Path) -> dict[Key, dict[str, Label]]:
    """Return the labels of each study, by way of the measurement that the study list names."""
    index = folder / STUDIES
    if not index.is_file():
        return {}
    studies = {
        (row["subject_id"], row["measurement_id"].removesuffix(".0")): (
            row["subject_id"],
            row["study_id"],
        )
        for row in read_table(index, STUDY_COLUMNS)
        if row.get("measurement_id") and _is_same_examination(row)
    }
    found: dict[Key, dict[str, Label]] = {}
    for row in _measurements(folder) if studies else ():
        study = studies.get((row["subject_id"], row["measurement_id"].removesuffix(".0")))
        if study is not None:
            column = MEASURED[row["measurement"].strip().lower()]
            text = row["result"]
            value = choose(text, SEXES) if column == "sex" else number(text)
            if value is not None:
                found.setdefault(study, {}).setdefault(column, value)
    return found


def _is_same_examination(row: Row) -> bool:
    """Return whether a measurement was made when the pictures were, by the patient's clock."""
    try:
        pictures = datetime.fromisoformat(row.get("study_datetime", ""))
        measurement = datetime.fromisoformat(row.get("measurement_datetime", ""))
    except ValueError:
        return True  # the list itself pairs them, and gives no times to doubt it
    return abs(pictures - measurement) <= SAME_EXAMINATION


def _measurements(folder: Path) -> Iterator[Row]:
    """Yield the rows of ``MEASURED`` alone: the table has some 20 million."""
    path = next((folder / name for name in MEASUREMENTS if (folder / name).is_file()), None)
    if path is None:
        return
    try:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8", errors="replace", newline="") as file:
            header = next(csv.reader([next(file, "")]), [])
            if set(MEASUREMENT_COLUMNS) - set(header):
                raise ValueError
            wanted = tuple(f",{name}," for name in MEASURED)
            for line in file:
                if any(word in line for word in wanted):
                    row = dict(zip(header, next(csv.reader([line])), strict=True))
                    if row["measurement"] in MEASURED:
                        yield row
    except (OSError, EOFError, ValueError, csv.Error, zlib.error):
        raise EchoError(
            f"{path.name} is broken or cut off.", "Download it again, or move it away."
        ) from None


def read(path: Path) -> CineLoop:
    """Read one DICOM file as any user's. Its dates are shifted: they are not kept.

    Args:
        path: The file.
    """
    from echocli.intake.read import read_loop

    return replace(read_loop(path), study_date="")
