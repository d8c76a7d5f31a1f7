"""CardiacNet-PAH: 496 four-chamber loops with and without pulmonary arterial hypertension.

Layout: ``PAH/001_image.nii.gz`` and, of some, ``001_label.nii.gz``; ``Non-PAH`` likewise. No
patient is named: each loop counts as one. Times and scale are not told. The authors publish no
split.

Source:
    Yang et al., ECCV 2024 (CardiacNet), and its published code and data page.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from echocli.datasets import _site_volumes
from echocli.datasets._site_volumes import IMAGE, images_of
from echocli.datasets.base import DatasetItem
from echocli.datasets.cardiac_uda import CODES
from echocli.datasets.rules import NormalRule
from echocli.intake.loop import CineLoop

CLASSES = {"PAH": "pah", "Non-PAH": "non_pah"}

RULE = NormalRule(
    "cardiac_net_pah",
    "diagnosis == 'non_pah'",
    "diagnosis == 'pah'",
    "the authors' classes; their controls were referred for an examination, too",
)
EXPECTED = {"clips": 496, "pah": 342, "non_pah": 154}


def recognise(folder: Path) -> bool:
    """Return whether both classes' folders lie in it, with loops."""
    return all(next((folder / name).glob(f"*{IMAGE}"), None) for name in CLASSES)


def how_split(folder: Path) -> str:
    """Return what the column ``split`` means."""
    return "by echocli's hash of the loop: the authors publish no list and name no patient"


def loops(folder: Path) -> Iterator[DatasetItem]:
    """List the loops, the ill first."""
    row = 0
    for name, diagnosis in CLASSES.items():
        for path in images_of(folder / name):
            row += 1
            yield DatasetItem(
                path=path,
                reader=read,
                row=row,
                labels={
                    "dataset": "cardiac_net_pah",
                    "view": "A4C",
                    "diagnosis": diagnosis,
                },
                patient=f"{diagnosis}/{path.name.removesuffix(IMAGE)}",
            )


def read(path: Path) -> CineLoop:
    """Read one loop; labels mean what they mean in CardiacUDA's four-chamber view.

    Args:
        path: The loop.
    """
    return _site_volumes.read(path, CODES[4])
