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
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echocli.clips.record import Label
from echocli.datasets.base import DatasetItem, fill_polygon, number, read_table, sector_of
from echocli.files import sha256_of
from echocli.intake.loop import CineLoop

FILES = ("FileName", "EF", "ESV", "EDV", "FPS", "Split")
TRACINGS = ("FileName", "X1", "Y1", "X2", "Y2", "Frame")
NORMAL_FROM, ABNORMAL_BELOW = 55.0, 50.0

Chords = tuple[tuple[float, float, float, float], ...]
"""Long axis first, then chords from apex to base: X1, Y1, X2, Y2."""


def normal_rule(ef_percent: float) -> bool | None:
    """Call an EF normal from 55 %, abnormal below 50 %, and neither between.

    The data set has no diagnosis; this is echocli's proposal, not the authors'. The ASE's
    limits (52 % for men, 54 % for women) cannot be used, because the sex is not told.
    """
    if ef_percent >= NORMAL_FROM:
        return True
    return False if ef_percent < ABNORMAL_BELOW else None


def recognise(folder: Path) -> bool:
    """Return whether the folder holds ``FileList.csv`` with a frame rate, and ``Videos``."""
    index = folder / "FileList.csv"
    if not (index.is_file() and (folder / "Videos").is_dir()):
        return False
    with index.open(encoding="utf-8-sig") as file:
        return set(FILES) <= {name.strip() for name in file.readline().split(",")}


def loops(folder: Path) -> Iterator[DatasetItem]:
    """List the videos of ``FileList.csv``, in its order, with their labels and tracings.

    The names carry ``.avi`` in one table and not in the other, depending on the release.
    """
    tracings = _tracings(folder / "VolumeTracings.csv")
    for row in read_table(folder / "FileList.csv", FILES):
        stem = row["FileName"].removesuffix(".avi")
        ef = number(row["EF"])
        labels: dict[str, Label] = {
            "dataset": "echonet_dynamic",
            "view": "A4C",
            "ef_percent": ef,
            "edv_ml": number(row["EDV"]),
            "esv_ml": number(row["ESV"]),
            "normal": None if ef is None else normal_rule(ef),
            "split": row["Split"].lower() or None,
        }
        facts = {
            "rate_hz": number(row["FPS"]),
            "labels": labels,
            "tracings": tracings.get(stem, {}),
        }
        yield DatasetItem(folder / "Videos" / f"{stem}.avi", read, facts)


def _tracings(path: Path) -> dict[str, dict[int, Chords]]:
    """Return the chords of each traced frame of each video; none if the file is absent."""
    found: dict[str, dict[int, list[tuple[float, float, float, float]]]]
    found = defaultdict(lambda: defaultdict(list))
    if path.is_file():
        for row in read_table(path, TRACINGS):
            x1, y1, x2, y2 = (float(row[column]) for column in TRACINGS[1:5])
            frame = int(float(row["Frame"]))
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


def read(
    path: Path,
    rate_hz: float | None,
    labels: dict[str, Label],
    tracings: dict[int, Chords],
) -> CineLoop:
    """Read one video.

    Args:
        path: The video.
        rate_hz: Frames a second as ``FileList.csv`` says.
        labels: Label columns.
        tracings: Chords of the traced frames. The larger of two areas is end diastole: their
            order in the table is not reliable.
    """
    from echocli.intake.read import read_loop

    loop = read_loop(path)
    count, height, width = loop.frames.shape
    kept = sorted(k for k, chords in tracings.items() if k < count and len(chords) > 2)
    masks = np.zeros((len(kept), height, width), np.uint8)
    for row, frame in enumerate(kept):
        masks[row] = cavity(tracings[frame], height, width)
    found: dict[str, Label] = dict(labels)
    if len(kept) == 2:
        areas = masks.sum((1, 2))
        found["ed_frame"], found["es_frame"] = kept[areas.argmax()], kept[areas.argmin()]
    times, source = loop.times_s, loop.time_source
    if rate_hz:
        times, source = np.arange(count) / rate_hz, "dataset"
    return CineLoop(
        frames=loop.frames,
        chroma=np.zeros((height, width), np.uint8),
        times_s=times,
        time_source=source,
        spacing_mm=None,
        spacing_source="unknown",
        region=None,
        patient_key=f"echonet_dynamic/{path.stem}",
        study_key=f"echonet_dynamic/{path.stem}",
        sha256=sha256_of(path),
        labels=found,
        masks=masks if kept else None,
        mask_frames=tuple(kept),
        sector_known=sector_of(loop.frames),
    )
