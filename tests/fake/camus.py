"""CAMUS in its older layout: MetaImage pairs, outlines at ED and ES, ten folds of splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from fake.parts import Fake, loop, phases
from numpy.typing import NDArray

PATIENTS = (
    ("training", 1, "Good", 61.0),
    ("training", 2, "Medium", 41.0),
    ("testing", 1, "Medium", None),
)
SPACING_MM = (0.308, 0.154)
"""Width and height of a pixel."""
BACKWARDS = 2
"""Number of the patient whose sequence runs from ES to ED in the four-chamber view."""


def write(folder: Path) -> Fake:
    root = folder / "CAMUS_public"
    names = []
    for place, (part, number, quality, ef) in enumerate(PATIENTS):
        name = f"patient{number + 450 * (part == 'testing'):04d}"
        names.append(name)
        for view in ("2CH", "4CH"):
            backwards = number == BACKWARDS and view == "4CH"
            _write_view(root / part / name, view, 80 + place, quality, ef, backwards)
    lists = root / "subgroups_CAMUS"
    lists.mkdir()
    for fold, order in ((1, names), (2, names[::-1])):
        for part, patient in zip(("training", "validation", "testing"), order, strict=True):
            (lists / f"subGroup{fold}_{part}.txt").write_text(f"{patient}\n")
    return Fake(
        root,
        clips=6,
        patients=3,
        splits={"train": 2, "val": 2, "test": 2},
        normal={1: True, 3: False, 5: None},
        notes={4: "turned_round"},
    )


def _write_view(
    folder: Path, view: str, number: int, quality: str, ef: float | None, backwards: bool
) -> None:
    frames, masks = loop(number, 160, 96, fast=True)
    ed, es = phases(masks)
    frames, masks = np.roll(frames, -ed, 0), np.roll(masks, -ed, 0)
    last = (es - ed) % len(frames)
    order = slice(last, None, -1) if backwards else slice(0, last + 1)
    frames, masks = frames[order], masks[order]
    if view == "2CH":
        frames = frames[:, :, ::-1]
        masks = masks[:, :, ::-1]
    write_mhd(folder / f"{folder.name}_{view}_sequence.mhd", frames)
    first, final = (last, 0) if backwards else (0, last)
    for phase, frame in (("ED", first), ("ES", final)):
        write_mhd(folder / f"{folder.name}_{view}_{phase}.mhd", frames[[frame]])
        if ef is not None:  # the test patients' outlines were withheld
            write_mhd(folder / f"{folder.name}_{view}_{phase}_gt.mhd", masks[[frame]])
    volumes = "" if ef is None else f"LVedv: 100.0\nLVesv: {100 - ef}\nLVef: {ef}\n"
    info = f"ED: {first + 1}\nES: {final + 1}\nNbFrame: {len(frames)}\n{volumes}"
    (folder / f"Info_{view}.cfg").write_text(f"{info}ImageQuality: {quality}\n")


def write_mhd(path: Path, stack: NDArray[np.uint8]) -> None:
    """Write a stack and its header as two files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames, rows, columns = stack.shape
    path.with_suffix(".raw").write_bytes(np.ascontiguousarray(stack).tobytes())
    path.write_text(
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        "CompressedData = False\n"
        f"ElementSpacing = {SPACING_MM[0]} {SPACING_MM[1]} 1.54\n"
        f"DimSize = {columns} {rows} {frames}\nElementType = MET_UCHAR\n"
        f"ElementDataFile = {path.stem}.raw\n"
    )
