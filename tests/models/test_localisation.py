"""Localisation: the slow version agrees, and pairs are fair."""

from __future__ import annotations

import pytest
import torch
from oracles import vjepa as slow
from torch.testing import assert_close

from echocli.models.localisation import (
    PairLocator,
    coordinates,
    localisation_loss,
    offsets_between,
    sample_pairs,
)

GRID = (2, 3, 4)


def test_locator_sees_first_then_second_and_nothing_else(generator: torch.Generator) -> None:
    locate = PairLocator(4, 8, generator)
    tokens = torch.randn(1, 5, 4, generator=generator)
    first, second = torch.tensor([[0, 2]]), torch.tensor([[1, 4]])
    offsets = locate(tokens, first, second)
    for pair, (a, b) in enumerate([(0, 1), (2, 4)]):
        assert_close(offsets[0, pair], locate.layers(torch.cat([tokens[0, a], tokens[0, b]])))


def test_coordinates_equal_counting_through_the_grid() -> None:
    ids = torch.arange(24).reshape(2, 12)
    expected = torch.tensor(slow.places_in(GRID), dtype=torch.float32).reshape(2, 12, 3)
    assert torch.equal(coordinates(ids, GRID), expected)


def test_offsets_and_loss_equal_the_paper_pair_by_pair(generator: torch.Generator) -> None:
    ids = torch.tensor([[0, 5, 7, 23], [1, 2, 13, 20]])
    first, second = sample_pairs(2, 4, 9, generator)
    guesses = torch.randn(2, 9, 3, generator=generator)
    pairs = [
        [(ids[row, a].item(), ids[row, b].item()) for a, b in zip(one, two, strict=True)]
        for row, (one, two) in enumerate(zip(first.tolist(), second.tolist(), strict=True))
    ]
    offsets = offsets_between(ids, first, second, GRID)
    expected = torch.tensor([[slow.offset(*pair, GRID) for pair in row] for row in pairs])
    assert_close(offsets, expected)
    assert offsets.abs().max() <= 1
    loss = localisation_loss(guesses, offsets)
    by_hand = slow.localisation(guesses.tolist(), pairs, GRID)
    assert loss.item() == pytest.approx(by_hand, rel=1e-5)


def test_pairs_are_of_two_different_tokens_and_cover_all(generator: torch.Generator) -> None:
    first, second = sample_pairs(4, 5, 2000, generator)
    assert (first != second).all()
    counts: dict[tuple[int, int], int] = {}
    for pair in zip(first.flatten().tolist(), second.flatten().tolist(), strict=True):
        counts[pair] = counts.get(pair, 0) + 1
    assert len(counts) == 20
    assert max(counts.values()) < 1.5 * min(counts.values())  # 400 each


def test_a_single_token_is_paired_with_itself(generator: torch.Generator) -> None:
    first, second = sample_pairs(2, 1, 3, generator)
    assert torch.equal(first, torch.zeros(2, 3, dtype=torch.long))
    assert torch.equal(second, first)
