from __future__ import annotations

import numpy as np
import pytest

from echocli.phantoms.anatomy import Akinesia, Deformation, Heart, View, contracting
from echocli.phantoms.cycle import Rhythm, fullness, opening, r_peaks_s
from echocli.phantoms.patient import PhantomConfig, draw_patient

STIFF = Akinesia(view="A4C", side="left", level=0.4, extent=0.2)
HEARTS = [
    contracting(Heart(), 62.0),
    contracting(Heart(radius_mm=31.0, wall_mm=8.0), 31.0),
    contracting(Heart(akinesia=STIFF, equator=0.75), 38.0),
]


@pytest.mark.parametrize("heart", HEARTS)
@pytest.mark.parametrize("view", ["A4C", "A2C"])
@pytest.mark.parametrize("contraction", [0.0, 0.45, 1.0])
def test_volume_is_the_sum_of_the_discs_that_are_drawn(
    heart: Heart, view: View, contraction: float
) -> None:
    """Oracle: add up the discs of the picture's own edges, one after the other."""
    shape = Deformation(heart, view)
    thickening = shape.thickening(contraction)
    left, _ = shape.widths(contraction, thickening, "left")
    right, _ = shape.widths(contraction, thickening, "right")
    axis = shape.axis(contraction, thickening)
    stretch = (axis[2] - axis[1]) / heart.length_mm
    total = 0.0
    step = shape.levels[1]
    for k in np.flatnonzero(shape.levels < shape.annulus_mm):
        total += np.pi / 4 * (left[k] + right[k]) ** 2 * step * stretch / 1000
    assert total == pytest.approx(float(heart.volume_ml(contraction)), rel=0.01)


@pytest.mark.parametrize("ef", [15.0, 41.5, 70.0])
def test_a_heart_gets_exactly_the_ef_that_was_asked_for(ef: float) -> None:
    heart = contracting(Heart(), ef)
    assert heart.ef_percent == pytest.approx(ef, abs=1e-9)
    assert heart.ef_percent == pytest.approx(100 * (1 - heart.esv_ml / heart.edv_ml))


def test_an_ef_out_of_reach_is_refused() -> None:
    with pytest.raises(ValueError, match="out of this heart's reach"):
        contracting(Heart(), 97.0)


def test_contraction_gives_back_the_volume_curve() -> None:
    heart = HEARTS[2]
    full = np.linspace(0, 1, 23)
    volumes = heart.volume_ml(heart.contraction(full))
    wanted = heart.esv_ml + full * (heart.edv_ml - heart.esv_ml)
    np.testing.assert_allclose(volumes, wanted, rtol=1e-4)


@pytest.mark.parametrize("heart", HEARTS)
def test_the_wall_thickens_and_keeps_its_volume(heart: Heart) -> None:
    shape = Deformation(heart, "A4C")
    rest = shape.wall_ml(0.0, 0.0)
    thickness = [shape.thickening(c) for c in (0.0, 0.3, 0.7, 1.0)]
    assert np.all(np.diff(thickness) > 0)
    for c, thickening in zip((0.0, 0.3, 0.7, 1.0), thickness, strict=True):
        assert shape.wall_ml(c, thickening) == pytest.approx(rest, rel=0.005)


def test_an_akinetic_wall_stands_still_in_its_view_only() -> None:
    heart = HEARTS[2]
    shape = Deformation(heart, "A4C")
    level = np.searchsorted(shape.levels, heart.apex_wall_mm + 0.4 * heart.length_mm)
    moved = shape.rest[:, level, 0] - shape.knots(1.0)[:, level, 0]
    assert moved[0] < 0.15 * moved[1]
    other = Deformation(heart, "A2C")
    moved = other.rest[:, level, 0] - other.knots(1.0)[:, level, 0]
    assert moved[0] == pytest.approx(moved[1])


def test_tissue_maps_to_itself_at_rest_and_borders_to_borders() -> None:
    shape = Deformation(HEARTS[0], "A4C")
    rng = np.random.default_rng(0)
    across = rng.uniform(-100, 100, 5000).astype(np.float32)
    depth = rng.uniform(-40, 180, 5000).astype(np.float32)
    x, d = shape.to_rest(across, depth, 0.0)
    np.testing.assert_allclose(x, across, atol=1e-3)
    np.testing.assert_allclose(d, depth, atol=1e-3)

    c, rows = 0.8, np.arange(150, 600, 25)
    axis = shape.axis(c, shape.thickening(c))
    now = np.interp(shape.levels[rows] + 1e-3, shape.axis(0, 0), axis).astype(np.float32)
    for knot in (0, 1):
        edge = shape.knots(c)[1, rows, knot].astype(np.float32)
        mapped, level = shape.to_rest(edge, now, c)
        np.testing.assert_allclose(mapped, shape.rest[1, rows, knot], atol=0.15)
        np.testing.assert_allclose(level, shape.levels[rows], atol=0.15)


@pytest.mark.parametrize("rate", [45.0, 75.0, 110.0, 170.0])
def test_the_ventricle_empties_and_fills_once_a_beat(rate: float) -> None:
    rhythm = Rhythm(rate_bpm=rate, irregularity=0.0)
    period = 60.0 / rate
    times = np.arange(0, 3 * period, 0.002)
    full = fullness(rhythm, times)
    assert full.min() == pytest.approx(0.0, abs=1e-6)
    assert full.max() == pytest.approx(1.0, abs=1e-6)
    assert np.abs(np.diff(full)).max() < 0.06
    peaks = r_peaks_s(rhythm, float(times[-1]))
    np.testing.assert_allclose(fullness(rhythm, peaks[:3]), 1.0, atol=1e-6)
    falls = times[:-1][np.diff(full) < -1e-6]
    assert (np.mod(falls + 0.001, period) < 0.413 - 0.0017 * min(rate, 140) + 0.002).all()
    systole = np.abs(np.mod(times, period) - 0.15 * period) < 0.09 * period
    assert opening(rhythm, times)[systole].max() < 0.05
    assert opening(rhythm, times).max() > 0.5


def test_hard_patients_size_says_nothing_about_their_ef() -> None:
    patients = [draw_patient(1, k) for k in range(300)]
    ef = np.array([p.heart.ef_percent for p in patients])
    edv = np.array([p.heart.edv_ml for p in patients])
    rate = np.array([p.rhythm.rate_bpm for p in patients])
    alike = np.array([p.abnormality != "dilation" for p in patients])
    assert abs(np.corrcoef(ef[alike], edv[alike])[0, 1]) < 0.2
    assert abs(np.corrcoef(ef, rate)[0, 1]) < 0.2
    kinds = {p.abnormality for p in patients}
    assert kinds == {"none", "low_ef", "akinesia", "dilation"}
    large = [p.heart.edv_ml for p in patients if p.abnormality == "dilation"]
    assert np.mean(large) > 1.4 * edv[alike].mean()


def test_easy_patients_size_gives_their_ef_away() -> None:
    config = PhantomConfig(difficulty="easy")
    patients = [draw_patient(1, k, config) for k in range(60)]
    ef = [p.heart.ef_percent for p in patients]
    edv = [p.heart.edv_ml for p in patients]
    assert np.corrcoef(ef, edv)[0, 1] < -0.95
    assert len({p.scanner.gain_db for p in patients}) == 1


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="normal_share"):
        PhantomConfig(normal_share=1.2)
    with pytest.raises(ValueError, match="seconds"):
        PhantomConfig(seconds=(2.0, 1.0))
    with pytest.raises(ValueError, match="frame_rates_hz"):
        PhantomConfig(frame_rates_hz=(0.0, 50.0))
