"""EchoNet-LVH: one row a calliper, batches, native sizes."""

from __future__ import annotations

from pathlib import Path

from fake.parts import Fake, hashed, loop, write_avi, write_csv

COLUMNS = ["HashedFileName", "Calc", "CalcValue", "Frame", "X1", "X2", "Y1", "Y2"]
COLUMNS += ["Frames", "FPS", "Width", "Height", "split"]
VIDEOS = (("train", 0.9, 0.8), ("train", 1.1, 0.9), ("val", 1.5, 1.2), ("test", 0.8, 1.0))
MM_PER_PIXEL = 0.8
CROOKED = 1
"""Place of the video of which one calliper tells another scale."""


def write(folder: Path) -> Fake:
    root = folder / "EchoNet-LVH"
    rows = []
    for place, (split, septum, wall) in enumerate(VIDEOS):
        name = hashed(f"lvh {place}")
        height, width = (96, 128) if place % 2 else (112, 112)
        frames, _ = loop(60 + place, height, width)
        write_avi(root / f"Batch{1 + place}" / f"{name}.avi", frames)
        for calc, value, frame in (("IVSd", septum, 2), ("LVIDd", 4.6, 2), ("LVPWd", wall, 2)):
            pixels = 10 * value / MM_PER_PIXEL
            bent = 1.4 if place == CROOKED and calc == "IVSd" else 1.0
            ends = [30, 30 + 0.6 * pixels * bent, 20, 20 + 0.8 * pixels * bent]
            size = [len(frames), 20.0, width, height, split]
            rows.append([name, calc, value, frame, *ends, *size])
        rows.append([name, "LVIDs", 3.0, 9, "", "", "", "", *size])
    write_csv(root / "MeasurementsList.csv", COLUMNS, rows)
    return Fake(
        root,
        clips=4,
        patients=4,
        splits={"train": 2, "val": 1, "test": 1},
        normal={1: True, 5: None, 9: False},
        notes={5: "callipers_disagree"},
    )
