"""Write phantom patients in the layouts that users have on disk."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from echocli.files import atomic_path, write_json, write_text
from echocli.phantoms.dicom import Coding, DicomOptions, write_loop
from echocli.phantoms.patient import Patient
from echocli.phantoms.screen import draw_screen

CODINGS: tuple[Coding, ...] = ("jpeg", "rle", "jpeg", "grey", "jpeg", "rgb")
STUDY_SCHEMA = "echocli.phantom-study/1"
STUDY_COLUMNS = [
    *("file", "ef_percent", "edv_ml", "esv_ml", "normal", "abnormality", "view"),
    *("ed_frame", "es_frame", "sex", "age_years", "split", "dataset"),
]
"""Columns of ``labels.csv``."""


def split_of(index: int) -> str:
    """Return a patient's official part: three of five train, one val, one test."""
    return ("train", "train", "test", "train", "val")[index % 5]


def options_of(index: int) -> DicomOptions:
    """Return the shape of the file that the patient with this number gets; all are met."""
    return DicomOptions(
        coding=CODINGS[index % len(CODINGS)],
        offset_table=index % 4 != 2,
        time_vector=index % 3 == 1,
        box_first=index % 5 == 3,
    )


def write_dicom_study(
    folder: Path,
    patients: Iterable[Patient],
    *,
    height: int = 300,
    width: int = 400,
    options: DicomOptions | None = None,
) -> list[Path]:
    """Write one DICOM file a patient, and the truth beside them.

    Args:
        folder: Gets ``dicom/*.dcm``, ``labels.csv``, ``truth/*.npz`` (masks in the file's
            pixels) and ``phantom.json``.
        patients: Who.
        height: Rows of each file.
        width: Columns of each file.
        options: One coding for all; by default they take turns.

    Returns:
        The DICOM files, in the patients' order.
    """
    rows: list[list[object]] = []
    files = []
    for patient in patients:
        screen = draw_screen(patient, height=height, width=width)
        loop = screen.loop
        name = f"{patient.identity.accession}_{loop.view}_0001"
        path = folder / "dicom" / f"{name}.dcm"
        write_loop(path, patient, screen, options or options_of(patient.index))
        truth = atomic_path(folder / "truth" / f"{name}.npz")
        with truth as temporary, temporary.open("wb") as file:
            masks = screen.place(loop.masks)
            np.savez_compressed(file, masks=masks, frames=np.array(loop.mask_frames))
        facts = loop.labels() | {
            "file": path.name,
            "sex": patient.sex,
            "age_years": patient.age_years,
            "split": split_of(patient.index),
        }
        rows.append([facts[column] for column in STUDY_COLUMNS])
        files.append(path)
    write_text(folder / "labels.csv", table(STUDY_COLUMNS, rows))
    write_json(folder / "phantom.json", {"schema": STUDY_SCHEMA, "files": len(files)})
    return files


def table(columns: list[str], rows: list[list[object]]) -> str:
    """Return a CSV table as text."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
