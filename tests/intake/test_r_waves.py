from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray

from echocli.intake.dicom import UltrasoundRegion
from echocli.intake.ecg_motion import Track
from echocli.intake.loop import Region
from echocli.intake.pixels import chroma_of, differences, luma_of_rgb
from echocli.intake.r_waves import RWaves, find_r_waves, r_waves_of_header, r_waves_of_track
from echocli.phantoms.cycle import Rhythm, r_peaks_s
from echocli.phantoms.ecg import Box, EcgStyle, draw_ecg

GREEN, CYAN, WHITE = (40, 220, 70), (60, 200, 220), (205, 205, 210)
SCAN = Region(20, 200, 30, 290)
STRIP = Box(x0=20, y0=210, x1=240, y1=236)
PATIENTS = 10


class Shown:
    """A screen with moving speckle and an ECG, and the truth about it."""

    def __init__(self, seed: int, style: EcgStyle, colour: tuple[int, int, int]) -> None:
        rng = np.random.default_rng(seed)
        rate_bpm, self.rate_hz = rng.uniform(45, 110), rng.uniform(20, 60)
        seconds = max(rng.uniform(1, 3), 1.15 * 60 / rate_bpm)
        self.times_s = np.arange(round(seconds * self.rate_hz)) / self.rate_hz
        rhythm = Rhythm(rate_bpm=rate_bpm, start=rng.random(), irregularity=0.05, seed=(seed,))
        peaks = r_peaks_s(rhythm, float(self.times_s[-1]))
        self.truth = peaks[(peaks >= 0) & (peaks <= self.times_s[-1])]
        rgb = np.zeros((len(self.times_s), 240, 320, 3), np.uint8)
        rgb[:, *SCAN.slices] = rng.integers(
            0, 190, (len(rgb), SCAN.height, SCAN.width, 1), np.uint8
        )
        self.strip_s = draw_ecg(rgb, self.times_s, peaks, STRIP, style, colour)
        decoded = [_through_jpeg(frame) for frame in rgb]
        self.frames = np.stack([luma_of_rgb(frame) for frame in decoded])
        planes = [chroma_of(differences(frame)) for frame in decoded]
        self.chroma: NDArray[np.uint8] = np.max(planes, axis=0)

    def read(self, regions: tuple[UltrasoundRegion, ...] = ()) -> RWaves:
        told = SimpleNamespace(r_wave_times_ms=(), regions=regions)
        header: Any = told
        return find_r_waves(header, self.frames, self.chroma, self.times_s, SCAN)


def _through_jpeg(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    encoded = simplejpeg.encode_jpeg(np.ascontiguousarray(frame), 92, colorsubsampling="422")
    decoded: NDArray[np.uint8] = simplejpeg.decode_jpeg(encoded)
    return decoded


@pytest.mark.parametrize(
    ("style", "colour"),
    [("strip", GREEN), ("sweep", GREEN), ("scroll", CYAN), ("strip", WHITE), ("sweep", WHITE)],
)
def test_claimed_beats_are_within_a_frame_of_the_truth(
    style: EcgStyle, colour: tuple[int, int, int]
) -> None:
    beats, hits, readable = 0, 0, 0
    for seed in range(PATIENTS):
        shown = Shown(seed, style, colour)
        waves, source = shown.read()
        if source == "unknown":
            assert waves == ()
            continue
        readable += 1
        beats += len(shown.truth)
        for wave in waves:  # not one beat is invented
            assert np.abs(shown.truth - wave).min() <= 1.1 / shown.rate_hz
        off = [min((abs(wave - beat) for wave in waves), default=9.0) for beat in shown.truth]
        hits += sum(distance <= 1 / shown.rate_hz for distance in off)
    assert readable >= 0.5 * PATIENTS
    assert hits >= 0.9 * beats


def test_without_an_ecg_nothing_is_claimed() -> None:
    for seed in range(PATIENTS):
        assert Shown(seed, "none", GREEN).read() == ((), "unknown")


def test_a_speed_that_contradicts_the_header_is_not_believed() -> None:
    shown = Shown(2, "sweep", GREEN)
    assert shown.read()[1] == "trace"
    told = UltrasoundRegion(
        spatial_format=4,
        data_type=10,
        x0=STRIP.x0,
        y0=STRIP.y0,
        x1=STRIP.x1,
        y1=STRIP.y1,
        units_x=4,
        units_y=0,
        delta_x=shown.strip_s / (STRIP.x1 - STRIP.x0),
        delta_y=0.0,
    )
    with_scale, source = shown.read((told,))
    assert source == "trace"
    assert with_scale == pytest.approx(shown.read()[0], abs=0.02)


def test_a_frozen_trace_tells_no_time() -> None:
    shown = Shown(1, "strip", GREEN)
    shown.frames[:, STRIP.y0 :] = shown.frames[0, STRIP.y0 :]
    assert shown.read() == ((), "unknown")


def track(peaks_s: list[float], height: float = 20.0, width_s: float = 0.02) -> Track:
    times = np.arange(-1.0, 3.0, 0.01)
    bumps = [np.exp(-0.5 * ((times - peak) / width_s) ** 2) for peak in peaks_s]
    up = height * np.sum(bumps, axis=0) if peaks_s else np.zeros_like(times)
    return Track(-1.0, 0.01, up, np.zeros_like(times))


def test_peaks_of_a_trace_are_beats() -> None:
    found = r_waves_of_track(track([-0.5, 0.3, 1.15, 1.95]), 1.5)
    assert found == pytest.approx((0.3, 1.15), abs=0.011)


@pytest.mark.parametrize(
    "doubtful",
    [
        track([]),
        track([0.5]),  # one beat: nothing to compare it with
        track([0.1, 0.2, 0.3, 0.4]),  # 600 a minute
        track([-0.9, 0.1, 0.7, 2.9]),  # one missed
        track([-0.5, 0.3, 1.1], width_s=0.1),  # broad as T waves
        track([-0.5, 0.3, 1.1], height=2.0),  # noise
    ],
)
def test_what_is_doubtful_is_unknown(doubtful: Track) -> None:
    assert r_waves_of_track(doubtful, 3.0) == ()


def test_waves_of_two_heights_are_unknown() -> None:
    high, low = track([-0.5, 1.1]), track([0.3, 1.9], height=9.5)
    mixed = Track(-1.0, 0.01, high.up + low.up, high.down)
    assert r_waves_of_track(mixed, 3.0) == ()


@pytest.mark.parametrize(
    ("told_ms", "expected"),
    [
        ((), ()),
        ((100.0, 900.0, 1700.0), (0.1, 0.9)),
        ((-300.0, 500.0), (0.5,)),
        ((900.0, 100.0), ()),
        ((100.0, 110.0, 120.0), ()),
        ((0.0, 0.0, 0.0), ()),
        ((250.0,), (0.25,)),
    ],
)
def test_the_header_lists_milliseconds(
    told_ms: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    assert r_waves_of_header(told_ms, 1.0) == pytest.approx(expected)


def test_the_header_comes_first_and_needs_times() -> None:
    shown = Shown(0, "strip", GREEN)
    header: Any = SimpleNamespace(r_wave_times_ms=(50.0, 700.0), regions=())
    told = find_r_waves(header, shown.frames, shown.chroma, shown.times_s, SCAN)
    assert told == ((0.05, 0.7), "header")
    assert find_r_waves(header, shown.frames, shown.chroma, None, SCAN) == ((), "unknown")
