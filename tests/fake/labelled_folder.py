"""A researcher's folder of videos with a table: suffixes left out, one video not in it."""

from __future__ import annotations

from pathlib import Path

from fake.parts import Fake, loop, write_avi, write_csv


def write(folder: Path) -> Fake:
    root = folder / "my videos"
    for number, name in enumerate(("a", "b", "c", "not in the table")):
        write_avi(root / f"{name}.avi", loop(180 + number, 144, 192)[0])
    rows = [
        ["a.avi", "P1", 55.5, "A4C", "train", "one two"],
        ["b", "P1", 30, "A2C", "train", ""],
        ["c.avi", "P2", "", "A4C", "", ""],
        ["gone.avi", "P3", 1, "", "", ""],
    ]
    columns = ["file", "patient", "ef_percent", "view", "split", "comment"]
    write_csv(root / "labels.csv", columns, rows)
    return Fake(root, clips=4, patients=None, splits={"train": 2}, refused=frozenset({4}))
