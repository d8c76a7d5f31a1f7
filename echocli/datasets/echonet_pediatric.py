"""EchoNet-Pediatric: 3,176 apical four-chamber and 4,424 short-axis videos of children.

Layout: ``{A4C,PSAX}/FileList.csv``, ``VolumeTracings.csv`` and
``Videos/<patient>-<accession>-<instance>.avi``; the archive nests them two to four levels deep.
``Split`` is a fold of ten. EF is by area and length from both views (5/6 A L). Its licence
forbids redistribution: point echocli at your own copy.

Source:
    Reddy et al., Journal of the American Society of Echocardiography 36 (2023) 482-489, and
    the data set's published index files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from echocli.clips.record import Label
from echocli.datasets._pictures import fill_polygon, sector_of
from echocli.datasets._tables import SEXES, Row, choose, has_columns, number, read_table, whole
from echocli.datasets.base import PROPOSAL, DatasetItem, inside, one_split_each
from echocli.datasets.echonet_dynamic import ed_and_es
from echocli.datasets.rules import NormalRule
from echocli.intake.loop import CineLoop

VIEWS = ("A4C", "PSAX")
FILES = ("FileName", "EF", "Sex", "Age", "Weight", "Height", "Split")
TRACINGS = ("FileName", "X", "Y", "Frame")
FOLDS = {8: "val", 9: "test"}
"""Folds that are not trained on, as in EchoNet-Synthetic; others are a label column away."""

RULE = NormalRule(
    "echonet_pediatric_ef",
    "ef_percent >= 55",
    "ef_percent < 50",
    f"{PROPOSAL}; 50 to 54 left out",
)
EXPECTED = {"clips": 7_600, "A4C": 3_176, "PSAX": 4_424}

Points = tuple[tuple[float, float], ...]
"""Corners of the cavity's outline: X, Y."""


def recognise(folder: Path) -> bool:
    """Return whether a folder of one of the views lies in it, with weights and heights."""
    return any(_is_view(folder / view) for view in VIEWS)


def _is_view(folder: Path) -> bool:
    return has_columns(folder / "FileList.csv", FILES) and (folder / "Videos").is_dir()


def how_split(folder: Path) -> str:
    """Return what the column ``split`` means."""
    return (
        "folds 0 to 7 are train, fold 8 is val, fold 9 is test; a patient whose views lie in "
        "different folds goes with the four-chamber view; `fold` holds the authors' fold"
    )


def loops(folder: Path) -> Iterator[DatasetItem]:
    """List the videos of both views, in the order of their tables."""
    tables = [(view, _table(folder / view)) for view in VIEWS if _is_view(folder / view)]
    splits = one_split_each(
        (patient_of(row["FileName"]), split_of(whole(row["Split"])))
        for _, rows in tables
        for row in rows
    )
    start = 1
    for view, rows in tables:
        tracings = _tracings(folder / view / "VolumeTracings.csv")
        for place, row in enumerate(rows, start=start):
            stem = row["FileName"].removesuffix(".avi")
            patient = patient_of(stem)
            yield DatasetItem(
                path=inside(folder / view / "Videos", f"{stem}.avi", place),
                reader=read,
                row=place,
                facts={"tracings": tracings.get(stem, {})},
                labels={**_labels(row, view), "split": splits.get(patient)},
                patient=patient,
                study="-".join(stem.split("-")[:2]),
            )
        start += len(rows)


def _table(folder: Path) -> list[Row]:
    return read_table(folder / "FileList.csv", FILES)


def patient_of(name: str) -> str:
    """Return the patient: what stands before the first hyphen of a video's name."""
    return name.removesuffix(".avi").split("-", 1)[0]


def split_of(fold: int | None) -> str | None:
    """Return the split that a fold is taken for."""
    return None if fold is None else FOLDS.get(fold, "train")


def _labels(row: Row, view: str) -> dict[str, Label]:
    return {
        "dataset": "echonet_pediatric",
        "view": view,
        "ef_percent": number(row["EF"]),
        "sex": choose(row["Sex"], SEXES),
        "age_years": number(row["Age"]),
        "weight_kg": number(row["Weight"]),
        "height_cm": number(row["Height"]),
        "fold": whole(row["Split"]),
    }


def _tracings(path: Path) -> dict[str, dict[int, Points]]:
    """Return the outline of each traced frame; rows without a point or a frame say nothing.

    ``Frame`` reads "No Systolic" where one phase was not traced, and X and Y are empty then.
    """
    found: dict[str, dict[int, list[tuple[float, float]]]]
    found = defaultdict(lambda: defaultdict(list))
    for row in read_table(path, TRACINGS) if path.is_file() else ():
        x, y, frame = number(row["X"]), number(row["Y"]), whole(row["Frame"])
        if x is not None and y is not None and frame is not None:
            found[row["FileName"].removesuffix(".avi")][frame].append((x, y))
    return {
        name: {frame: tuple(points) for frame, points in frames.items()}
        for name, frames in found.items()
    }


def read(path: Path, tracings: dict[int, Points]) -> CineLoop:
    """Read one video; only its container tells the frame rate.

    Args:
        path: The video.
        tracings: Outline of the cavity in the traced frames. In the long axis the larger area
            is end diastole, and in the short axis too.
    """
    from echocli.intake.read import read_loop

    loop = read_loop(path)
    count, height, width = loop.frames.shape
    kept = sorted(k for k, points in tracings.items() if 0 <= k < count and len(points) > 2)
    masks = np.zeros((len(kept), height, width), np.uint8)
    for place, frame in enumerate(kept):
        x, y = np.array(tracings[frame]).T
        masks[place] = fill_polygon(x, y, height, width)
    return replace(
        loop,
        chroma=np.zeros((height, width), np.uint8),
        labels=ed_and_es(masks, kept),
        masks=masks if kept else None,
        mask_frames=tuple(kept),
        sector_known=sector_of(loop.frames),
    )
