"""HMC-QU: 162 A4C and 160 A2C videos with infarction by segment, and 109 outlines of the wall.

Layout: ``A4C.xlsx`` and ``A2C.xlsx`` (or the same saved as CSV) with ``ECHO``, ``SEG*`` and, of
A4C, the frames and a mark of the outlines; ``HMC-QU/{A4C,A2C}/<ECHO>.avi``; and
``LV Ground-truth Segmentation Masks/Mask_<ECHO>.mat`` (224 x 224, one cycle, the wall alone).
A patient is ``ES`` and a number, written in several ways; both views share the patient's
split. Small and skewed: look at the intervals.

Source:
    Degerli et al., Biomedical Signal Processing and Control 87 (2024) 105448, and the data
    set's page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.io
from numpy.typing import NDArray

from echocli.datasets._tables import Row, read_sheet, whole
from echocli.datasets.base import DatasetItem, inside
from echocli.datasets.rules import NormalRule
from echocli.intake.guard import check_readable, foreign
from echocli.intake.loop import CineLoop
from echocli.intake.reasons import Reason, Refused

VIEWS = ("A4C", "A2C")
VIDEOS = ("HMC-QU", "HMC-QU Echos", "videos", "")
"""Folders that may hold those of the views."""
MASKS = "LV Ground-truth Segmentation Masks"
MYOCARDIUM = 2
MOST_MAT_BYTES = 1 << 28

RULE = NormalRule(
    "hmc_qu_mi",
    "diagnosis == 'non_mi'",
    "diagnosis == 'mi'",
    "the authors' segments: a patient with an infarction in either view has one",
)
EXPECTED = {"clips": 322, "A4C": 162, "A2C": 160}


def recognise(folder: Path) -> bool:
    """Return whether a table of one of the views lies beside its videos."""
    return any(_table(folder, view) and _videos(folder, view) for view in VIEWS)


def _table(folder: Path, view: str) -> Path | None:
    paths = (folder / f"{view}{suffix}" for suffix in (".csv", ".xlsx"))
    return next((path for path in paths if path.is_file()), None)


def _videos(folder: Path, view: str) -> Path | None:
    paths = (folder / name / view for name in VIDEOS)
    return next((path for path in paths if path.is_dir()), None)


def how_split(folder: Path) -> str:
    """Return what the column ``split`` means."""
    return "by echocli's hash of the patient, both views together: the authors publish none"


def loops(folder: Path) -> Iterator[DatasetItem]:
    """List the videos of both tables, A4C first."""
    tables = {view: _rows(folder, view) for view in VIEWS}
    ill = {
        patient_of(row["ECHO"])
        for rows in tables.values()
        for row in rows
        if infarcted_segments(row)
    }
    start = 1
    for view, rows in tables.items():
        videos = _videos(folder, view) or folder / view
        for row, facts in enumerate(rows, start=start):
            name = facts["ECHO"]
            patient = patient_of(name)
            truth = inside(folder / MASKS, f"Mask_{name}.mat", row)
            first, last = _cycle(facts)
            yield DatasetItem(
                path=inside(videos, f"{name}.avi", row),
                reader=read,
                row=row,
                facts={"truth": truth if view == "A4C" else None, "cycle": (first, last)},
                labels={
                    "dataset": "hmc_qu",
                    "view": view,
                    "diagnosis": "mi" if patient in ill else "non_mi",
                    "mi_segments": infarcted_segments(facts),
                },
                patient=patient,
            )
        start += len(rows)


def _rows(folder: Path, view: str) -> list[Row]:
    path = _table(folder, view)
    rows = read_sheet(path) if path else []
    return [row for row in rows if row.get("ECHO")]


def patient_of(name: str) -> str:
    """Return the patient of a video: ``ES0001_CH2_1``, ``ES0001 _4CH_1``, ``ES000100 N_2CH_3``.

    Names begin with ``ES`` and a number; what follows differs between the views.
    """
    found = re.match(r"\s*(ES\d+)", name)
    return found[1] if found else name


def infarcted_segments(row: Row) -> int:
    """Return the number of segments with an infarction."""
    return sum(
        key.upper().startswith("SEG") and value.upper() == "MI" for key, value in row.items()
    )


def _cycle(row: Row) -> tuple[int | None, int | None]:
    """Return the first and last outlined frame, from 1: the last two numbers of the row."""
    numbers = [
        whole(value)
        for key, value in row.items()
        if not key.upper().startswith(("SEG", "ECHO"))
    ]
    known = [value for value in numbers if value is not None]
    return (known[-2], known[-1]) if len(known) >= 2 else (None, None)


def read(path: Path, truth: Path | None, cycle: tuple[int | None, int | None]) -> CineLoop:
    """Read one video, and the outlines of the wall if it has any.

    Args:
        path: The video.
        truth: Where its outlines would lie.
        cycle: First and last frame with an outline, from 1.
    """
    from echocli.intake.read import read_loop

    loop = read_loop(path)
    if truth is None or not truth.is_file() or cycle[0] is None:
        return loop
    _, height, width = loop.frames.shape
    walls = read_walls(truth, height, width)
    frames = range(cycle[0] - 1, min(cycle[0] - 1 + len(walls), len(loop.frames)))
    if cycle[0] < 1 or not frames:
        return loop
    return replace(loop, masks=walls[: len(frames)], mask_frames=tuple(frames))


def read_walls(path: Path, height: int, width: int) -> NDArray[np.uint8]:
    """Read the outlines of the wall, in the pixels of the video: its whole picture was 224^2.

    Raises:
        Refused: If the file is broken.
    """
    if check_readable(path) > MOST_MAT_BYTES:
        raise Refused(Reason.OUT_OF_MEMORY)
    with foreign(Reason.UNREADABLE, "the outlines are broken"):
        small = np.asarray(scipy.io.loadmat(path, variable_names=["predicted"])["predicted"])
        rows = (np.arange(height) + 0.5) * small.shape[1] / height
        columns = (np.arange(width) + 0.5) * small.shape[2] / width
        wall = small[:, rows.astype(int)][:, :, columns.astype(int)] > 0
    return np.asarray(wall, np.uint8) * np.uint8(MYOCARDIUM)
