"""EchoNet-Dynamic: 10,030 apical four-chamber videos with EF and the tracings of two frames.

Layout: ``FileList.csv``, ``VolumeTracings.csv``, ``Videos/*.avi`` (112 x 112). One video a
patient, by its paper; there is no patient column. No millimetres a pixel: only ratios can be
computed from its masks. Its licence forbids redistribution: point echocli at your own copy.

Source:
    Ouyang et al., Nature 580 (2020) 252-256, and the data set's published index files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echocli.clips.record import Label
from echocli.datasets._pictures import at_rate, fill_polygon, sector_of
from echocli.datasets._tables import SPLITS, choose, has_columns, number, read_table, whole
from echocli.datasets.base import PROPOSAL, DatasetItem, inside
from echocli.datasets.rules import NormalRule
from echocli.intake.loop import CineLoop

FILES = ("FileName", "EF", "ESV", "EDV", "FPS", "Split")
TRACINGS = ("FileName", "X1", "Y1", "X2", "Y2", "Frame")
EXCLUDED = "0X4F55DC7F6080587E"
"""A video that the authors' own code leaves out."""
MOST_RATE_DIFFERENCE = 0.02
"""Share by which the rates of list and container may differ without a note."""

RULE = NormalRule(
    "echonet_dynamic_ef",
    "ef_percent >= 55",
    "ef_percent < 50",
    f"{PROPOSAL}; 50 to 54 are left out, and the sex, on which the ASE's limits depend, is not "
    "told",
)
EXPECTED = {"clips": 10_030, "patients": 10_030, "train": 7_465, "val": 1_277, "test": 1_288}

Chords = tuple[tuple[float, float, float, float], ...]
"""Long axis first, then chords from apex to base: X1, Y1, X2, Y2."""


def recognise(folder: Path) -> bool:
    """Return whether the folder holds ``FileList.csv`` with a frame rate, and ``Videos``."""
    return (folder / "Videos").is_dir() and has_columns(folder / "FileList.csv", FILES)


def how_split(folder: Path) -> str:
    """Return what the column ``split`` means."""
    return "the authors' TRAIN, VAL and TEST"


def loops(folder: Path) -> Iterator[DatasetItem]:
    """List the videos of ``FileList.csv``, in its order, with their labels and tracings.

    The names carry ``.avi`` in one table and not in the other, depending on the release.
    """
    tracings = _tracings(folder / "VolumeTracings.csv")
    for row, facts in enumerate(read_table(folder / "FileList.csv", FILES), start=1):
        stem = facts["FileName"].removesuffix(".avi")
        labels: dict[str, Label] = {
            "dataset": "echonet_dynamic",
            "view": "A4C",
            "ef_percent": number(facts["EF"]),
            "edv_ml": number(facts["EDV"]),
            "esv_ml": number(facts["ESV"]),
            "split": choose(facts["Split"], SPLITS),
        }
        yield DatasetItem(
            path=inside(folder / "Videos", f"{stem}.avi", row),
            reader=read,
            row=row,
            facts={"rate_hz": number(facts["FPS"]), "tracings": tracings.get(stem, {})},
            labels=labels,
            patient=stem,
        )


def _tracings(path: Path) -> dict[str, dict[int, Chords]]:
    """Return the chords of each traced frame of each video; none if the file is absent."""
    found: dict[str, dict[int, list[tuple[float, float, float, float]]]]
    found = defaultdict(lambda: defaultdict(list))
    for row in read_table(path, TRACINGS) if path.is_file() else ():
        ends = [number(row[column]) for column in TRACINGS[1:5]]
        frame = whole(row["Frame"])
        x1, y1, x2, y2 = ends
        if x1 is None or y1 is None or x2 is None or y2 is None or frame is None:
            continue
        found[row["FileName"].removesuffix(".avi")][frame].append((x1, y1, x2, y2))
    return {
        name: {frame: tuple(chords) for frame, chords in frames.items()}
        for name, frames in found.items()
    }


def cavity(chords: Chords, height: int, width: int) -> NDArray[np.uint8]:
    """Fill the outline that the chords span; the first row is the long axis and is left out."""
    ends = np.array(chords[1:])
    x = np.concatenate([ends[:, 0], ends[::-1, 2]])
    y = np.concatenate([ends[:, 1], ends[::-1, 3]])
    return fill_polygon(x, y, height, width).astype(np.uint8)


def read(path: Path, rate_hz: float | None, tracings: dict[int, Chords]) -> CineLoop:
    """Read one video.

    Args:
        path: The video.
        rate_hz: Frames a second as ``FileList.csv`` says.
        tracings: Chords of the traced frames. The larger of two areas is end diastole: their
            order in the table is not reliable.
    """
    from echocli.intake.read import read_loop

    loop = read_loop(path)
    count, height, width = loop.frames.shape
    kept = sorted(k for k, chords in tracings.items() if 0 <= k < count and len(chords) > 2)
    masks = np.zeros((len(kept), height, width), np.uint8)
    for place, frame in enumerate(kept):
        masks[place] = cavity(tracings[frame], height, width)
    return replace(
        at_rate(loop, rate_hz),
        chroma=np.zeros((height, width), np.uint8),
        labels=ed_and_es(masks, kept),
        masks=masks if kept else None,
        mask_frames=tuple(kept),
        sector_known=sector_of(loop.frames),
        notes=(*loop.notes, *_notes(path, loop, rate_hz)),
    )


def ed_and_es(masks: NDArray[np.uint8], frames: list[int]) -> dict[str, Label]:
    """Return which of two traced frames is end diastole, by the area of the cavity."""
    if len(frames) != 2:
        return {}
    areas = (masks == 1).sum((1, 2))
    return {"ed_frame": frames[areas.argmax()], "es_frame": frames[areas.argmin()]}


def _notes(path: Path, loop: CineLoop, rate_hz: float | None) -> Iterator[str]:
    if path.stem == EXCLUDED:
        yield "excluded_by_authors"
    if rate_hz and loop.times_s is not None and len(loop.times_s) > 1:
        container = (len(loop.times_s) - 1) / float(loop.times_s[-1] - loop.times_s[0])
        if abs(container / rate_hz - 1) > MOST_RATE_DIFFERENCE:
            yield "rates_disagree"
