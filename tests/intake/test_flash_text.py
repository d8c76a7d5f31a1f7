"""Text of one or two frames is cut out, bright or dark; what moves without text is left."""

from dataclasses import replace

import numpy as np
import pytest
from test_sector_text import Written, expect_cut_out, phantom

from echocli.intake.flash import flashed_strokes


@pytest.mark.parametrize(
    ("frames", "start", "size", "value"),
    [(1, 9, 12, 230), (2, 0, 16, 255), (1, 15, 9, 5), (2, 20, 14, 0)],
)
def test_text_of_one_or_two_frames_is_cut_out(
    frames: int, start: int, size: int, value: int
) -> None:
    loop, truth = phantom()
    if value < 128:
        loop = replace(loop, frames=np.where(truth, 90 + loop.frames // 3, loop.frames))
    text = Written(size=size, value=value, text="DOE JOHN")
    expect_cut_out(loop, truth, slice(start, start + frames), text)


def test_tissue_that_moves_flashes_no_words() -> None:
    loop, truth = phantom()
    assert flashed_strokes(loop.frames, truth) is None
    rolled = np.stack([np.roll(frame, i % 2, 0) for i, frame in enumerate(loop.frames)])
    assert flashed_strokes(rolled, truth) is None


@pytest.mark.parametrize("at", [(3, 2), (70, 130), (150, 299)])
def test_a_word_is_found_wherever_it_stands(at: tuple[int, int]) -> None:
    frames = np.full((4, 165, 333), 60, np.uint8)
    frames[2, at[0] : at[0] + 9, at[1] : at[1] + 32 : 4] = 200
    found = flashed_strokes(frames, np.ones(frames.shape[1:], bool))
    assert found is not None
    assert (found.bright == (frames[2] == 200)).all()


def test_what_comes_and_goes_all_the_time_is_no_text() -> None:
    frames = np.full((12, 96, 128), 60, np.uint8)
    frames[::2, 40:49, 40:72:4] = 200
    scan = np.ones(frames.shape[1:], bool)
    assert flashed_strokes(frames[:4], scan) is not None
    assert flashed_strokes(frames, scan) is None
