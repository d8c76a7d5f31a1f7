"""Multi-block masks: what the paper says of them, and that they are fair to every frame."""

from __future__ import annotations

import math

import pytest
import torch

from echocli.models.block_masks import (
    BlockConfig,
    block_mask,
    block_size,
    context_and_targets,
)

GRID = (4, 7, 7)


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


def test_same_generator_same_blocks() -> None:
    def blocks(seed: int) -> torch.Tensor:
        return block_mask(4, GRID, BlockConfig(), torch.Generator().manual_seed(seed))

    assert torch.equal(blocks(5), blocks(5))
    assert not torch.equal(blocks(5), blocks(6))
