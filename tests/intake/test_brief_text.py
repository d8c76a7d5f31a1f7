"""Bright text that stands for a few frames only is cut out; tissue without text is left."""

import numpy as np
import pytest
from test_sector_text import Written, expect_cut_out, phantom

from echocli.intake.brief import brief_strokes, words_in


@pytest.mark.parametrize(
    ("frames", "start", "size", "value"), [(3, 9, 12, 220), (4, 20, 16, 230), (6, 1, 9, 255)]
)
def test_bright_text_in_few_frames_is_cut_out(
    frames: int, start: int, size: int, value: int
) -> None:
    loop, truth = phantom()
    text = Written(size=size, value=value, text="DOE JOHN")
    expect_cut_out(loop, truth, slice(start, start + frames), text)


def test_tissue_without_text_holds_no_words() -> None:
    loop, truth = phantom()
    assert list(brief_strokes(loop.frames, truth)) == []


@pytest.mark.parametrize(("above", "found"), [(30, False), (60, True)])
def test_beads_of_speckle_stand_out_less_than_letters(above: int, found: bool) -> None:
    frames = np.full((8, 64, 96), 90, np.uint8)
    frames[2:7, 20:28, 20:60:5] += np.uint8(above)
    frames[2:7, 20:28, 21:60:5] += np.uint8(above)
    assert bool(list(brief_strokes(frames, np.ones((64, 96), bool)))) == found


@pytest.mark.parametrize(("level", "found"), [(10, True), (80, False)])
def test_dark_ink_is_dark(level: int, found: bool) -> None:
    frames = np.full((8, 64, 96), 170, np.uint8)
    frames[2:7, 20:28, 20:60:5] = frames[2:7, 20:28, 21:60:5] = level
    parts = brief_strokes(frames, np.ones((64, 96), bool))
    assert any(part.dark.any() for part in parts) == found


@pytest.mark.parametrize(("strokes", "rows", "found"), [(4, 4, True), (3, 9, False)])
def test_words_are_several_strokes_beside_each_other(
    strokes: int, rows: int, found: bool
) -> None:
    marks = np.zeros((100, 120), bool)
    marks[40 : 40 + rows, 50 : 50 + 4 * strokes : 4] = True
    words = words_in(marks)
    assert (words is not None) == found
    assert words is None or (words == marks).all()
    assert words_in(marks.T) is None, "strokes below each other are lines"
