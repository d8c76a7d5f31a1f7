"""MITEA: volumes, which must not pass for loops."""

from __future__ import annotations

from pathlib import Path

from fake.parts import Fake, loop
from fake.volumes import write_stack


def write(folder: Path) -> Fake:
    root = folder / "mitea"
    for phase in ("ED", "ES"):
        for kind in ("images", "labels"):
            path = root / kind / f"MITEA_001_scan1_{phase}.nii.gz"
            write_stack(path, loop(0, 32, 32)[0], columns_first=True)
    return Fake(root, clips=2, patients=2, refused=frozenset({1, 2}))
