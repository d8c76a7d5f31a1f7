"""Masks: what the papers say of them, and that they are fair to every frame."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from echocli.models.masking import (
    BlockConfig,
    block_mask,
    block_size,
    context_and_targets,
    draw_ids,
    tube_ids,
)

GRID = (4, 7, 7)


def test_a_tube_hides_the_same_places_in_every_frame(generator: torch.Generator) -> None:
    ids = tube_ids(16, GRID, 0.9, generator).reshape(16, 4, 5)  # 49 - 44, as published
    assert (ids // 49 == torch.arange(4)[:, None]).all()
    assert (ids % 49 == ids[:, :1] % 49).all()
    assert (ids.diff(dim=2) > 0).all()
    assert len({tuple(row.tolist()) for row in ids[:, 0]}) > 10


def test_something_always_stays_visible(generator: torch.Generator) -> None:
    assert tube_ids(4, (2, 2, 2), 0.99, generator).shape == (4, 2)


def test_every_place_is_visible_equally_often(generator: torch.Generator) -> None:
    ids = tube_ids(4000, (1, 4, 4), 0.75, generator)
    share = torch.bincount(ids.flatten(), minlength=16) / 4000
    assert_close(share, torch.full((16,), 0.25), atol=0.04, rtol=0)


def test_tubes_stay_inside_the_sector_of_their_clip(generator: torch.Generator) -> None:
    places = torch.tensor([[0, 5, 9, 12], [3, 4, 30, 48]])
    ids = tube_ids(40, GRID, 0.5, generator, places).reshape(2, 20, 4, 2)
    for clip, allowed in enumerate(places.tolist()):
        assert set((ids[clip] % 49).flatten().tolist()) == set(allowed)
    assert (ids // 49 == torch.arange(4)[:, None]).all()


@pytest.mark.parametrize("config", [BlockConfig(), BlockConfig(blocks=2, scale=0.7)])
def test_block_sizes_keep_area_and_aspect(
    config: BlockConfig, generator: torch.Generator
) -> None:
    sizes = [block_size((8, 14, 14), config, generator) for _ in range(200)]
    for duration, height, width in sizes:
        assert duration == 8
        assert 0.75 - 0.3 < height / width < 1.5 + 0.3  # rounding to whole tubelets
        assert abs(height * width / 196 - config.scale) < 0.1
    assert len(set(sizes)) > 2


def test_one_block_is_a_box_inside_the_grid(generator: torch.Generator) -> None:
    config = BlockConfig(blocks=1, scale=0.2, duration=0.5)
    mask = block_mask(50, GRID, config, generator).reshape(50, *GRID)
    sizes = set()
    for hidden in mask:
        places = hidden.nonzero()
        size = (places.max(dim=0).values - places.min(dim=0).values + 1).tolist()
        assert math.prod(size) == hidden.sum()  # full: a box has no holes
        sizes.add(tuple(size))
    assert len(sizes) == 1  # one size for all clips of a step
    corners = {tuple(hidden.nonzero()[0].tolist()) for hidden in mask}
    assert len(corners) > 10


def test_long_range_hides_most_and_never_everything(generator: torch.Generator) -> None:
    config = BlockConfig(blocks=2, scale=0.7)
    shares = [block_mask(8, (8, 14, 14), config, generator).float().mean() for _ in range(50)]
    assert 0.75 < torch.stack(shares).mean() < 0.95
    for grid in [(2, 2, 2), (2, 4, 4), (1, 3, 3), (1, 1, 2)]:
        for _ in range(50):
            mask = block_mask(8, grid, config, generator)
            assert mask.any(dim=1).all()
            assert not mask.all(dim=1).any()


def test_context_and_targets_are_disjoint_equal_in_length_and_ascending(
    generator: torch.Generator,
) -> None:
    mask = block_mask(6, GRID, BlockConfig(), generator)
    context, targets = context_and_targets(mask, generator)
    assert context.shape[1] == (~mask).sum(dim=1).min()
    assert targets.shape[1] == mask.sum(dim=1).min()
    for row in range(6):
        assert mask[row, targets[row]].all()
        assert not mask[row, context[row]].any()
        assert (context[row].diff() > 0).all()
        assert (targets[row].diff() > 0).all()


def test_cutting_to_equal_length_is_fair_to_late_frames(generator: torch.Generator) -> None:
    # Cutting the end of the list would leave the last tubelet nearly empty.
    counts = torch.zeros(2, 8)
    for _ in range(60):
        mask = block_mask(24, (8, 14, 14), BlockConfig(), generator)
        for kind, ids in enumerate(context_and_targets(mask, generator)):
            counts[kind] += torch.bincount(ids.flatten() // 196, minlength=8)
    assert (counts[:, -1] / counts[:, 0] > 0.95).all()


def test_draw_takes_each_candidate_equally_often(generator: torch.Generator) -> None:
    candidates = torch.tensor([True, False, True, True, False, True]).expand(6000, -1)
    drawn = draw_ids(candidates, 2, generator)
    share = torch.bincount(drawn.flatten(), minlength=6) / 6000
    assert_close(share, torch.tensor([0.5, 0, 0.5, 0.5, 0, 0.5]), atol=0.04, rtol=0)


def test_same_generator_same_masks() -> None:
    def masks(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        tubes = tube_ids(4, GRID, 0.5, generator)
        blocks = block_mask(4, GRID, BlockConfig(), generator)
        return torch.cat([tubes.flatten(), blocks.flatten().long()])

    assert torch.equal(masks(5), masks(5))
    assert not torch.equal(masks(5), masks(6))
