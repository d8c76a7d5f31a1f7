"""Volumes of a study's views stand beside one another, and doubt one another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from micro import micro_clip, write_clips

from echocli.api._segment.output import open_output
from echocli.clips.store import ClipSet

SIDE, FRAMES = 64, 12


def beat(length: float) -> np.ndarray:
    """Label maps of an ellipse, largest in frame 0 and smallest in frame 6."""
    phase = (1 - np.cos(2 * np.pi * np.arange(FRAMES) / FRAMES))[:, None, None] / 2
    rows, columns = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    shrink = 1 - 0.25 * phase
    reach = (rows / (length / 2 * shrink)) ** 2 + (columns / (10 * shrink)) ** 2
    return (reach < 1).astype(np.uint8)


def test_the_table_of_volumes_knows_studies_views_and_known_frames(tmp_path: Path) -> None:
    clips = [
        replace(
            micro_clip(number),
            study_id="one",
            frames=np.zeros((FRAMES, SIDE, SIDE), np.uint8),
            sector=np.ones((SIDE, SIDE), bool),
            times_s=np.arange(FRAMES) * 0.06,
            spacing_mm=(1.5, 1.5),
            labels={"view": view, "ed_frame": frame, "split": "test"},
        )
        for number, view, frame in ((0, "A4C", 6), (1, "A2C", None))
    ]
    write_clips(tmp_path / "clips", clips)
    opened = ClipSet.open(tmp_path / "clips")
    (tmp_path / "out").mkdir()
    with open_output(tmp_path / "out", 0) as output:
        output.add(opened, 0, beat(48.0), "test")
        output.add(opened, 1, beat(34.0), "test")
    flags = pd.read_csv(tmp_path / "out/volumes.csv")["flags"].tolist()
    assert "end_diastole_not_largest" in flags[0]
    assert "shorter" not in flags[0]
    assert flags[1].endswith(";shorter_than_other_view")
    assert "not_largest" not in flags[1]
