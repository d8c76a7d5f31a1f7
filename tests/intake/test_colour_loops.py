"""Phantom loops under grey maps of every tint, and under colour of every kind."""

import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray
from scipy import ndimage

from echocli.intake.looks import Glance, glance_at, is_colour_doppler
from echocli.intake.pixels import differences, luma_of_rgb
from echocli.phantoms.patient import PhantomConfig, PhantomLoop, draw_patient, render

Floats = NDArray[np.float64]
LEVEL = np.arange(256) / 255
TINTS: dict[str, tuple[Floats, Floats, Floats]] = {
    "grey": (LEVEL, LEVEL, LEVEL),
    "sepia": (LEVEL**0.7, LEVEL, LEVEL**1.6),
    "strong sepia": (LEVEL * 1.4, LEVEL, LEVEL * 0.5),
    "blue": (LEVEL * 0.7, LEVEL * 0.85, LEVEL**0.7 * 1.1),
    "ice": (LEVEL**1.5, LEVEL, LEVEL**0.6),
    "amber": (LEVEL**0.6, LEVEL**0.9, LEVEL * 0.2),
    "magenta": (LEVEL**0.8, LEVEL * 0.6, LEVEL**0.8),
    "green": (LEVEL * 0.5, LEVEL**0.8, LEVEL * 0.5),
    "temperature": (LEVEL * 3, LEVEL * 3 - 1, LEVEL * 3 - 2),
}
FLOWS = [  # kind, share of the sector that its box covers, brightness
    ("flow", 0.1, 1.0),
    ("flow", 0.02, 1.0),  # a small box
    ("flow", 0.1, 0.35),  # slow: dark red, dark blue
    ("turbulent", 0.03, 1.0),
    ("power", 0.1, 1.0),
    ("tissue", 1.0, 1.0),  # all over the sector
    ("tissue", 1.0, 0.6),
    ("tissue", 0.2, 1.0),
]


@pytest.fixture(scope="module")
def loop() -> PhantomLoop:
    patient = draw_patient(7, 0, PhantomConfig(seconds=(1.0, 1.1), frame_rates_hz=(12.0, 13.0)))
    return render(patient, height=220, width=300)


def tinted(grey: NDArray[np.uint8], tint: str) -> Floats:
    return np.stack([np.clip(curve, 0, 1)[grey] * 255 for curve in TINTS[tint]], axis=-1)


def coloured(
    rgb: Floats, grey: NDArray[np.uint8], box: NDArray[np.bool_], kind: str, beat: float
) -> None:
    """Lay colour over a frame, in place."""
    field = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal(grey.shape), 5)
    speed = field / field.std() * np.cos(2 * np.pi * beat) + 0.6 * np.sin(2 * np.pi * beat)
    bright = np.clip(np.abs(speed) / 1.5, 0.35, 1) * 255
    none = np.zeros_like(bright)
    blood = box & (grey < 90)
    if kind == "flow":
        where, red, green, blue = blood & (np.abs(speed) > 0.3), bright, bright / 4, none
        toward = speed > 0
    elif kind == "turbulent":
        grain = np.random.default_rng(int(beat * 100)).random(grey.shape)
        where, red, green, blue = blood, none + 255, none + 240, none
        toward = ndimage.uniform_filter(grain, 5) > 0.5
    elif kind == "power":
        where, red, green, blue = blood, bright, bright / 2, bright / 10
        toward = np.ones_like(box)
    else:
        lit = 60 + 0.7 * grey
        where, red, green, blue = box & (grey > 25), lit, 0.45 * lit, none
        toward = np.cos(2 * np.pi * beat) + 0.3 * field / field.std() > 0
    colours = np.stack([np.where(toward, red, blue), green, np.where(toward, blue, red)], -1)
    rgb[where] = colours[where]


def glances(
    loop: PhantomLoop, tint: str, flow: tuple[str, float, float] | None = None
) -> list[Glance]:
    rows, columns = np.mgrid[: loop.frames.shape[1], : loop.frames.shape[2]]
    found = []
    for number, grey in enumerate(loop.frames):
        rgb = tinted(grey, tint)
        if flow:
            kind, share, brightness = flow
            reach = np.sqrt(share * loop.sector.sum()) / 2 if share < 1 else 999
            near = np.maximum(abs(rows - 110), abs(columns - 150)) < reach
            over = rgb / brightness
            coloured(over, grey, near & loop.sector, kind, number / len(loop.frames))
            rgb = over * brightness
        frame = rgb.clip(0, 255).astype(np.uint8)
        frame = simplejpeg.decode_jpeg(
            simplejpeg.encode_jpeg(frame, 85, colorsubsampling="422")
        )
        found.append(glance_at(luma_of_rgb(frame), differences(frame), None))
    return found


@pytest.mark.parametrize("tint", TINTS)
def test_tinted_grey_is_no_doppler(loop: PhantomLoop, tint: str) -> None:
    assert not is_colour_doppler(glances(loop, tint))


@pytest.mark.parametrize("tint", ["grey", "strong sepia", "blue"])
@pytest.mark.parametrize("flow", FLOWS)
def test_doppler_is_seen_on_any_map(
    loop: PhantomLoop, tint: str, flow: tuple[str, float, float]
) -> None:
    assert is_colour_doppler(glances(loop, tint, flow))


def test_a_loop_without_colour_planes_is_grey() -> None:
    assert not is_colour_doppler([])
