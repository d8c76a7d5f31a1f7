"""Films of segmented clips."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from made_hearts import FRAMES, ventricle

from echocli.api._segment.files import Drawn, write_mp4
from echocli.api._segment.film import INK, STRIP, film_pictures
from echocli.api._segment.overlay import COLOURS, overlay

TIMES = np.r_[0, np.cumsum(np.random.default_rng(3).uniform(0.02, 0.06, FRAMES - 1))]


def drawn(times: np.ndarray | None = TIMES) -> Drawn:
    frames, masks, _ = ventricle(3, 32)
    return Drawn(
        clip_id="clip3",
        frames=frames,
        labels=masks,
        spacing_mm=None,
        times_s=times,
        curve=(masks == 1).sum(axis=(1, 2)).astype(float),
        marks={0: "ED", 7: "ES"},
    )


def pictures(one: Drawn) -> np.ndarray:
    assert one.times_s is not None
    shown = film_pictures(one.frames, one.labels, one.times_s, one.curve, one.marks)
    return np.stack(list(shown))


def test_a_film_runs_at_the_clips_own_times(tmp_path: Path) -> None:
    write_mp4(tmp_path, drawn())
    with av.open(str(tmp_path / "clip3.mp4")) as container:
        found = [(f.time, f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]
    np.testing.assert_allclose([time for time, _ in found], TIMES, atol=1e-6)
    seen = np.stack([picture for _, picture in found]).astype(int)
    expected = pictures(drawn())
    assert np.abs(seen[:, : expected.shape[1]] - expected).mean() < 4
    write_mp4(tmp_path / "none", drawn(times=None))  # nobody knows how fast it would run
    assert not (tmp_path / "none").exists()


def test_outlines_marks_and_the_moving_line_are_drawn() -> None:
    one = drawn()
    shown = pictures(one)
    height = shown.shape[1] - STRIP
    for index in (3, 10):  # frames without a mark are the overlay itself
        plain = overlay(one.frames[index], one.labels[index])
        np.testing.assert_array_equal(shown[index, :height], plain)
    framed = [(picture[0, : shown.shape[2]] == INK).all() for picture in shown]
    assert [index for index, is_framed in enumerate(framed) if is_framed] == [0, 7]
    cursors = [np.flatnonzero((picture[-3] == INK).all(axis=-1)).mean() for picture in shown]
    steps = np.diff(cursors) / np.diff(TIMES)
    assert steps.min() > 0
    np.testing.assert_allclose(steps, steps.mean(), rtol=0.15)  # as fast as time
    # Before the moving line hides it, the curve is as high as the cavity is large.
    amber = (shown[0, height:] == COLOURS[1]).all(axis=-1)
    at = [round(cursor) for cursor in cursors[1:]]
    heights = [STRIP - np.argmax(amber[:, column]) for column in at]
    assert np.corrcoef(heights, one.curve[1:])[0, 1] > 0.99


def test_a_clip_without_a_cavity_has_a_film_without_a_curve() -> None:
    one = drawn()
    shown = list(film_pictures(one.frames, one.labels * 0, TIMES, one.curve * np.nan, {}))
    assert len(shown) == FRAMES
    assert not (np.stack(shown) == COLOURS[1]).all(axis=-1).any()
