"""MITEA: 536 three-dimensional recordings outlined by way of MRI. Known, and out of scope.

Layout: ``images/MITEA_NNN_scanN_{ED,ES}.nii.gz`` and ``labels/`` likewise.

Source:
    Zhao et al., Frontiers in Cardiovascular Medicine 9 (2023) 1016703.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from echocli.datasets._volumes import refused_items
from echocli.datasets.base import DatasetItem

RULE = None
EXPECTED: Mapping[str, int] = {}


def recognise(folder: Path) -> bool:
    """Return whether ``images`` with its volumes lies in it."""
    return next(_volumes(folder), None) is not None


def _volumes(folder: Path) -> Iterator[Path]:
    yield from sorted((folder / "images").glob("MITEA_*.nii*"))


def how_split(folder: Path) -> str:
    """Return what the column ``split`` means."""
    return "no split: its volumes are refused"


def loops(folder: Path) -> Iterator[DatasetItem]:
    """List the volumes."""
    return refused_items(_volumes(folder), "mitea")
