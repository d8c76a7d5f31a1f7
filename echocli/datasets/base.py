"""What a data set's file offers: ``recognise`` a folder, and list its ``loops``.

A module of this folder is a data set; names that begin with an underscore, and ``base`` and
``rules``, are what they share. It must define

- ``recognise(folder) -> bool``: whether the folder is laid out as this data set is; cheap, from
  the names beside it and the first line of its index;
- ``loops(folder) -> Iterator[DatasetItem]``: its loops, in a fixed order, none of them read;
- ``how_split(folder) -> str``: what its column ``split`` means, in a sentence;
- ``RULE``: which clips are normal, or ``None`` if the data set says so itself;
- ``EXPECTED``: how many of what its authors published; see ``count``.
"""

from __future__ import annotations

import os
import pkgutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from echocli.clips.record import Label
from echocli.datasets.rules import NormalRule
from echocli.errors import EchoError
from echocli.intake.guard import check_readable
from echocli.intake.loop import CineLoop
from echocli.intake.reasons import Reason, Refused

SHARED = ("base", "rules")
PROPOSAL = "echocli's proposal, not the authors'"
"""Note of the rules that no author published."""
COUNTED_LABELS = ("split", "view", "diagnosis")
"""Labels whose values are counted."""


class Dataset(Protocol):
    """The module of a data set."""

    RULE: NormalRule | None
    EXPECTED: Mapping[str, int]

    @staticmethod
    def recognise(folder: Path) -> bool:
        """Return whether the folder is laid out as this data set is."""

    @staticmethod
    def loops(folder: Path) -> Iterator[DatasetItem]:
        """List the loops without reading them."""

    @staticmethod
    def how_split(folder: Path) -> str:
        """Return in a sentence what the column ``split`` means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetItem:
    """One loop of a data set, not yet read. It can be sent to another process."""

    path: Path = field(repr=False)
    """The file that holds the frames."""
    reader: Callable[..., CineLoop] = field(repr=False)
    """A module's function that takes the path and ``facts``."""
    row: int
    """Row of the data set's index, from 1; its place in the listing if there is no index."""
    facts: Mapping[str, object] = field(default_factory=dict, repr=False)
    """What else the reader wants to know: its arguments by name."""
    labels: Mapping[str, Label] = field(default_factory=dict, repr=False)
    """What the index says of this loop, as label columns; the reader may add more."""
    patient: str = field(default="", repr=False)
    """Raw identifier of the patient, only to be hashed; empty if only the file tells."""
    study: str = field(default="", repr=False)
    """Raw identifier of the examination, only to be hashed; the patient's if empty."""
    still: bool = False
    """Whether it is a picture, read as a loop only if its reader is told ``stills``."""

    def read(self) -> CineLoop:
        """Read the loop with its labels and masks.

        Raises:
            Refused: If this file cannot be used.
        """
        if not os.path.exists(self.path):  # unlike Path's, it does not mind long names
            raise Refused(
                Reason.UNREADABLE,
                f"row {self.row} of the data set's index: the file is missing",
            )
        check_readable(self.path)
        loop = self.reader(self.path, **self.facts)
        told = {**self.labels, **loop.labels}
        labels: dict[str, Label] = {k: v for k, v in told.items() if v is not None}
        if not self.patient:
            return replace(loop, labels=labels)
        dataset = self.labels.get("dataset")
        return replace(
            loop,
            labels=labels,
            patient_key=f"{dataset}/{self.patient}",
            study_key=f"{dataset}/{self.study or self.patient}",
        )


def available() -> list[str]:
    """Return the names of all data sets."""
    found = pkgutil.iter_modules([str(Path(__file__).parent)])
    names = (module.name for module in found)
    return sorted(name for name in names if name not in SHARED and not name.startswith("_"))


def load(name: str) -> Dataset:
    """Return the module of a data set."""
    return cast(Dataset, import_module(f"echocli.datasets.{name}"))


@cache
def _modules() -> tuple[tuple[str, Dataset], ...]:
    return tuple((name, load(name)) for name in available())


def recognise(folder: Path) -> str | None:
    """Return the name of the data set that a folder holds, or ``None``."""
    if not folder.is_dir():
        return None
    return next((name for name, module in _modules() if module.recognise(folder)), None)


def loops(folder: Path) -> Iterator[DatasetItem]:
    """List the loops of a folder that holds a known data set.

    Raises:
        EchoError: If no data set is recognised.
    """
    name = recognise(folder)
    if name is None:
        raise EchoError(
            f"The folder holds none of the known data sets ({', '.join(available())}).",
            "Give the folder in which the data set's index files lie.",
        )
    return load(name).loops(folder)


def count(items: Iterable[DatasetItem]) -> dict[str, int]:
    """Count what the index lists, without opening a loop.

    Returns:
        ``clips``, ``patients`` if the index names them, and the clips of each split, view and
        diagnosis.
    """
    counted: Counter[str] = Counter()
    patients = set()
    clips = 0
    for item in items:
        clips += 1
        patients.add(item.patient)
        counted.update(
            str(item.labels[name]) for name in COUNTED_LABELS if item.labels.get(name)
        )
    named = {} if "" in patients else {"patients": len(patients)}
    return {"clips": clips, **named, **counted}


def inside(folder: Path, name: str, row: int) -> Path:
    """Return the place of a file that an index names.

    Raises:
        EchoError: If it does not lie in the folder.
    """
    place = Path(name)
    if not name or "\0" in name or place.is_absolute() or ".." in place.parts:
        raise EchoError(
            f"Row {row} of the data set's index names no file inside the data set.",
            "Take the data set's own index file, unchanged.",
        )
    return folder / place


def one_split_each(splits: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    """Return one split for each patient, the first that is told; none where nothing is.

    Lists of different views, or folds made by picture, may tell two of one patient.
    """
    chosen: dict[str, str] = {}
    for patient, split in splits:
        if split:
            chosen.setdefault(patient, split)
    return chosen
