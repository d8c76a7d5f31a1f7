"""CardiacNet-ASD: 231 four-chamber loops with and without an atrial septal defect.

Layout: ``ASD/001_image.nii.gz`` and, of some, ``001_label.nii.gz``; ``Non-ASD`` likewise. No
patient is named: each loop counts as one. Times and scale are not told. The authors publish no
split.

Source:
    Yang et al., ECCV 2024 (CardiacNet), and its published code and data page.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from echocli.datasets._cardiac_net import SPLIT, has_both, loops_of
from echocli.datasets.base import DatasetItem
from echocli.datasets.rules import NormalRule

CLASSES = {"ASD": "asd", "Non-ASD": "non_asd"}

RULE = NormalRule(
    "cardiac_net_asd",
    "diagnosis == 'non_asd'",
    "diagnosis == 'asd'",
    "the authors' classes; their controls were referred for an examination, too",
)
EXPECTED = {"clips": 231, "asd": 100, "non_asd": 131}


def recognise(folder: Path) -> bool:
    """Return whether both classes' folders lie in it, with loops."""
    return has_both(folder, CLASSES)


def how_split(folder: Path) -> str:
    """Return what the column ``split`` means."""
    return SPLIT


def loops(folder: Path) -> Iterator[DatasetItem]:
    """List the loops, the ill first."""
    return loops_of(folder, "cardiac_net_asd", CLASSES)
