"""What makes an ejection fraction from masks doubtful, and is said of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from echocli.api._segment.measures import flag_foreshortened, volume_curve, volume_row

SIDE, FRAMES = 64, 12
EVERYWHERE = np.ones((SIDE, SIDE), bool)


def beat(length: float = 24.0, *, down: float = 4.0, longer: bool = False) -> np.ndarray:
    """Label maps of an ellipse over an atrium, largest in frame 0 and smallest in frame 6."""
    phase = (1 - np.cos(2 * np.pi * np.arange(FRAMES) / FRAMES))[:, None, None] / 2
    rows, columns = np.mgrid[:SIDE, :SIDE]
    reach = length * (1 + (0.15 if longer else -0.15) * phase)
    base = down + 2 * length
    cavity = ((base - rows - reach) / reach) ** 2 + ((columns - 32) / (12 - 4 * phase)) ** 2 < 1
    labels = cavity.astype(np.uint8)
    below = (rows >= base) & (rows < base + 6) & (np.abs(columns - 32) < 12)
    labels[:, below] = 3
    labels[:, int(base) - 1, 29:36] = 1  # where the valve is, the cavity meets the atrium
    return labels


def flags_of(labels: np.ndarray, sector: np.ndarray = EVERYWHERE, **known: Any) -> set[str]:
    curve = volume_curve(labels, np.arange(FRAMES) * 0.06, (1.5, 1.5))
    row = volume_row(labels, sector, curve, (1.5, 1.5), **known)
    return set(row["flags"].split(";"))


def test_a_whole_cavity_in_one_view_is_that_and_nothing_else() -> None:
    assert flags_of(beat(), known_ed=0) == {"single_plane"}
    assert flags_of(beat(), known_ed=99) == {"single_plane"}  # a label of another clip


def test_an_ejection_fraction_that_no_heart_has_is_told_and_never_above_all_there_was() -> None:
    # Frame 6 keeps a speck: the parabola through its neighbours would go below nothing.
    speck = np.repeat(beat()[:1], FRAMES, axis=0)
    speck[5:8][speck[5:8] == 1] = 0
    speck[5:8, 40, 32] = 1
    curve = volume_curve(speck, np.arange(FRAMES) * 0.06, (1.5, 1.5))
    row = volume_row(speck, EVERYWHERE, curve, (1.5, 1.5))
    assert (curve.smooth >= 0).all()
    assert row["esv_ml"] >= 0
    assert row["ef_percent"] == 100.0
    assert "ef_implausible" in row["flags"].split(";")
    still = np.repeat(beat()[:1], FRAMES, axis=0)
    assert "ef_implausible" in flags_of(still)


def test_a_cavity_that_lengthens_while_it_contracts_is_foreshortened() -> None:
    assert "end_systole_longer" in flags_of(beat(20.0, longer=True, down=12.0))


def test_a_cavity_cut_off_by_the_frame_or_the_sector_is_told() -> None:
    assert "cavity_at_sector_edge" in flags_of(beat(down=-10.0))
    narrow = EVERYWHERE & (np.abs(np.arange(SIDE) - 32) < 12)
    assert "cavity_at_sector_edge" in flags_of(beat(), narrow)


@pytest.mark.parametrize(("frame", "told"), [(0, False), (1, False), (6, True)])
def test_a_known_end_diastole_that_is_not_the_largest_is_told(frame: int, told: bool) -> None:
    assert ("end_diastole_not_largest" in flags_of(beat(), known_ed=frame)) == told


def test_the_shorter_of_two_views_of_a_study_is_told() -> None:
    lengths = [90.0, 70.0, 50.0, 88.0, 60.0, None]
    views = ["A4C", "A2C", "PLAX", "A4C", "A4C", "A2C"]
    studies = ["a", "a", "a", "b", "c", "b"]
    table = pd.DataFrame({"length_mm": lengths, "flags": "single_plane"})
    flag_foreshortened(table, studies, views)
    told = table["flags"].str.contains("shorter_than_other_view").tolist()
    assert told == [False, True, False, False, False, False]
    unscaled = pd.DataFrame({"length_mm": [None, None], "flags": "uncalibrated"})
    flag_foreshortened(unscaled, ["a", "a"], [None, "A2C"])
    assert unscaled["flags"].tolist() == ["uncalibrated"] * 2
