"""CETUS: 45 three-dimensional recordings of the left ventricle. Known, and out of scope.

Layout: ``[training/]patientN/patientN_{ED,ES}[_truth].mhd``, or the same as NIfTI.

Source:
    Bernard et al., IEEE Transactions on Medical Imaging 35 (2016) 967-977.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from echocli.datasets._volumes import refused_items
from echocli.datasets.base import DatasetItem

RULE = None
EXPECTED: Mapping[str, int] = {}


def recognise(folder: Path) -> bool:
    """Return whether patients' folders with volumes at end diastole lie in it."""
    return next(_volumes(folder, "_ED"), None) is not None


def _volumes(folder: Path, phase: str = "") -> Iterator[Path]:
    for patient in sorted(folder.glob("[Pp]atient[0-9]*")):
        if any(patient.glob("Info_*.cfg")):
            continue  # CAMUS
        for path in sorted(patient.iterdir() if patient.is_dir() else ()):
            named = path.name.startswith(f"{patient.name}_") and phase in path.name
            if named and path.name.endswith((".mhd", ".nii", ".nii.gz")):
                yield path


def how_split(folder: Path) -> str:
    """Return what the column ``split`` means."""
    return "no split: its volumes are refused"


def loops(folder: Path) -> Iterator[DatasetItem]:
    """List the volumes."""
    return refused_items(_volumes(folder), "cetus")
