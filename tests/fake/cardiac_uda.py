"""CardiacUDA: sites, views by number, labels by view, axes in both orders."""

from __future__ import annotations

from pathlib import Path

from fake.parts import Fake
from fake.volumes import write_pair

FOUR_CHAMBERS = {1: 1, 3: 2, 2: 4}
"""LV 1, LA 2; the phantom's wall plays the right ventricle."""


def write(folder: Path) -> Fake:
    root = folder / "cardiacUDC_dataset"
    write_pair(root / "label_all_frame", "patient-7-4", 150, FOUR_CHAMBERS, every=1)
    write_pair(root / "Site_G_20", "patient-1-4", 151, FOUR_CHAMBERS)
    write_pair(root / "Site_G_20", "patient-1-2", 152, {1: 1})
    write_pair(root / "Site_R_73", "patient2-3", 153, {1: 1}, columns_first=True)
    write_pair(root / "Site_R_126", "normal-3-1", 154, {})
    return Fake(root, clips=5, patients=4)
