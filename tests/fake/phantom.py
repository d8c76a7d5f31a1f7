"""A folder as the phantom writes it."""

from __future__ import annotations

from pathlib import Path

from fake.parts import SHORT, Fake

from echocli.phantoms.layouts import write_dicom_study
from echocli.phantoms.patient import draw_patient


def write(folder: Path) -> Fake:
    root = folder / "phantoms"
    patients = [draw_patient(34, k, SHORT) for k in range(2)]
    write_dicom_study(root, patients, height=240, width=320)
    return Fake(root, clips=2, patients=None, splits={"train": 2})
