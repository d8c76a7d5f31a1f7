"""CardiacNet-ASD: two folders, one a class."""

from __future__ import annotations

from pathlib import Path

from fake.parts import Fake
from fake.volumes import write_pair


def write(folder: Path) -> Fake:
    root = folder / "CardiacNet-ASD"
    write_pair(root / "ASD", "001", 170, {1: 1, 3: 2})
    write_pair(root / "ASD", "002", 171, {})
    write_pair(root / "Non-ASD", "001", 172, {1: 1, 3: 2})
    return Fake(root, clips=3, patients=3, normal={1: False, 2: False, 3: True})
