"""What a data set's file offers: ``recognise`` a folder, and list its ``loops``.

A module of this folder is a data set. It must define

- ``recognise(folder) -> bool``: whether the folder is laid out as this data set is; cheap, and
  from its index files alone;
- ``loops(folder) -> Iterator[DatasetItem]``: its loops, in a fixed order, none of them read.
"""

from __future__ import annotations

import csv
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echocli.errors import EchoError
from echocli.intake.loop import CineLoop


class Dataset(Protocol):
    """The module of a data set."""

    @staticmethod
    def recognise(folder: Path) -> bool:
        """Return whether the folder is laid out as this data set is."""

    @staticmethod
    def loops(folder: Path) -> Iterator[DatasetItem]:
        """List the loops without reading them."""


@dataclass(frozen=True)
class DatasetItem:
    """One loop of a data set, not yet read. It can be sent to another process."""

    path: Path = field(repr=False)
    """The file that holds the frames."""
    reader: Callable[..., CineLoop] = field(repr=False)
    """A module's function that takes the path and ``facts``."""
    facts: Mapping[str, object] = field(default_factory=dict, repr=False)
    """What the data set's tables say about this loop, as the reader's arguments."""

    def read(self) -> CineLoop:
        """Read the loop with its labels and masks.

        Raises:
            Refused: If this file cannot be used.
        """
        return self.reader(self.path, **self.facts)


def available() -> list[str]:
    """Return the names of all data sets."""
    found = pkgutil.iter_modules([str(Path(__file__).parent)])
    return sorted(module.name for module in found if module.name != "base")


def load(name: str) -> Dataset:
    """Return the module of a data set."""
    return cast(Dataset, import_module(f"echocli.datasets.{name}"))


def recognise(folder: Path) -> str | None:
    """Return the name of the data set that a folder holds, or ``None``."""
    if not folder.is_dir():
        return None
    return next((name for name in available() if load(name).recognise(folder)), None)


def loops(folder: Path) -> Iterator[DatasetItem]:
    """List the loops of a folder that holds a known data set.

    Raises:
        EchoError: If no data set is recognised.
    """
    name = recognise(folder)
    if name is None:
        raise EchoError(
            f"{folder} holds none of the known data sets ({', '.join(available())}).",
            "Give the folder in which the data set's index files lie.",
        )
    return load(name).loops(folder)


def read_table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Read a CSV table whose header must hold the columns.

    Raises:
        EchoError: If a column is missing.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = sorted(set(columns) - set(reader.fieldnames or ()))
        if missing:
            raise EchoError(
                f"{path.name} lacks the columns {', '.join(missing)}.",
                "Take the data set's own index file, unchanged.",
            )
        return [{key: (value or "").strip() for key, value in row.items()} for row in reader]


def number(text: str) -> float | None:
    """Return a number, or ``None`` where the table is empty or says something else."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def sector_of(frames: NDArray[np.uint8], dark: int = 12) -> NDArray[np.bool_]:
    """Return the sector of frames that are masked already: the largest piece ever lit.

    Texts and marks that the data set left outside are smaller pieces, and stay outside.

    Args:
        frames: Grey, ``(frames, height, width)``.
        dark: Grey levels up to this are compression noise.
    """
    lit = ndimage.binary_opening(frames.max(0) > dark, iterations=1)
    pieces, count = ndimage.label(lit)
    if count == 0:
        return np.zeros(lit.shape, np.bool_)
    largest = 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
    closed = ndimage.binary_closing(np.pad(pieces == largest, 4), iterations=4)[4:-4, 4:-4]
    return np.asarray(ndimage.binary_fill_holes(closed), np.bool_)


def fill_polygon(
    x: NDArray[np.float64], y: NDArray[np.float64], height: int, width: int
) -> NDArray[np.bool_]:
    """Return the pixels whose centre lies in a polygon, by the even-odd rule.

    Args:
        x: Column of each corner; 0 is the centre of the first pixel.
        y: Row of each corner.
        height: Rows of the mask.
        width: Columns of the mask.
    """
    rows = np.arange(height)[:, None]
    columns = np.arange(width)[None, :, None]
    x2, y2 = np.roll(x, -1), np.roll(y, -1)
    straddles = (y <= rows) != (y2 <= rows)
    run = np.where(y2 == y, 1.0, y2 - y)
    at = x + (rows - y) / run * (x2 - x)
    left = (at[:, None, :] > columns) & straddles[:, None, :]
    return np.asarray(left.sum(-1) % 2 == 1)
