"""What data sets of three-dimensional recordings share: they are known, and refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from echocli.datasets.base import DatasetItem
from echocli.intake.loop import CineLoop
from echocli.intake.reasons import Reason, Refused


def refused_items(paths: Iterable[Path], dataset: str) -> Iterator[DatasetItem]:
    """List volumes, each of which will be refused when it is read.

    Without this a stack of slices would pass for a loop: both have three sides.
    """
    for row, path in enumerate(paths, start=1):
        yield DatasetItem(
            path=path, reader=refuse, row=row, labels={"dataset": dataset}, patient=path.name
        )


def refuse(path: Path) -> CineLoop:
    """Refuse a volume.

    Raises:
        Refused: Always.
    """
    raise Refused(Reason.VOLUME, "a three-dimensional data set, which echocli does not read")
