"""CardiacNet-PAH: two folders, one a class."""

from __future__ import annotations

from pathlib import Path

from fake.parts import Fake
from fake.volumes import write_pair


def write(folder: Path) -> Fake:
    root = folder / "CardiacNet-PAH"
    write_pair(root / "PAH", "001", 160, {1: 1, 3: 2})
    write_pair(root / "PAH", "002", 161, {})
    write_pair(root / "Non-PAH", "001", 162, {1: 1, 3: 2})
    return Fake(root, clips=3, patients=3, normal={1: False, 2: False, 3: True})
