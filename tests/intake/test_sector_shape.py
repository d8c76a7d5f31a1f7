"""The outline is found whatever its shape, its direction and its size."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from echocli.intake.convex import convex_shape
from echocli.intake.fan import Fan, around, best_fan
from echocli.intake.motion import motion_of, running, solid_pieces
from echocli.intake.shape import outline

ROWS, COLUMNS = 240, 320
Mask = NDArray[np.bool_]


def polar(row: float, column: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows, columns = np.indices((ROWS, COLUMNS)).astype(float)
    away = rows - row, columns - column
    return np.arctan2(away[1], away[0]), np.hypot(*away)


def fan(half: float = 0.7, depth: float = 210, first: float = 0, row: float = 12) -> Mask:
    angle, radius = polar(row, COLUMNS / 2)
    return np.asarray((np.abs(angle) < half) & (radius < depth) & (radius >= first))


def shapes() -> dict[str, Mask]:
    rows, columns = np.indices((ROWS, COLUMNS)).astype(float)
    angle, radius = polar(12, COLUMNS / 2)
    return {
        "phased array": fan(),
        "narrow": fan(0.35),
        "steered": (np.abs(angle - 0.15) < 0.5) & (radius < 210),
        "curved array": fan(0.6, depth=300, first=100, row=-80),
        "cut on the left": fan(0.8) & (columns > 70),
        "cut on both sides": fan(0.8) & (columns > 60) & (columns < 250),
        "flat at the top": fan(0.8) & (rows > 50),
        "linear array": (rows > 30) & (rows < 200) & (columns > 60) & (columns < 280),
        "trapezium": (rows > 20) & (rows < 220) & (np.abs(columns - 160) < 52 + 0.4 * rows),
        "larger than the picture": fan(0.75, depth=320, row=-60),
    }


def speckle(inside: Mask, seed: int = 0) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(12, *inside.shape)), (0.5, 1.5, 2.5))
    return np.where(inside, np.clip(90 + noise / noise.std() * 30, 0, 255), 0).astype(np.uint8)


def found_in(frames: NDArray[np.uint8], aspect: float = 1.0) -> Mask:
    motion = motion_of(frames)
    return outline(motion, solid_pieces(motion.small()), aspect)[0].mask


def differing(one: Mask, other: Mask) -> float:
    """Share of the area in which two masks differ."""
    return float((one ^ other).sum() / other.sum())


@pytest.mark.parametrize("name", shapes())
def test_each_shape_is_found_to_two_hundredths(name: str) -> None:
    truth = shapes()[name]
    found = found_in(speckle(truth))
    assert abs(int(found.sum()) - int(truth.sum())) < 0.02 * truth.sum()
    assert differing(found, truth) < 0.025


@pytest.mark.parametrize("name", ["phased array", "steered", "cut on the left"])
def test_a_mirrored_loop_has_a_mirrored_outline(name: str) -> None:
    frames = speckle(shapes()[name])
    found = found_in(frames)
    assert differing(found_in(frames[:, ::-1])[::-1], found) < 0.015
    assert differing(found_in(frames[:, :, ::-1])[:, ::-1], found) < 0.015


def test_a_larger_picture_has_a_larger_outline() -> None:
    frames = speckle(fan())
    large = found_in(frames.repeat(2, axis=1).repeat(2, axis=2))
    assert differing(large[::2, ::2], found_in(frames)) < 0.015


def test_pixels_need_not_be_square() -> None:
    truth = fan()[:, ::2]  # twice as wide as high
    assert differing(found_in(speckle(truth), aspect=2.0), truth) < 0.025


def test_cavities_and_shadows_belong_to_the_fan() -> None:
    truth = fan()
    angle, radius = polar(12, COLUMNS / 2)
    rows, columns = np.indices(truth.shape)
    cavity = np.hypot(rows - 110, columns - 130) < 38
    shadow = (radius > 90) & (np.abs(angle - 0.25) < 0.12)
    assert differing(found_in(speckle(truth & ~cavity & ~shadow)), truth) < 0.02


def test_a_side_in_shadow_is_completed_as_far_as_the_other() -> None:
    truth = fan()
    angle, radius = polar(12, COLUMNS / 2)
    lit = angle > -0.5 + 0.12 * np.sin(radius / 25)
    assert (truth & ~lit).sum() > 0.12 * truth.sum()
    assert differing(found_in(speckle(truth & lit)), truth) < 0.04


def test_the_apex_is_found_from_any_side() -> None:
    truth = Fan(10.0, 60.0, -0.6, 0.8, 12.0, 80.0)
    inside = truth.mask(100, 130)
    rows, columns = (axis.ravel().astype(np.float32) for axis in np.indices(inside.shape))
    gain = inside.ravel() - np.float32(0.3)
    start = Fan(4.0, 68.0)
    score, found = best_fan(gain, rows, columns, start, step=8.0)
    assert score > around(gain, rows, columns, start)[0]
    assert differing(found.mask(100, 130), inside) < 0.03


def test_a_scaled_fan_covers_the_scaled_picture() -> None:
    small = Fan(10.0, 60.0, -0.6, 0.8, 12.0, 80.0)
    large = small.scaled(3).mask(300, 390)
    assert differing(large[1::3, 1::3], small.mask(100, 130)) < 0.01


@pytest.mark.parametrize("width", [1, 3, 7, 17])
def test_running_extremes_are_those_of_scipy(width: int) -> None:
    image = np.random.default_rng(1).integers(0, 255, (23, 31), dtype=np.uint8)
    slow = ndimage.minimum_filter(image, width, mode="nearest")
    np.testing.assert_array_equal(running(np.minimum, image, width), slow)
    line = ndimage.maximum_filter1d(image, width, axis=1, mode="nearest")
    np.testing.assert_array_equal(running(np.maximum, image, width, axes=(1,)), line)


def test_a_convex_shape_holds_its_piece_but_no_thin_bump() -> None:
    rows, columns = np.indices((60, 80))
    disc = np.hypot(rows - 30, columns - 35) < 20
    bump = disc.copy()
    bump[28:32, 54:59] = True
    held = convex_shape(bump, 2, (120, 160), narrowest=6)[::2, ::2]
    assert (held & disc).sum() > 0.95 * disc.sum()
    assert held[:, 57:].sum() < 8
