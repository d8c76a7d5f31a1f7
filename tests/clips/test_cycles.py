"""Short loops go round at the same phase of the heart, or are stretched, or are left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from micro import micro_clip, write_clips
from numpy.typing import NDArray

from echocli.clips.batches import Batches, Short, describe_left_out, describe_mended
from echocli.clips.contract import DataConfig
from echocli.clips.cycles import Cycle, cycle_of, find_cycle
from echocli.clips.store import ClipSet
from echocli.clips.windows import (
    MOST_STRETCH,
    cyclic_indices,
    stretch,
    stretched_indices,
)
from echocli.datasets.phantom import PhantomConfig, clip_of
from echocli.phantoms.cycle import Rhythm, fullness, r_peaks_s
from echocli.phantoms.patient import draw_patient

RATES = st.sampled_from([20.0, 29.97, 50.0, 61.7])
LONG = DataConfig(frames=16, size=32, seconds=4.0)
"""Longer than any clip here."""


def beating(rhythm: Rhythm, seconds: float, rate_hz: float) -> NDArray[np.uint8]:
    """Return a bright disc as large as the ventricle is full, in noise that never repeats."""
    times_s = np.arange(round(seconds * rate_hz)) / rate_hz
    y, x = np.mgrid[:64, :64] - 32
    radius = 12 + 10 * fullness(rhythm, times_s)[:, None, None]
    noise = np.random.default_rng(1).integers(0, 50, (len(times_s), 64, 64))
    return np.asarray(150 * (np.hypot(y, x) < radius) + noise, dtype=np.uint8)


def phase(rhythm: Rhythm, at_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return beats since the first R wave, whole ones at each."""
    peaks = r_peaks_s(rhythm, float(at_s.max()))
    return np.interp(at_s, peaks, np.arange(len(peaks)))


@given(
    rate_hz=RATES,
    lasts_s=st.floats(0.4, 1.5),
    begin_s=st.floats(0, 0.4),
    start=st.floats(0, 1),
    seconds=st.floats(0.5, 5),
)
def test_every_frame_of_a_cyclic_window_is_at_its_phase(
    rate_hz: float, lasts_s: float, begin_s: float, start: float, seconds: float
) -> None:
    times_s = np.arange(int(2 * rate_hz) + 1) / rate_hz
    data = DataConfig(frames=16, seconds=seconds)
    chosen = cyclic_indices(times_s, data, start, begin_s, begin_s + lasts_s)
    wanted = start * lasts_s + np.arange(16) * seconds / 16
    off = (times_s[chosen] - begin_s - wanted) / lasts_s
    assert np.abs(off - np.round(off)).max() * lasts_s <= 0.5 / rate_hz + 1e-9
    if seconds / 16 > 1 / rate_hz:
        assert (np.diff(chosen) != 0).all(), "nothing stands still"


@given(stride=st.integers(1, 4), begin=st.integers(0, 9), lasts=st.integers(8, 30))
def test_a_stride_goes_round_in_frames(stride: int, begin: int, lasts: int) -> None:
    times_s = np.arange(40) / 30
    data = DataConfig(frames=12, stride=stride)
    chosen = cyclic_indices(times_s, data, 0.0, times_s[begin], times_s[begin + lasts])
    assert chosen.tolist() == [begin + (i * stride) % lasts for i in range(12)]


@settings(max_examples=30)
@given(
    rate_bpm=st.floats(50, 140),
    start=st.floats(0, 1),
    rate_hz=st.sampled_from([30.0, 50.0]),
    beats=st.floats(1.7, 3.2),
)
def test_a_beat_is_found_and_ends_where_it_began(
    rate_bpm: float, start: float, rate_hz: float, beats: float
) -> None:
    rhythm = Rhythm(rate_bpm=rate_bpm, start=start, irregularity=0.0)
    frames = beating(rhythm, beats * 60 / rate_bpm, rate_hz)
    found = find_cycle(frames, np.arange(len(frames)) / rate_hz)
    assert found is not None
    turned = np.diff(phase(rhythm, np.array(found)))[0]
    assert round(turned) >= 1
    assert abs(turned - round(turned)) <= 1.5 / rate_hz / (60 / rate_bpm)


@pytest.mark.parametrize("beats", [0.5, 1.0, 1.3])
def test_less_than_a_beat_and_a_half_is_not_guessed(beats: float) -> None:
    frames = beating(Rhythm(rate_bpm=60, irregularity=0.0), beats, 30.0)
    assert find_cycle(frames, np.arange(len(frames)) / 30) is None


def test_what_does_not_repeat_has_no_beat() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (60, 32, 32), dtype=np.uint8)
    drift = np.repeat(np.arange(60, dtype=np.uint8)[:, None, None], 32, axis=1)
    still = np.zeros((60, 32, 32), dtype=np.uint8)
    times_s = np.arange(60) / 30
    for frames in (noise, drift.repeat(32, axis=2), still, still[:3]):
        assert find_cycle(frames, times_s[: len(frames)]) is None


