"""Two planes of a body whose volume is known."""

from __future__ import annotations

import numpy as np
import pytest

from echocli.statistics.biplane import Discs, biplane_volume, biplane_volumes, discs_of
from echocli.statistics.volumes import (
    ATRIUM,
    CAVITY,
    cavity_volume_mm3,
    disc_diameters_mm,
    ejection_fraction_percent,
    long_axis,
    main_cavity,
    simpson_mm3,
    slant_degrees,
)

PIXELS_MM = (0.15, 0.5, 1.25)


def plane(
    length_mm: float,
    radius_mm: float,
    pixel_mm: float,
    *,
    angle: float = 0.2,
    slant_degrees: float = 0.0,
    atrium: bool = True,
) -> np.ndarray:
    """Draw half an ellipse with its base down, and the atrium below a base that may slant."""
    y = (np.arange(int(140 / pixel_mm))[:, None] + 0.5) * pixel_mm - 25
    x = (np.arange(int(160 / pixel_mm)) + 0.5) * pixel_mm - 80
    along = y * np.cos(angle) + x * np.sin(angle)  # 0 at the apex
    across = -y * np.sin(angle) + x * np.cos(angle)
    inside = ((along - length_mm) / length_mm) ** 2 + (across / radius_mm) ** 2 < 1
    base = length_mm + np.tan(np.radians(slant_degrees)) * across
    labels = (inside & (along < base)).astype(np.uint8)
    if atrium:
        labels[(along >= base) & ((along - length_mm) ** 2 + across**2 < 16**2)] = ATRIUM
    return labels


def discs(labels: np.ndarray, pixel_mm: float) -> Discs:
    spacing = (pixel_mm, pixel_mm)
    cavity = main_cavity(labels)
    axis = long_axis(cavity, spacing, labels == ATRIUM)
    return discs_of(labels[None], [axis], 0, None, spacing)


def oval_mm3(length_mm: float, one_mm: float, other_mm: float) -> float:
    return 2 / 3 * np.pi * length_mm * one_mm * other_mm  # half an ellipsoid


@pytest.mark.parametrize("pixel_mm", PIXELS_MM)
def test_an_oval_body_is_measured_by_two_planes_and_not_by_one(pixel_mm: float) -> None:
    a, b = plane(82, 26, pixel_mm), plane(82, 17, pixel_mm, angle=-0.3)
    truth = oval_mm3(82, 26, 17)
    assert biplane_volume(discs(a, pixel_mm), discs(b, pixel_mm)) == pytest.approx(
        truth, rel=0.04
    )
    alone, _ = cavity_volume_mm3(a, (pixel_mm, pixel_mm)) or (0, None)
    assert alone > 1.4 * truth


@pytest.mark.parametrize("one_scale", [True, False])
def test_the_ejection_fraction_stays_within_a_point_of_the_truth(one_scale: bool) -> None:
    truth = ejection_fraction_percent(oval_mm3(86, 26, 20), oval_mm3(72, 19, 12))
    for pixel_mm in PIXELS_MM:
        a = (discs(plane(86, 26, pixel_mm), pixel_mm), discs(plane(72, 19, pixel_mm), pixel_mm))
        # Of unknown scale, the other view may have pixels of another size.
        zoom = 1.0 if one_scale else 1.7
        b = (
            discs(plane(86, 20, pixel_mm, angle=-0.1), zoom * pixel_mm),
            discs(plane(72, 12, pixel_mm, angle=-0.1), zoom * pixel_mm),
        )
        found = ejection_fraction_percent(*biplane_volumes(a, b, one_scale=one_scale))
        assert found == pytest.approx(truth, abs=1.0), pixel_mm


def test_the_longer_view_gives_the_length_and_discs_are_paired_in_order() -> None:
    generator = np.random.default_rng(0)
    one = Discs(generator.uniform(10, 40, 20), 80.0)
    two = Discs(generator.uniform(10, 40, 20), 90.0)
    slow = sum(
        np.pi * (one.diameters[i] / 2) * (two.diameters[i] / 2) * 90.0 / 20 for i in range(20)
    )
    assert biplane_volume(one, two) == biplane_volume(two, one) == pytest.approx(slow)
    round_one = Discs(one.diameters, 80.0)
    cavity = plane(80, 24, 0.5) == CAVITY
    axis = long_axis(cavity, (0.5, 0.5))
    diameters = disc_diameters_mm(cavity, axis, (0.5, 0.5))
    same = Discs(diameters, axis.length_mm)
    assert biplane_volume(same, same) == pytest.approx(simpson_mm3(cavity, axis, (0.5, 0.5)))
    assert biplane_volume(round_one, round_one) > 0


def test_without_an_atrium_the_apex_is_up_whichever_way_the_axis_came_out() -> None:
    with_atrium = discs(plane(82, 24, 0.5), 0.5)
    for angle in (0.2, -0.2):
        bare = discs(plane(82, 24, 0.5, angle=angle, atrium=False), 0.5)
        # Wide at the base, which comes first.
        assert bare.diameters[2] > 1.5 * bare.diameters[-3]
        np.testing.assert_allclose(bare.diameters, with_atrium.diameters, atol=2.5)


def test_a_single_bad_mask_hardly_moves_the_discs() -> None:
    good = plane(82, 24, 1.0)
    frames = np.stack([good] * 9)
    frames[4] = plane(82, 30, 1.0)
    cavities = [main_cavity(frame) for frame in frames]
    axes = [
        long_axis(cavity, (1.0, 1.0), frame == ATRIUM)
        for cavity, frame in zip(cavities, frames, strict=True)
    ]
    times = np.arange(9) * 0.02
    clean = discs(good, 1.0)
    found = discs_of(frames, [*axes], 4, times)
    np.testing.assert_allclose(found.diameters, clean.diameters, atol=1e-6)
    gap = discs_of(frames, [None, *axes[1:]], 1, times)
    assert np.isfinite(gap.diameters).all()
    alone = discs_of(frames[4:5], axes[4:5], 0, None)
    assert alone.diameters.max() > 1.2 * clean.diameters.max()


@pytest.mark.parametrize("slant", [0.0, 5.0, 15.0, -15.0])
def test_a_slanted_base_is_seen(slant: float) -> None:
    labels = plane(82, 24, 0.4, slant_degrees=slant)
    cavity = main_cavity(labels)
    axis = long_axis(cavity, (0.4, 0.4), labels == ATRIUM)
    # The axis ends in the farthest point, which moves a little with the base.
    found = slant_degrees(cavity, labels == ATRIUM, axis, (0.4, 0.4))
    assert found == pytest.approx(abs(slant), abs=2.5)
    assert slant_degrees(cavity, np.zeros_like(cavity), axis) is None
