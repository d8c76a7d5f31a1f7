from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from echocli.statistics.volumes import (
    cavity_volume_mm3,
    ejection_fraction_percent,
    end_frames,
    foreshortened,
    long_axis,
    main_cavity,
    simpson_mm3,
    smooth_curve,
)

PIXELS_MM = (0.15, 0.3, 0.5, 0.8, 1.0, 1.25)


def ventricle(
    length_mm: float,
    radius_mm: float,
    pixel_mm: tuple[float, float],
    angle: float = 0.3,
    atrium: bool = True,
    offset_mm: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """Draw half an ellipsoid (base at its middle) with an atrium below, turned by an angle."""
    rows, columns = int(140 / pixel_mm[0]), int(170 / pixel_mm[1])
    y = (np.arange(rows)[:, None] + 0.5) * pixel_mm[0] - 30 - offset_mm[0]
    x = (np.arange(columns) + 0.5) * pixel_mm[1] - 85 - offset_mm[1]
    along = y * np.cos(angle) + x * np.sin(angle)  # 0 at the apex
    across = -y * np.sin(angle) + x * np.cos(angle)
    half = (along - length_mm) / length_mm
    cavity = (half**2 + (across / radius_mm) ** 2 < 1) & (along < length_mm) & (along > 0)
    labels = cavity.astype(np.uint8)
    if atrium:
        below = (along >= length_mm) & ((along - length_mm) ** 2 + across**2 < 18**2)
        labels[below] = 3
    return labels


def true_volume_mm3(length_mm: float, radius_mm: float) -> float:
    return 2 / 3 * np.pi * length_mm * radius_mm**2  # half an ellipsoid of revolution


@pytest.mark.parametrize("pixel_mm", PIXELS_MM)
@pytest.mark.parametrize("angle", [0.0, 0.3, -0.7])
def test_volume_of_a_known_body_at_any_resolution_and_angle(
    pixel_mm: float, angle: float
) -> None:
    spacing = (pixel_mm, pixel_mm)
    volume, axis = cavity_volume_mm3(ventricle(80, 22, spacing, angle), spacing) or (0, None)
    assert volume == pytest.approx(true_volume_mm3(80, 22), rel=0.04)
    assert axis is not None
    assert axis.from_atrium
    assert axis.length_mm == pytest.approx(80, rel=0.025)


def test_ejection_fraction_moves_less_than_a_point_from_small_to_large_pixels() -> None:
    truth = ejection_fraction_percent(true_volume_mm3(85, 24), true_volume_mm3(70, 17.5))
    for pixel_mm in PIXELS_MM:
        spacing = (pixel_mm, pixel_mm)
        found = []
        for shift in ((0.0, 0.0), (0.37, 0.61), (0.83, 0.22)):  # where the grid happens to lie
            ed = cavity_volume_mm3(ventricle(85, 24, spacing, offset_mm=shift), spacing)
            es = cavity_volume_mm3(ventricle(70, 17.5, spacing, offset_mm=shift), spacing)
            assert ed is not None
            assert es is not None
            found.append(ejection_fraction_percent(ed[0], es[0]))
        assert np.mean(found) == pytest.approx(truth, abs=0.6), pixel_mm
        assert max(abs(ef - truth) for ef in found) < 1.0, pixel_mm


def test_pixels_that_are_not_square_give_the_same_volume() -> None:
    square, _ = cavity_volume_mm3(ventricle(80, 22, (0.5, 0.5)), (0.5, 0.5)) or (0, None)
    tall, _ = cavity_volume_mm3(ventricle(80, 22, (1.2, 0.4)), (1.2, 0.4)) or (0, None)
    assert tall == pytest.approx(square, rel=0.03)


def test_without_an_atrium_the_axis_is_the_longest_direction() -> None:
    labels = ventricle(80, 22, (0.5, 0.5), atrium=False)
    volume, axis = cavity_volume_mm3(labels, (0.5, 0.5)) or (0, None)
    assert axis is not None
    assert not axis.from_atrium
    assert abs(np.dot(axis.direction, (np.cos(0.3), np.sin(0.3)))) > 0.999
    assert volume == pytest.approx(true_volume_mm3(80, 22), rel=0.04)


def test_length_from_the_atrium_is_the_farthest_distance_from_the_mitral_plane() -> None:
    labels = ventricle(60, 25, (1.0, 1.0))
    axis = long_axis(labels == 1, (1.0, 1.0), labels == 3)
    points = np.argwhere(labels == 1)
    assert axis.length_mm == pytest.approx(60, abs=1.5)
    assert axis.length_mm <= pdist(points).max() + 2


def test_discs_equal_a_slow_sum_over_finely_cut_pixels() -> None:
    labels = ventricle(60, 20, (1.0, 1.0))
    cavity = labels == 1
    axis = long_axis(cavity, (1.0, 1.0), labels == 3)
    height = axis.length_mm / 20
    slabs = [0.0] * 20
    for row, column in np.argwhere(cavity):
        for i in range(11):
            for j in range(11):
                y, x = row + (i + 0.5) / 11 - 0.5, column + (j + 0.5) / 11 - 0.5
                at = y * axis.direction[0] + x * axis.direction[1] - axis.start_mm
                slabs[min(19, max(0, int(at // height)))] += 1 / 121
    slow = sum(np.pi / 4 * (slab / height) ** 2 * height for slab in slabs)
    assert simpson_mm3(cavity, axis) == pytest.approx(slow, rel=2e-3)


def test_a_view_a_fifth_shorter_than_the_longest_is_foreshortened() -> None:
    lengths = np.array([90.0, 71.9, 72.1, np.nan])
    assert foreshortened(lengths).tolist() == [False, True, False, False]
    assert not foreshortened(np.full(3, np.nan)).any()


def test_strays_are_left_out_and_holes_filled() -> None:
    clean = ventricle(80, 22, (1.0, 1.0))
    dirty = clean.copy()
    dirty[2:4, 2:4] = 1
    dirty[60:62, 40:42] = np.where(dirty[60:62, 40:42] == 1, 0, dirty[60:62, 40:42])
    np.testing.assert_array_equal(main_cavity(dirty), clean == 1)
    assert not main_cavity(np.zeros((5, 5), np.uint8)).any()


def test_no_cavity_has_no_volume_and_one_pixel_does_not_fail() -> None:
    assert cavity_volume_mm3(np.zeros((8, 8), np.uint8)) is None
    with pytest.raises(ValueError, match="empty"):
        long_axis(np.zeros((8, 8), bool))
    one = np.zeros((8, 8), np.uint8)
    one[4, 4] = 1
    volume, axis = cavity_volume_mm3(one) or (0, None)
    assert axis is not None
    assert volume == pytest.approx(np.pi / 4, rel=0.01)
    one[5, 3:6] = 3
    assert cavity_volume_mm3(one) is not None


def heart_curve(times_s: np.ndarray, ef_percent: float, rate_hz: float = 1.25) -> np.ndarray:
    """A volume curve with a long filling and a short emptying, 75 beats a minute."""
    phase = times_s * rate_hz % 1
    emptying = (1 - np.cos(np.pi * np.minimum(phase / 0.4, 1))) / 2
    filling = (1 - np.cos(np.pi * np.clip((phase - 0.4) / 0.5, 0, 1))) / 2
    return 120 * (1 - ef_percent / 100 * (emptying - filling))


@pytest.mark.parametrize("frame_rate_hz", [25, 50, 80])
def test_smoothing_costs_a_clean_curve_less_than_a_point(frame_rate_hz: float) -> None:
    times_s = np.arange(0, 2, 1 / frame_rate_hz)
    smooth = smooth_curve(heart_curve(times_s, 60), times_s)
    ed, es = end_frames(smooth)
    assert ejection_fraction_percent(smooth[ed], smooth[es]) == pytest.approx(60, abs=0.6)
    assert times_s[es] % 0.8 == pytest.approx(0.32, abs=0.045)


def test_smoothing_takes_out_most_of_what_flicker_adds() -> None:
    generator = np.random.default_rng(0)
    times_s = np.arange(0, 2, 0.02)
    raw, smoothed = [], []
    for _ in range(100):
        noisy = heart_curve(times_s, 50) * (1 + generator.normal(0, 0.08, len(times_s)))
        raw.append(100 * (1 - noisy.min() / noisy.max()))
        smooth = smooth_curve(noisy, times_s)
        smoothed.append(100 * (1 - smooth.min() / smooth.max()))
    assert np.mean(raw) - 50 > 10
    assert abs(np.mean(smoothed) - 50) < 5


def test_smoothing_knows_gaps_uneven_times_and_single_bad_masks() -> None:
    times_s = np.sort(np.random.default_rng(1).uniform(0, 2, 120))
    curve = heart_curve(times_s, 60)
    bad = curve.copy()
    bad[30], bad[70], bad[50] = 500.0, 1.0, np.nan
    smooth = smooth_curve(bad, times_s)
    assert np.isnan(smooth[50])
    assert np.isfinite(np.delete(smooth, 50)).all()
    np.testing.assert_allclose(np.delete(smooth, 50), np.delete(curve, 50), atol=12)
    np.testing.assert_allclose(smooth_curve(np.full(9, 7.0), None), 7)
    assert np.isnan(smooth_curve(np.full(4, np.nan), None)).all()


def test_end_frames_are_the_extremes_of_what_is_known() -> None:
    curve = 100 + 30 * np.cos(np.linspace(0, 2 * np.pi, 25))
    curve[0] = np.nan
    assert end_frames(curve) == (24, 12)
    with pytest.raises(ValueError, match="volume"):
        end_frames(np.full(5, np.nan))
