"""CETUS: volumes, which must not pass for loops."""

from __future__ import annotations

from pathlib import Path

from fake.camus import write_mhd
from fake.parts import Fake, loop


def write(folder: Path) -> Fake:
    root = folder / "CETUS" / "training"
    for number in (1, 2):
        for phase in ("ED", "ED_truth"):
            path = root / f"patient{number}" / f"patient{number}_{phase}.mhd"
            write_mhd(path, loop(number, 32, 32)[0])
    return Fake(root, clips=4, patients=4, refused=frozenset({1, 2, 3, 4}))
