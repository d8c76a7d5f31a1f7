"""DICOM loops for the data sets that hold some; the pictures are drawn once."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from fake.parts import SHORT

from echocli.phantoms.dicom import DicomOptions, write_loop
from echocli.phantoms.patient import Patient, draw_patient
from echocli.phantoms.screen import Screen, draw_screen


@cache
def _screen() -> tuple[Patient, Screen]:
    patient = draw_patient(33, 1, SHORT)
    return patient, draw_screen(patient, height=240, width=320)


def write_dicom(path: Path, number: int, *, still: bool = False) -> None:
    """Write a loop that differs from all others by its header, or its first picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    patient, screen = _screen()
    screen = replace(screen, frames=screen.frames[:1]) if still else screen
    write_loop(path, patient, screen, DicomOptions(coding="jpeg"), number + 1)
