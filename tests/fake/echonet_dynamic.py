"""EchoNet-Dynamic: names without .avi in one table and with it in the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from fake.parts import Fake, hashed, loop, outline, phases, write_avi, write_csv

ROWS = (("TRAIN", 60.0), ("TRAIN", 52.0), ("VAL", 35.0), ("TEST", 58.0), ("TEST", 30.0))
COLUMNS = ["FileName", "EF", "ESV", "EDV", "FrameHeight", "FrameWidth", "FPS"]
COLUMNS += ["NumberOfFrames", "Split"]
EXCLUDED, UNTRACED, MISSING = 1, 2, 4
"""Places of the video that the authors leave out, of one without tracings, of a lost file."""


def write(folder: Path) -> Fake:
    root = folder / "EchoNet-Dynamic"
    files, tracings = [], []
    for place, (split, ef) in enumerate(ROWS):
        name = "0X4F55DC7F6080587E" if place == EXCLUDED else hashed(f"dynamic {place}")
        frames, masks = loop(place)
        if place != MISSING:
            write_avi(root / "Videos" / f"{name}.avi", frames)
        files.append([name, ef, 40.0, 100.0, 112, 112, 20.0, len(frames), split])
        # The smaller area first, as it is in some: only the area tells the phase.
        for frame in () if place == UNTRACED else sorted(phases(masks), reverse=place == 0):
            points = outline(masks[frame], 40)
            left, right = points[:20], points[20:][::-1]
            axis = [*points[0], *points[19]]
            for x1, y1, x2, y2 in [axis, *np.hstack([left, right]).tolist()]:
                tracings.append([f"{name}.avi", x1, y1, x2, y2, frame])
    write_csv(
        root / "FileList.csv",
        COLUMNS,
        files,
    )
    write_csv(
        root / "VolumeTracings.csv", ["FileName", "X1", "Y1", "X2", "Y2", "Frame"], tracings
    )
    return Fake(
        root,
        clips=5,
        patients=5,
        splits={"train": 2, "val": 1, "test": 2},
        refused=frozenset({5}),
        normal={1: True, 2: None, 3: False},
        notes={2: "excluded_by_authors"},
    )
