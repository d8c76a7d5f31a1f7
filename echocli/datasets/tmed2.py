"""TMED-2: still pictures of 599 studies with view and grade of aortic stenosis.

Layout: ``labels_per_image.csv``, ``<SourceFolder>/<patient>s<study>_<n>.png`` (112 x 112), and
``TMED2_fold{0,1,2}_labeledpart.csv`` of one of the sizes DEV479, DEV165, DEV56. These are
pictures, not loops: they are refused unless ``--stills`` asks for each to be shown again and
again, as a loop in which nothing moves. Licence: Tufts data use agreement.

Source:
    Huang et al., Machine Learning for Healthcare 2021; TMED-2, DataPerf at ICML 2022; and the
    data set's published index files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from echocli.datasets._pictures import bare_loop, sector_of
from echocli.datasets._tables import SPLITS, Row, choose, has_columns, read_table
from echocli.datasets.base import PROPOSAL, DatasetItem, inside, one_split_each
from echocli.datasets.rules import NormalRule
from echocli.intake.guard import check_size, foreign
from echocli.intake.loop import CineLoop
from echocli.intake.reasons import Reason, Refused

INDEX = "labels_per_image.csv"
COLUMNS = ("query_key", "view_label", "diagnosis_label")
FOLDS = (0, 1, 2)
SIZES = ("DEV479", "DEV165", "DEV56")
"""Sizes of the development part; the largest that is there is used."""
SOURCES = (
    "view_and_diagnosis_labeled_set/labeled",
    "view_labeled_set/labeled",
    "view_labeled_set",
    "",
)
"""Where a picture may lie if no table tells its SourceFolder."""
STILL_FRAMES = 16
"""Times that a picture is repeated."""
UNTOLD = ("", "not_provided")

RULE = NormalRule(
    "tmed2_as",
    "diagnosis == 'no_AS'",
    "diagnosis == 'severe_AS'",
    f"{PROPOSAL}; mild to moderate stenosis left out",
)
EXPECTED: Mapping[str, int] = {}
"""Its tables name pictures of three overlapping sets, of which no total was published."""


def recognise(folder: Path) -> bool:
    """Return whether the folder holds ``labels_per_image.csv`` or a fold's table."""
    return has_columns(folder / INDEX, COLUMNS) or any(
        has_columns(folder / _table_of(fold), COLUMNS) for fold in FOLDS
    )


def _table_of(fold: int) -> str:
    return f"TMED2_fold{fold}_labeledpart.csv"


def _folds(folder: Path) -> tuple[str, dict[int, list[Row]]]:
    """Return the size of the development part that is used, and the tables of its folds."""
    for size in (*SIZES, ""):
        for root in (
            folder / size,
            folder / "approved_users_only" / size,
            folder.parent / size,
        ):
            paths = {fold: root / _table_of(fold) for fold in FOLDS}
            tables = {
                fold: read_table(path, COLUMNS)
                for fold, path in paths.items()
                if has_columns(path, COLUMNS)
            }
            if tables:
                return size or root.name, tables
    return "", {}


def how_split(folder: Path) -> str:
    """Return which fold of which size the column ``split`` follows."""
    size, tables = _folds(folder)
    if not tables:
        return "by echocli's hash of the patient: no TMED2_fold*_labeledpart.csv is there"
    return (
        f"the diagnosis classifier's split of fold {min(tables)} of {size}; the columns "
        "split_fold0, split_fold1 and split_fold2 hold all that are there"
    )


def loops(folder: Path) -> Iterator[DatasetItem]:
    """List the pictures in the order of ``labels_per_image.csv``, or of the first fold."""
    _, folds = _folds(folder)
    index = folder / INDEX
    rows = read_table(index, COLUMNS) if index.is_file() else folds[min(folds)]
    sources = {
        row["query_key"]: row["SourceFolder"]
        for table in (*folds.values(), rows)
        for row in table
        if row.get("SourceFolder")
    }
    splits = {
        fold: one_split_each((patient_of(row["query_key"]), _split(row)) for row in table)
        for fold, table in folds.items()
    }
    roots = [folder / name for name in SOURCES if (folder / name).is_dir()]
    for row, facts in enumerate(rows, start=1):
        key = facts["query_key"]
        patient = patient_of(key)
        told = [sources[key].strip("/")] if key in sources else []
        yield DatasetItem(
            path=_place(folder, told, roots, key, row),
            reader=read,
            row=row,
            labels={
                "dataset": "tmed2",
                "view": _told(facts["view_label"]),
                "diagnosis": _told(facts["diagnosis_label"]),
                "split": splits[min(splits)].get(patient) if splits else None,
                **{f"split_fold{fold}": table.get(patient) for fold, table in splits.items()},
            },
            patient=patient,
            study=key.split("_")[0],
            still=True,
        )


def patient_of(key: str) -> str:
    """Return the patient of ``<patient>s<study>_<n>.png``."""
    found = re.match(r"(\d+)s\d+", key)
    return found[1] if found else key.split("_")[0]


def _told(text: str) -> str | None:
    return None if text.lower() in UNTOLD else text


def _split(row: Row) -> str | None:
    """Return the split for diagnosis, or for views where the study has no diagnosis."""
    diagnosis = choose(row.get("diagnosis_classifier_split"), SPLITS)
    return diagnosis or choose(row.get("view_classifier_split"), SPLITS)


def _place(folder: Path, told: list[str], roots: list[Path], key: str, row: int) -> Path:
    named = [inside(folder / name, key, row) for name in told if ".." not in name]
    named += [inside(root, key, row) for root in roots]
    return next((path for path in named if os.path.isfile(path)), inside(folder, key, row))


def read(path: Path, stills: bool = False) -> CineLoop:
    """Read one picture as a loop in which nothing moves.

    Args:
        path: The picture.
        stills: Whether that is wanted.

    Raises:
        Refused: If it is not, or the picture is broken.
    """
    if not stills:
        raise Refused(Reason.STILL, "a single image; --stills repeats it as a motionless loop")
    with foreign(Reason.UNREADABLE, also=(UnidentifiedImageError,)), Image.open(path) as image:
        check_size(STILL_FRAMES, image.height, image.width)
        grey = np.asarray(image.convert("L"))
    frames = np.repeat(grey[None], STILL_FRAMES, axis=0)
    return bare_loop(path, frames, sector_known=sector_of(frames), notes=("still_repeated",))
