"""Faults of an acquisition: nothing at strength 0, nothing outside the sector, ever more."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from echocli.models.perturb import (
    MOST_FRAMES_AS_ONE,
    PERTURBATIONS,
    frame_rate_loss,
    narrow_sector,
    narrowed,
    shadow,
)
from echocli.models.scan_lines import scan_lines

SIZE, COUNT = 48, 20
STRENGTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
BORDER = 7
"""Grey level of what lies outside the sector, so that a change there shows."""


def fan(apex: float = -2.0, half_angle: float = 0.6, size: int = SIZE) -> Tensor:
    """Return a sector whose probe is a little below its apex."""
    row, column = torch.meshgrid(
        torch.arange(size) - apex, torch.arange(size) - (size - 1) / 2, indexing="ij"
    )
    reach = torch.hypot(row, column)
    inside = (torch.atan2(column, row).abs() < half_angle) & (reach > 4) & (reach < size)
    return inside


def clip(sector: Tensor, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (COUNT, *sector.shape)
    frames = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    frames[:, ::3] = 0  # black, as a cavity is
    return torch.where(sector, frames, torch.tensor(BORDER, dtype=torch.uint8))


def changed(name: str, strength: float, frames: Tensor, sector: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return PERTURBATIONS[name](frames, sector, strength, generator)


@pytest.mark.parametrize("name", PERTURBATIONS)
@pytest.mark.parametrize("sector", [fan(), torch.ones(SIZE, SIZE, dtype=torch.bool)])
def test_a_fault_is_none_at_strength_0_and_stays_in_the_sector(
    name: str, sector: Tensor
) -> None:
    frames = clip(sector)
    before = frames.clone()
    assert torch.equal(changed(name, 0.0, frames, sector), frames)
    after = changed(name, 1.0, frames, sector)
    assert torch.equal(frames, before), "the clip itself was changed"
    assert (after.shape, after.dtype) == (frames.shape, torch.uint8)
    assert not torch.equal(after, frames)
    assert torch.equal(after[:, ~sector], frames[:, ~sector])
    assert torch.equal(after, changed(name, 1.0, frames, sector)), "not repeatable"


@pytest.mark.parametrize("name", sorted(PERTURBATIONS.keys() - {"frame_rate"}))
def test_every_pixel_is_changed_more_the_stronger_the_fault(name: str) -> None:
    sector = fan()
    frames = clip(sector)
    change = [
        (changed(name, strength, frames, sector).int() - frames.int()).abs()
        for strength in STRENGTHS
    ]
    for weaker, stronger in pairwise(change):
        assert (stronger >= weaker).all()
        assert stronger.sum() > weaker.sum()


def test_gain_brightens_or_darkens_all_and_attenuation_the_deep() -> None:
    sector = fan()
    frames = torch.full((2, SIZE, SIZE), 150, dtype=torch.uint8)
    lines = scan_lines(sector)
    assert (changed("high_gain", 0.5, frames, sector)[:, sector] > 150).all()
    assert (changed("low_gain", 0.5, frames, sector)[:, sector] == 108).all()  # 10 dB
    dark = changed("attenuation", 0.5, frames, sector)[0].float()
    order = lines.depth[sector].argsort()
    assert (dark[sector][order].diff() <= 0).all()
    assert dark[sector][order[0]] == 150
    assert dark[sector][order[-1]] == pytest.approx(150 - 16 * 255 / 60, abs=1)


def test_black_cavities_stay_black_under_speckle_and_fill_with_noise_at_high_gain() -> None:
    sector = fan()
    frames = torch.zeros(4, SIZE, SIZE, dtype=torch.uint8)
    assert not changed("speckle", 1.0, frames, sector).any()
    noise = changed("high_gain", 1.0, frames, sector)[:, sector].float()
    assert noise.mean() == pytest.approx(85, abs=2)
    assert noise.std() > 10


def test_speckle_is_rayleigh_and_lasts_a_few_frames() -> None:
    sector = torch.ones(SIZE, SIZE, dtype=torch.bool)
    frames = torch.full((30, SIZE, SIZE), 128, dtype=torch.uint8)
    grey = changed("speckle", 0.4, frames, sector).float() - 128
    # The mean of 20 log10 of a Rayleigh amplitude of mean square 1 is -10 gamma / ln 10.
    expected = -10 * 0.5772 / math.log(10) * 255 / 60 * 1.4 * 0.4
    assert grey.mean() == pytest.approx(expected, abs=0.5)
    assert grey.std() == pytest.approx(5.57 * 255 / 60 * 1.4 * 0.4, rel=0.1)

    def alike(apart: int) -> float:
        pair = torch.stack([grey[: 30 - apart].flatten(), grey[apart:].flatten()])
        return float(torch.corrcoef(pair)[0, 1])

    assert alike(1) > 0.55 > alike(4) > alike(20)
    assert abs(alike(20)) < 0.1


def test_a_shadow_covers_the_same_scan_lines_at_every_depth_and_grows() -> None:
    sector = fan()
    frames = torch.full((1, SIZE, SIZE), 255, dtype=torch.uint8)
    lines = scan_lines(sector)
    sizes = []
    for strength in STRENGTHS:
        dark = shadow(frames, sector, strength, torch.Generator().manual_seed(1))[0] < 255
        sizes.append(int(dark.sum()))
        if strength:
            deep = dark & (lines.depth > 0.5)
            least, most = lines.side[deep].min(), lines.side[deep].max()
            between = (lines.side > least + 0.02) & (lines.side < most - 0.02)
            assert dark[sector & between & (lines.depth > 0.25)].all()
            assert not dark[lines.depth < 0.04].any()
            assert most - least < 0.85 * strength
    assert sizes == sorted(sizes)
    assert sizes[0] == 0 < sizes[1]


@pytest.mark.parametrize("count", [1, 4, COUNT, 40])
def test_fewer_frames_are_shown_for_the_same_time(count: int) -> None:
    sector = torch.ones(2, 2, dtype=torch.bool)
    frames = torch.arange(count, dtype=torch.uint8)[:, None, None].repeat(1, 2, 2)
    shown = []
    for strength in STRENGTHS:
        generator = torch.Generator().manual_seed(3)
        seen = frame_rate_loss(frames, sector, strength, generator)[:, 0, 0].tolist()
        assert len(seen) == count
        assert seen == sorted(seen)
        as_one = 1 + round(strength * (MOST_FRAMES_AS_ONE - 1))
        kept = sorted(set(seen))
        assert all(b - a == as_one for a, b in pairwise(kept))
        # The nearest kept frame, by the slow road.
        nearest = [min(abs(time - frame) for frame in kept) for time in range(count)]
        assert [abs(a - b) for a, b in enumerate(seen)] == nearest
        shown.append(len(kept))
    assert shown == sorted(shown, reverse=True)


def test_a_narrower_sector_loses_both_sides_alike() -> None:
    sector = fan()
    frames = clip(sector)
    areas = []
    for strength in STRENGTHS:
        left = narrowed(sector, strength)
        assert torch.equal(left, left.flip(1))
        seen = narrow_sector(frames, sector, strength, torch.Generator())
        assert torch.equal(seen[:, left], frames[:, left])
        assert not seen[:, sector & ~left].any()
        areas.append(int(left.sum()))
    assert areas == sorted(areas, reverse=True)
    assert areas[0] == int(sector.sum())
    assert areas[-1] == pytest.approx(0.4 * areas[0], rel=0.1)


@pytest.mark.parametrize(("apex", "half_angle"), [(-2.0, 0.6), (-20.0, 0.4), (0.0, 0.75)])
def test_scan_lines_are_found_from_the_outline(apex: float, half_angle: float) -> None:
    sector = fan(apex, half_angle, size=96)
    row, column = torch.meshgrid(
        torch.arange(96) - apex, torch.arange(96) - 47.5, indexing="ij"
    )
    lines = scan_lines(sector)
    angle, reach = torch.atan2(column, row)[sector], torch.hypot(row, column)[sector]
    depth = (reach - reach.min()) / (reach.max() - reach.min())
    assert (lines.depth[sector] - depth).abs().max() < 0.04
    far = lines.depth[sector] > 0.2
    assert (lines.side[sector] - angle / angle.max())[far].abs().max() < 0.08


def test_a_picture_without_sides_is_scanned_straight_down() -> None:
    whole = torch.ones(24, 24, dtype=torch.bool)
    lines = scan_lines(whole)
    assert (lines.depth.diff(dim=0) > 0).all()
    assert (lines.side.diff(dim=1) > 0).all()
    assert not scan_lines(~whole).depth.any()


@pytest.mark.parametrize("name", PERTURBATIONS)
@pytest.mark.parametrize("rows", [slice(4, 5), slice(0, 2)])
def test_a_sector_of_hardly_a_row_bears_every_fault(name: str, rows: slice) -> None:
    sector = torch.zeros(12, 12, dtype=torch.bool)
    sector[rows, 5:6] = True
    frames = torch.full((3, 12, 12), 100, dtype=torch.uint8)
    changed = PERTURBATIONS[name](frames, sector, 1.0, torch.Generator().manual_seed(0))
    assert torch.equal(changed[:, ~sector], frames[:, ~sector])
