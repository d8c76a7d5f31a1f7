"""What the generators share: moving pictures that intake accepts, and what they promise."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echocli.phantoms.archives import write_video
from echocli.phantoms.patient import PhantomConfig, PhantomLoop, draw_patient, render

SHORT = PhantomConfig(seconds=(0.9, 0.95), frame_rates_hz=(20.0, 22.0))
FAST = PhantomConfig(seconds=(0.9, 0.95), frame_rates_hz=(45.0, 50.0))
RATE_HZ = 20


@dataclass(frozen=True)
class Fake:
    """A written data set, and what is true of it."""

    root: Path
    """The folder that must be recognised."""
    clips: int
    patients: int | None
    """Patients that its index names; None if it names none."""
    splits: Mapping[str, int] = field(default_factory=dict)
    """Loops of each official split; empty if it has none."""
    refused: frozenset[int] = frozenset()
    """Rows of its index that cannot become a clip, on purpose."""
    normal: Mapping[int, bool | None] = field(default_factory=dict)
    """What its rule says of some rows."""
    notes: Mapping[int, str] = field(default_factory=dict)
    """A note of some rows."""


@cache
def heart(kind: int, height: int, width: int, fast: bool) -> PhantomLoop:
    """Draw one of a few hearts; the same ones beat in all data sets."""
    patient = draw_patient(31, kind, FAST if fast else SHORT)
    return render(patient, view="A4C", height=height, width=width)


def loop(
    number: int, height: int = 112, width: int = 112, *, fast: bool = False
) -> tuple[Any, Any]:
    """Return frames and masks that no other number has."""
    drawn = heart(number % 3, height, width, fast)
    shift = number // 3
    return np.roll(drawn.frames, shift, axis=0), np.roll(drawn.masks, shift, axis=0)


def phases(masks: NDArray[np.uint8]) -> tuple[int, int]:
    """Return the frames with the largest and the smallest cavity."""
    areas = (masks == 1).sum((1, 2))
    return int(areas.argmax()), int(areas.argmin())


def outline(mask: NDArray[np.uint8], points: int = 40) -> NDArray[np.float64]:
    """Return corners of the cavity's outline, by its extent in evenly chosen rows."""
    rows = np.flatnonzero((mask == 1).any(1))
    rows = rows[np.linspace(0, len(rows) - 1, points // 2).astype(int)]
    ends = [np.flatnonzero(mask[row] == 1)[[0, -1]] for row in rows]
    left = [(end[0] - 0.5, row) for end, row in zip(ends, rows, strict=True)]
    right = [(end[1] + 0.5, row) for end, row in zip(ends, rows, strict=True)]
    return np.array([*left, *reversed(right)], np.float64)


def write_avi(path: Path, frames: NDArray[np.uint8], rate_hz: int = RATE_HZ) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames, Fraction(rate_hz))


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])


def hashed(text: str) -> str:
    """Return a name such as the data sets' own: 16 hexadecimal digits."""
    return f"0X{hashlib.sha256(text.encode()).hexdigest()[:16].upper()}"
