import numpy as np
import pytest
from numpy.typing import NDArray

from echocli.intake.looks import COLOUR_SHARE, glance_at, is_static, sample_frames
from echocli.intake.loop import Region


def speckle(rows: int = 240, columns: int = 320) -> NDArray[np.uint8]:
    return np.random.default_rng(7).integers(0, 200, (rows, columns), dtype=np.uint8)


def tinted(grey: NDArray[np.uint8]) -> NDArray[np.int16]:
    """R-G and B-G of a strong sepia map."""
    red = np.minimum(grey * 1.4, 255)
    blue = grey * 0.5
    return np.stack([red - grey, blue - grey]).astype(np.int16)


def test_a_tint_is_no_doppler_however_strong() -> None:
    grey = speckle()
    difference = tinted(grey)
    assert np.abs(difference).max() > 90
    assert glance_at(grey, difference, None).share == 0


def test_flow_is_seen_on_a_tint_and_at_half_the_size() -> None:
    grey = speckle()
    difference = tinted(grey)
    difference[:, 100:140, 100:140] = [[[150]], [[-20]]]
    found = glance_at(grey, difference, None).share
    assert found == pytest.approx(1600 / grey.size, rel=0.25)
    assert found > COLOUR_SHARE
    half = glance_at(grey, difference[:, ::2, ::2], None).share
    assert half == pytest.approx(found, rel=0.25)


def test_lines_and_colour_outside_the_region_do_not_count() -> None:
    grey = speckle()
    difference = np.zeros((2, *grey.shape), dtype=np.int16)
    difference[:, 200:203, :] = 120  # an ECG trace
    difference[:, :, 150:152] = 120  # the edge of a box
    difference[:, :60, :40] = 120  # a colour bar
    region = Region(61, 240, 41, 320)
    assert glance_at(grey, difference, region).share < COLOUR_SHARE
    assert glance_at(grey, difference, None).share > COLOUR_SHARE


def test_a_frozen_loop_is_static_even_with_compression_noise() -> None:
    noise = np.random.default_rng(3).integers(-4, 5, (20, 240, 320))
    frozen = np.clip(speckle()[None] // 2 + 30 + noise, 0, 255).astype(np.uint8)
    assert is_static(frozen, None)
    moving = frozen.copy()
    moving[10:, 100:160, 100:160] += 40
    assert not is_static(moving, None)
    assert is_static(moving, Region(0, 90, 0, 320))


def test_samples_span_the_loop() -> None:
    for frames in (1, 2, 12, 13, 500):
        chosen = sample_frames(frames)
        assert chosen[0] == 0
        assert chosen[-1] == frames - 1
        assert len(set(chosen.tolist())) == len(chosen) == min(frames, 12)