def test_r_waves_tell_the_beat_before_frames_do(tmp_path: Path) -> None:
    clips = write_clips(
        tmp_path,
        [
            micro_clip(0, r_waves_s=(0.15, 0.61, 1.02)),
            micro_clip(1, r_waves_s=(0.15,), frames=6),
            micro_clip(2, r_waves_s=(0.1, 0.6), times_s=None),
        ],
    )
    assert cycle_of(clips, 0) == Cycle(0.15, 1.02)
    assert cycle_of(clips, 1) is None, "one wave is no beat, and six frames show none"
    assert cycle_of(clips, 2) is None, "waves without times belong to no frames"


@pytest.mark.parametrize("index", [1, 4])
def test_windows_of_a_phantom_keep_its_rhythm(tmp_path: Path, index: int) -> None:
    """Phantoms of 1 to 3 s fill 4 s; their beats are of uneven length, as real ones are."""
    patient = draw_patient(5, index, PhantomConfig(size=32))
    clips = write_clips(tmp_path, [clip_of(patient, 32)])
    batches = Batches(clips, LONG, batch=1, seed=0, short="cycle")
    times_s = clips.times_s(0)
    assert times_s is not None
    step = LONG.span / (LONG.frames - 1) / (60 / patient.rhythm.rate_bpm)
    for start in np.linspace(0, 1, 7):
        chosen = batches.indices(0, start)
        turned = np.diff(phase(patient.rhythm, times_s[chosen])) - step
        assert np.abs(turned - np.round(turned)).max() < 0.15, "of a beat"


def sets(folder: Path) -> ClipSet:
    return write_clips(
        folder,
        [
            micro_clip(0, frames=100),
            micro_clip(1, r_waves_s=(0.15, 1.02)),
            micro_clip(2, frames=50),
            micro_clip(3, frames=10),
            micro_clip(4, times_s=None),
        ],
    )


@pytest.mark.parametrize(
    ("short", "rows", "left_out"),
    [
        ("leave_out", [0], {"too_short": 3, "no_time": 1}),
        ("resample", [0, 2], {"too_short": 2, "no_time": 1}),
    ],
)
def test_what_cannot_fill_a_window_is_counted(
    tmp_path: Path, short: Short, rows: list[int], left_out: dict[str, int]
) -> None:
    batches = Batches(sets(tmp_path), LONG, batch=3, seed=0, short=short)
    assert batches.rows == rows
    assert batches.left_out == left_out
    assert {row for step in range(9) for row, _ in batches.samples(step)} == set(rows)


def test_loops_without_a_beat_are_said(tmp_path: Path) -> None:
    batches = Batches(sets(tmp_path), LONG, batch=3, seed=0, short="cycle")
    assert {0, 1} <= set(batches.rows)
    assert 3 not in batches.rows
    assert batches.left_out["no_beat"] >= 1
    assert "without a whole heart beat" in describe_left_out(batches.left_out)
    assert describe_mended(batches) == [
        f"{len(batches.cycles)} short clip(s) go round in whole heart beats"
    ]


def test_long_clips_are_seen_as_ever(tmp_path: Path) -> None:
    clips = sets(tmp_path)
    plain = Batches(clips, LONG, batch=1, seed=0)
    wishes: list[Short] = ["cycle", "resample"]
    for short in wishes:
        other = Batches(clips, LONG, batch=1, seed=0, short=short)
        np.testing.assert_array_equal(plain.window(0, 0.3), other.window(0, 0.3))


@given(frames=st.integers(2, 60), jitter=st.integers(0, 9), stride=st.booleans())
def test_a_stretched_window_shows_all_of_a_clip_and_nothing_twice(
    frames: int, jitter: int, stride: bool
) -> None:
    more: dict[str, Any] = {"stride": 4} if stride else {"seconds": 2.0}
    data = DataConfig(frames=16, **more)
    uneven = np.random.default_rng(jitter).uniform(0.7, 1.3, frames)
    times_s = np.cumsum(uneven) / 30
    chosen = stretched_indices(None if stride else times_s, frames, data)
    factor = stretch(None if stride else times_s, frames, data)
    assert factor is not None
    if chosen is None:
        assert factor > MOST_STRETCH or frames < 2 * data.frames
        return
    assert (chosen[0], chosen[-1]) == (0, frames - 1)
    assert (np.diff(chosen) > 0).all()
    assert factor <= MOST_STRETCH


def test_stretching_says_how_much_slower_hearts_seem(tmp_path: Path) -> None:
    batches = Batches(sets(tmp_path), LONG, batch=3, seed=0, short="resample")
    assert batches.stretched == {2: pytest.approx(3.75 / 2.45)}
    assert "1.53 to 1.53 times slower" in describe_mended(batches)[0]
