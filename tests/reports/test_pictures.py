"""Loops keep the heart's rate and the picture."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from echocli.reports.pictures import COLOURS, MOST_FRAMES, loop, outlined, timing

GENERATOR = np.random.default_rng(0)


def pictures_in(html: str) -> list[Image.Image]:
    found = re.findall(r"data:image/webp;base64,([^\"]+)", html)
    return [Image.open(io.BytesIO(base64.b64decode(one))) for one in found]


@given(st.integers(2, 400), st.floats(8, 200))
def test_a_loop_lasts_as_long_as_its_frames_whatever_is_left_out(
    count: int, rate_hz: float
) -> None:
    times = np.arange(count) / rate_hz
    chosen, durations = timing(count, times)
    assert chosen[0] == 0
    assert 1 <= len(chosen) <= MOST_FRAMES
    assert len(durations) == len(chosen)
    shown = times[chosen[-1]] - times[0]
    assert sum(durations[:-1]) / 1000 == pytest.approx(shown, abs=0.0005 * len(chosen) + 0.001)


def test_unknown_times_are_shown_at_a_plain_rate() -> None:
    chosen, durations = timing(20, None)
    assert chosen == list(range(20))
    assert set(durations) == {40}


def test_a_loop_moves_and_has_a_still_for_who_wants_no_motion() -> None:
    frames = GENERATOR.integers(0, 255, (9, 32, 32), dtype=np.uint8)
    moving, still = pictures_in(loop(frames, np.arange(9) / 25, "a loop"))
    assert moving.n_frames == 9
    assert getattr(still, "n_frames", 1) == 1
    assert moving.size == (32, 32)


def test_outlines_enclose_their_structure_and_leave_the_rest_alone() -> None:
    frames = np.full((2, 20, 20), 90, np.uint8)
    labels = np.zeros((2, 20, 20), np.uint8)
    labels[0, 5:15, 5:15] = 1
    picture = outlined(frames, labels)
    assert picture.shape == (2, 40, 40, 3)
    assert (picture[1] == 90).all()  # frames do not touch each other
    drawn = (picture[0] == COLOURS[1]).all(axis=-1)
    assert drawn[10, 10:30].all()
    assert drawn[10:30, 10].all()
    assert not drawn[12:28, 12:28].any()
    assert drawn.sum() == 4 * 20 - 4
