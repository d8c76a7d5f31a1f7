"""Multi-block masks: the slow version agrees, and they are fair to every frame and sector."""

from __future__ import annotations

import math

import pytest
import torch
from oracles import vjepa as slow
from torch import Tensor

from echocli.models.block_masks import (
    BlockConfig,
    block_mask,
    block_size,
    context_and_targets,
    draw_corners,
    union,
)
from echocli.models.masking import every_place, tokens_at

GRID = (4, 7, 7)
SHORT, LONG = BlockConfig(), BlockConfig(blocks=2, scale=0.7)


def fan(grid: tuple[int, int, int], turn: int = 0) -> Tensor:
    """Places of a triangle that opens downwards, its tip moved along the columns."""
    tip = grid[2] // 2 + turn
    inside = [
        row * grid[2] + column
        for row in range(grid[1])
        for column in range(grid[2])
        if abs(column - tip) <= row // 2 + 1
    ]
    return torch.tensor(inside)


@pytest.mark.parametrize("config", [SHORT, LONG, BlockConfig(duration=0.4, aspect=(0.2, 5.0))])
def test_block_sizes_equal_the_paper_for_the_same_draw(config: BlockConfig) -> None:
    found = set()
    for seed in range(50):
        draw = torch.rand(3, generator=torch.Generator().manual_seed(seed))[2].item()
        generator = torch.Generator().manual_seed(seed)
        size = block_size((8, 14, 12), 14 * 12, config, generator)
        by_hand = slow.block_size(
            (8, 14, 12), config.scale, config.duration, config.aspect, draw
        )
        assert size == by_hand
        found.add(size)
    assert len(found) > 3


def test_the_union_of_blocks_equals_asking_every_token(generator: torch.Generator) -> None:
    grid, size = (3, 4, 5), (2, 2, 3)
    corners = draw_corners(every_place(6, grid), grid, size, 3, generator)
    mask = union(corners, size, grid)
    for row in range(6):
        hidden = set(mask[row].nonzero().flatten().tolist())
        assert hidden == slow.hidden_by(corners[row].tolist(), size, grid)


def test_blocks_begin_anywhere_they_fit_equally_often(generator: torch.Generator) -> None:
    corners = draw_corners(every_place(300, GRID), GRID, (3, 2, 4), 20, generator)
    for axis, last in enumerate([1, 5, 3]):
        counts = torch.bincount(corners[:, :, axis].flatten()) / 6000
        assert counts.shape == (last + 1,)
        assert (counts - 1 / (last + 1)).abs().max() < 0.02


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
    shares = [block_mask(8, (8, 14, 14), LONG, generator).float().mean() for _ in range(50)]
    assert 0.75 < torch.stack(shares).mean() < 0.95
    for grid in [(2, 2, 2), (2, 4, 4), (1, 3, 3), (1, 1, 2)]:
        for _ in range(50):
            mask = block_mask(8, grid, LONG, generator)
            assert mask.any(dim=1).all()
            assert not mask.all(dim=1).any()


@pytest.mark.parametrize("config", [SHORT, LONG, BlockConfig(blocks=1, scale=0.01)])
@pytest.mark.parametrize("truncate", ["random", "tail"])
def test_in_a_sector_every_clip_shows_and_hides_equally_many_of_its_own_tokens(
    config: BlockConfig, truncate: str, generator: torch.Generator
) -> None:
    grid = (2, 9, 9)
    fans = [fan(grid), fan(grid, 1)]
    count = min(len(places) for places in fans)
    upper_rows = torch.arange(count)
    places = torch.stack([fans[0][:count], fans[1][-count:], upper_rows])
    visible = tokens_at(places, grid)
    for _ in range(25):
        mask = block_mask(3, grid, config, generator, places)
        found = context_and_targets(mask, generator, visible=visible, truncate=truncate)
        context, targets = found
        assert context.shape[1] >= 1
        assert targets.shape[1] >= 1
        for row, allowed in enumerate(visible.tolist()):
            seen, asked = set(context[row].tolist()), set(targets[row].tolist())
            assert seen.isdisjoint(asked)
            assert seen | asked <= set(allowed)
            assert len(seen) == context.shape[1]
            assert len(asked) == targets.shape[1]


def test_in_a_sector_a_block_hides_its_share_of_the_sector(generator: torch.Generator) -> None:
    grid = (1, 14, 14)
    places = fan(grid).expand(200, -1)
    one = BlockConfig(blocks=1, scale=0.3)
    hidden = block_mask(200, grid, one, generator, places).gather(1, tokens_at(places, grid))
    share = hidden.float().mean(dim=1)
    assert 0.15 < share.mean() < 0.35  # a box that reaches over the edge hides less
    assert share.max() < 0.4


def test_two_places_are_enough(generator: torch.Generator) -> None:
    places = torch.tensor([[5, 11], [0, 48]])
    for config in (SHORT, LONG):
        mask = block_mask(2, GRID, config, generator, places)
        found = context_and_targets(mask, generator, visible=tokens_at(places, GRID))
        assert [ids.shape for ids in found] == [(2, 4), (2, 4)]


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


def test_cutting_tails_equals_slicing_lists(generator: torch.Generator) -> None:
    mask = block_mask(5, GRID, BlockConfig(), generator)
    context, targets = context_and_targets(mask, generator, truncate="tail")
    for found, hidden in ((context, ~mask), (targets, mask)):
        rows = [set(row.nonzero().flatten().tolist()) for row in hidden]
        assert found.tolist() == slow.cut_to_equal_length(rows)


def test_cutting_at_random_is_fair_to_late_frames(generator: torch.Generator) -> None:
    # Cutting the end of the list leaves the last tubelet nearly empty.
    last: dict[str, list[float]] = {"random": [], "tail": []}
    for truncate, shares in last.items():
        counts = torch.zeros(2, 8)
        for _ in range(40):
            mask = block_mask(24, (8, 14, 14), BlockConfig(), generator)
            found = context_and_targets(mask, generator, truncate=truncate)
            for kind, ids in enumerate(found):
                counts[kind] += torch.bincount(ids.flatten() // 196, minlength=8)
        shares += (counts[:, -1] / counts[:, 0]).tolist()
    assert min(last["random"]) > 0.95
    assert max(last["tail"]) < 0.15


def test_same_generator_same_blocks() -> None:
    def blocks(seed: int) -> torch.Tensor:
        return block_mask(4, GRID, BlockConfig(), torch.Generator().manual_seed(seed))

    assert torch.equal(blocks(5), blocks(5))
    assert not torch.equal(blocks(5), blocks(6))
