"""CardiacNet: four-chamber loops in two folders, one of each class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from echocli.datasets import _site_volumes
from echocli.datasets._site_volumes import IMAGE, images_of
from echocli.datasets.base import DatasetItem
from echocli.datasets.cardiac_uda import CODES
from echocli.intake.loop import CineLoop

SPLIT = "by echocli's hash of the loop: the authors publish no list and name no patient"
"""What the column ``split`` means."""


def has_both(folder: Path, classes: Mapping[str, str]) -> bool:
    """Return whether both classes' folders lie in it, with loops.

    Args:
        folder: The data set.
        classes: Diagnosis by folder.
    """
    return all(next((folder / name).glob(f"*{IMAGE}"), None) for name in classes)


def loops_of(folder: Path, dataset: str, classes: Mapping[str, str]) -> Iterator[DatasetItem]:
    """List the loops, the ill first.

    Args:
        folder: The data set.
        dataset: Its name.
        classes: Diagnosis by folder, that of the ill first.
    """
    row = 0
    for name, diagnosis in classes.items():
        for path in images_of(folder / name):
            row += 1
            yield DatasetItem(
                path=path,
                reader=read,
                row=row,
                labels={"dataset": dataset, "view": "A4C", "diagnosis": diagnosis},
                patient=f"{diagnosis}/{path.name.removesuffix(IMAGE)}",
            )


def read(path: Path) -> CineLoop:
    """Read one loop; labels mean what they mean in CardiacUDA's four-chamber view.

    Args:
        path: The loop.
    """
    return _site_volumes.read(path, CODES[4])
