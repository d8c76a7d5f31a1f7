"""EchoNet-LVH: 12,000 parasternal long-axis videos with callipers on wall and cavity.

Layout: ``MeasurementsList.csv``, one row a calliper, and ``Batch1`` to ``Batch4`` with
``<hash>.avi`` in their native size. A calliper has a length in centimetres and two ends in
pixels, so the scale of each video can be recovered. No cause of hypertrophy was released, and
no patient: each video counts as one. Its licence forbids redistribution.

Source:
    Duffy et al., JAMA Cardiology 7 (2022) 386-395, and the data set's published index file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from echocli.clips.record import Label
from echocli.datasets._pictures import at_rate, sector_of
from echocli.datasets._tables import SPLITS, Row, choose, has_columns, number, read_table, whole
from echocli.datasets.base import PROPOSAL, DatasetItem, inside
from echocli.datasets.rules import NormalRule
from echocli.intake.loop import CineLoop

INDEX = "MeasurementsList.csv"
COLUMNS = ("HashedFileName", "Calc", "CalcValue", "Frame", "X1", "X2", "Y1", "Y2", "split")
CALLIPERS = {
    "ivsd": "ivsd_cm",
    "lvidd": "lvidd_cm",
    "lvpwd": "lvpwd_cm",
    "lvids": "lvids_cm",
}
"""Septum, cavity and posterior wall in diastole, cavity in systole."""
MOST_DISAGREEMENT = 0.05
"""Share by which the scale of one calliper may differ from the median without a note."""

RULE = NormalRule(
    "echonet_lvh_walls",
    "ivsd_cm <= 1.0 and lvpwd_cm <= 1.0",
    "ivsd_cm >= 1.3 or lvpwd_cm >= 1.3",
    f"{PROPOSAL}; 1.0 to 1.3 cm left out, sex unknown",
)
EXPECTED = {"clips": 12_000}


def recognise(folder: Path) -> bool:
    """Return whether the folder holds ``MeasurementsList.csv``."""
    return has_columns(folder / INDEX, COLUMNS)


def how_split(folder: Path) -> str:
    """Return what the column ``split`` means."""
    return "the authors' train, val and test"


def loops(folder: Path) -> Iterator[DatasetItem]:
    """List the videos in the order in which the table first names them."""
    videos: dict[str, list[Row]] = {}
    first: dict[str, int] = {}
    for row, facts in enumerate(read_table(folder / INDEX, COLUMNS), start=1):
        name = facts["HashedFileName"].removesuffix(".avi")
        videos.setdefault(name, []).append(facts)
        first.setdefault(name, row)
    places = _places(folder)
    for name, rows in videos.items():
        scales = [scale for row in rows if (scale := mm_per_pixel(row))]
        yield DatasetItem(
            path=places.get(name) or inside(folder / "Batch1", f"{name}.avi", first[name]),
            reader=read,
            row=first[name],
            facts={
                "rate_hz": number(rows[0].get("FPS")),
                "size": (whole(rows[0].get("Height")), whole(rows[0].get("Width"))),
                "spacing_mm": median(scales) if scales else None,
                "callipers_disagree": disagree(scales),
            },
            labels=_labels(rows),
            patient=name,
        )


def _places(folder: Path) -> dict[str, Path]:
    """Return where each video lies: in a batch, or in the folder itself."""
    batches = sorted(folder.glob("Batch[0-9]*"))
    return {path.stem: path for batch in (*batches, folder) for path in batch.glob("*.avi")}


def mm_per_pixel(row: Row) -> float | None:
    """Return the scale that one calliper tells, or ``None`` if it has no length."""
    length = number(row["CalcValue"])
    ends = [number(row[name]) for name in ("X1", "X2", "Y1", "Y2")]
    x1, x2, y1, y2 = ends
    if length is None or x1 is None or x2 is None or y1 is None or y2 is None:
        return None
    pixels = math.hypot(x2 - x1, y2 - y1)
    return 10.0 * length / pixels if length > 0 and pixels > 0 else None


def disagree(scales: list[float]) -> bool:
    """Return whether a calliper's scale differs much from the median of all."""
    middle = median(scales) if scales else 1.0
    return any(abs(scale / middle - 1) > MOST_DISAGREEMENT for scale in scales)


def _labels(rows: list[Row]) -> dict[str, Label]:
    """Return the median of each measurement, and the frames that they were made in."""
    labels: dict[str, Label] = {
        "dataset": "echonet_lvh",
        "view": "PLAX",
        "split": choose(rows[0]["split"], SPLITS),
    }
    for calc, column in CALLIPERS.items():
        values = [number(row["CalcValue"]) for row in rows if row["Calc"].lower() == calc]
        known = [value for value in values if value is not None]
        if known:
            labels[column] = median(known)
    for column, ends in (("ed_frame", "d"), ("es_frame", "s")):
        frames = {whole(row["Frame"]) for row in rows if row["Calc"].lower().endswith(ends)}
        if len(frames) == 1:
            labels[column] = frames.pop()
    return labels


def read(
    path: Path,
    rate_hz: float | None,
    size: tuple[int | None, int | None],
    spacing_mm: float | None,
    callipers_disagree: bool,
) -> CineLoop:
    """Read one video.

    Args:
        path: The video.
        rate_hz: Frames a second as the table says.
        size: Rows and columns of the picture on which the callipers were set.
        spacing_mm: Side of a pixel: the median over the video's callipers.
        callipers_disagree: Whether one of them tells another scale.
    """
    from echocli.intake.read import read_loop

    loop = read_loop(path)
    resized = None not in size and loop.frames.shape[1:] != size
    known = spacing_mm is not None and not resized
    notes = {"callipers_disagree": callipers_disagree, "size_disagrees": resized}
    return replace(
        at_rate(loop, rate_hz),
        chroma=np.zeros(loop.frames.shape[1:], np.uint8),
        spacing_mm=(spacing_mm, spacing_mm) if spacing_mm is not None and known else None,
        spacing_source="callipers" if known else "unknown",
        sector_known=sector_of(loop.frames),
        notes=(*loop.notes, *(note for note, holds in notes.items() if holds)),
    )
