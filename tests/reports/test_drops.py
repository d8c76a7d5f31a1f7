"""Pictures of figures under faults hold all that is written on them, however few they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from echocli.reports.drops import draw_drops


@pytest.mark.parametrize("faults", [["shadow"], ["shadow", "low_gain"]])
@pytest.mark.parametrize("figures", [["mae"], ["dice_lv_cavity", "dice_left_atrium"]])
def test_nothing_written_on_a_picture_of_few_faults_is_cut(
    tmp_path: Path, faults: list[str], figures: list[str]
) -> None:
    rows = [
        {"figure": figure, "perturbation": fault, "strength": strength}
        for figure in figures
        for fault, strength in [("none", 0.0), *((f, s) for f in faults for s in (0.5, 1.0))]
    ]
    table = pd.DataFrame(rows).assign(value=10.0, low=8.0, high=12.0)
    draw_drops(table, tmp_path / "drops.png", ["mae"])
    with Image.open(tmp_path / "drops.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert (edge == 255).all()
