"""Pooling, by loops."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from echocli.models.pooling import POOLS, pool, pooled_dim

GRID = (3, 2, 2)


@pytest.fixture
def tokens(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(2, 12, 5, generator=generator)


def test_mean_and_change_over_time_by_loops(tokens: torch.Tensor) -> None:
    pooled = pool(tokens, GRID, "mean_std")
    for clip in range(2):
        for channel in range(5):
            values = tokens[clip, :, channel].reshape(3, 4)
            stds = [values[:, place].std(correction=0) for place in range(4)]
            assert_close(pooled[clip, channel], values.mean())
            assert_close(pooled[clip, 5 + channel], torch.stack(stds).mean())


def test_a_still_clip_shows_no_change(tokens: torch.Tensor) -> None:
    still = tokens[:, :4].repeat(1, 3, 1)
    pooled = pool(still, GRID, "mean_std")
    assert_close(pooled[:, 5:], torch.zeros(2, 5))
    assert_close(pooled[:, :5], pool(still, GRID, "mean"))


def test_order_in_time_does_not_matter_but_place_does(tokens: torch.Tensor) -> None:
    turned = tokens.reshape(2, 3, 4, 5).flip(1).reshape(2, 12, 5)
    assert_close(pool(turned, GRID, "mean_std"), pool(tokens, GRID, "mean_std"))
    mixed = tokens[:, torch.randperm(12, generator=torch.Generator().manual_seed(1))]
    assert not torch.allclose(pool(mixed, GRID, "mean_std"), pool(tokens, GRID, "mean_std"))


def test_every_kind_has_the_announced_width(tokens: torch.Tensor) -> None:
    for kind in POOLS:
        pooled = pool(tokens, GRID, kind, cls=torch.zeros(2, 5))
        assert pooled.shape == (2, pooled_dim(5, kind))


def test_what_cannot_be_pooled_is_named(tokens: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="no class token"):
        pool(tokens, GRID, "cls")
    with pytest.raises(ValueError, match="mean_std"):
        pool(tokens, GRID, "median")
