from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, gaussian_filter

from echocli.phantoms.anatomy import Deformation
from echocli.phantoms.image import Renderer
from echocli.phantoms.patient import Patient, PhantomConfig, PhantomLoop, draw_patient, render
from echocli.phantoms.scanner import Scanner, SectorGrid, to_heart
from echocli.phantoms.tracing import chords
from echocli.statistics.volumes import cavity_volume_mm3, ejection_fraction_percent

Loops = list[tuple[Patient, PhantomLoop]]
SHORT = PhantomConfig(seconds=(1.0, 1.1), views=("A4C", "A2C"), frame_rates_hz=(24.0, 32.0))


@pytest.fixture(scope="module")
def loops() -> Loops:
    patients = [draw_patient(2, k, SHORT) for k in range(8)]
    return [(p, render(p, height=128, width=128)) for p in patients]


def test_nothing_lies_outside_the_sector(loops: Loops) -> None:
    for _, loop in loops:
        assert loop.frames[:, ~loop.sector].max() == 0
        assert loop.masks[:, ~loop.sector].max() == 0
        assert 0.2 < loop.sector.mean() < 0.8
        assert loop.frames[:, loop.sector].mean() > 10


def test_the_masks_give_the_true_ef_by_simpsons_rule(loops: Loops) -> None:
    for _, loop in loops:
        found = [
            cavity_volume_mm3(loop.masks[k], loop.spacing_mm)
            for k in (loop.ed_frame, loop.es_frame)
        ]
        ed, es = (volume for volume, _ in found)
        assert ejection_fraction_percent(ed, es) == pytest.approx(loop.ef_percent, abs=5.0)
        assert ed / 1000 == pytest.approx(loop.edv_ml, rel=0.12)


def test_end_diastole_has_the_largest_cavity_and_the_smallest_atrium(loops: Loops) -> None:
    for _, loop in loops:
        cavity = (loop.masks == 1).sum((1, 2))
        assert cavity[loop.ed_frame] >= 0.99 * cavity.max()
        assert cavity[loop.es_frame] <= 1.02 * cavity.min()
        assert loop.volumes_ml[loop.ed_frame] == loop.volumes_ml.max()
        assert loop.volumes_ml[loop.ed_frame] == pytest.approx(loop.edv_ml, rel=0.02)
        assert loop.volumes_ml[loop.es_frame] == pytest.approx(loop.esv_ml, rel=0.03)
        assert (np.unique(loop.masks) <= 3).all()


def test_the_cavity_is_dark_and_the_wall_bright(loops: Loops) -> None:
    for patient, loop in loops:
        if patient.scanner.shadows:
            continue
        frame, mask = loop.frames[loop.ed_frame], loop.masks[loop.ed_frame]
        assert frame[mask == 2].mean() > 1.5 * frame[mask == 1].mean()


def test_same_seed_same_loop_and_other_patients_differ(loops: Loops) -> None:
    patient, loop = loops[0]
    again = render(draw_patient(2, 0, SHORT), height=128, width=128)
    np.testing.assert_array_equal(again.frames, loop.frames)
    np.testing.assert_array_equal(again.masks, loop.masks)
    assert again.ef_percent == loop.ef_percent
    other = draw_patient(2, 1, SHORT)
    assert other.heart != patient.heart
    assert other.scanner != patient.scanner
    assert other.identity.patient_id != patient.identity.patient_id
    assert draw_patient(3, 0, SHORT).heart != patient.heart


def test_only_the_masks_asked_for_are_drawn(loops: Loops) -> None:
    patient, loop = loops[1]
    few = render(patient, height=128, width=128, every_mask=False)
    assert set(few.mask_frames) == {loop.ed_frame, loop.es_frame}
    np.testing.assert_array_equal(few.masks, loop.masks[list(few.mask_frames)])


def test_the_tracing_encloses_the_mask(loops: Loops) -> None:
    for patient, loop in loops[:3]:
        rows = chords(patient, loop, loop.ed_frame)
        assert rows.shape == (21, 4)
        ends = np.concatenate([rows[1:, :2], rows[:0:-1, 2:]])
        x, y = ends.T
        area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
        assert area == pytest.approx((loop.masks[loop.ed_frame] == 1).sum(), rel=0.05)


def _material(
    patient: Patient, grid: SectorGrid, frames: Any, contraction: Any, times: Any, k: int
) -> dict[Any, float]:
    """Read a frame at fixed places of the wall, by brute force over the picture's pixels."""
    x, y = np.meshgrid(grid.pixel_x_mm, grid.pixel_y_mm)
    heart = to_heart(
        x.astype(np.float32), y.astype(np.float32), patient.scanner.pose(float(times[k]))
    )
    shape = Deformation(patient.heart, "A4C")
    rest, level = shape.to_rest(*heart, float(contraction[k]))
    inside = shape.labels(rest, level) == 2
    places: dict[Any, list[float]] = {}
    for a, d, grey in zip(rest[inside], level[inside], frames[k][inside], strict=True):
        places.setdefault((round(a / 2), round(d / 2)), []).append(float(grey))
    return {place: float(np.mean(greys)) for place, greys in places.items()}


def _loop_of(scanner: Scanner, contraction: Any) -> Any:
    patient = replace(draw_patient(4, 0, PhantomConfig(difficulty="easy")), scanner=scanner)
    times = np.arange(len(contraction)) / scanner.frame_rate_hz
    grid = SectorGrid(scanner, 160, 160)
    shape = Deformation(patient.heart, "A4C")
    renderer = Renderer(shape, scanner, grid, (9, 9))
    frames = renderer.frames(times, contraction, np.zeros_like(contraction))
    return patient, grid, frames, times


def _agree(a: dict[Any, float], b: dict[Any, float]) -> Any:
    shared = sorted(set(a) & set(b))
    return np.corrcoef([a[p] for p in shared], [b[p] for p in shared])[0, 1]


def test_speckle_travels_with_the_tissue() -> None:
    steady = Scanner(decorrelation=0, speckle_s=1e6, flicker=0, noise_db=-90, clutter_db=-90)
    contraction = np.array([0.0, 0.15, 0.6])
    patient, grid, frames, times = _loop_of(steady, contraction)
    first, second, third = (
        _material(patient, grid, frames, contraction, times, k) for k in range(3)
    )
    assert _agree(first, second) > 0.85
    assert _agree(first, third) > 0.6
    wall = Renderer(Deformation(patient.heart, "A4C"), steady, grid, (9, 9)).masks(
        times, contraction
    )
    both = (wall[0] == 2) & (wall[2] == 2)
    stays = np.corrcoef(frames[0][both].astype(float), frames[2][both].astype(float))[0, 1]
    assert _agree(first, third) > stays + 0.1


def test_speckle_forgets_with_time() -> None:
    contraction = np.full(31, 0.3)
    patient, grid, frames, times = _loop_of(Scanner(frame_rate_hz=50.0), contraction)
    shape = Deformation(patient.heart, "A4C")
    masks = Renderer(shape, patient.scanner, grid, (9, 9)).masks(times[:1], contraction[:1])
    lit = binary_erosion(masks[0] == 2, iterations=2)
    fine = frames - np.stack([gaussian_filter(frame.astype(float), 3) for frame in frames])

    def correlation(lag: int) -> Any:
        a, b = fine[:-lag, lit].ravel(), fine[lag:, lit].ravel()
        return np.corrcoef(a, b)[0, 1]

    near, middle, far = (correlation(lag) for lag in (1, 6, 20))
    assert 0.6 < near < 0.95
    assert near > middle + 0.1 > far + 0.2
    assert far < 0.5
