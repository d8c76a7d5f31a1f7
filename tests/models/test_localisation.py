"""Localisation against its equation, written out in loops."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from echocli.models.localisation import (
    PairLocator,
    grid_places,
    localisation_loss,
    sample_pairs,
)


def test_locator_sees_first_then_second_and_nothing_else(generator: torch.Generator) -> None:
    locate = PairLocator(4, 8, generator)
    tokens = torch.randn(1, 5, 4, generator=generator)
    first, second = torch.tensor([[0, 2]]), torch.tensor([[1, 4]])
    offsets = locate(tokens, first, second)
    for pair, (a, b) in enumerate([(0, 1), (2, 4)]):
        assert_close(offsets[0, pair], locate.layers(torch.cat([tokens[0, a], tokens[0, b]])))


def test_places_equal_counting_through_the_grid() -> None:
    grid = (2, 3, 4)
    places = grid_places(torch.arange(24)[None], grid)[0]
    number = 0
    for t in range(2):
        for i in range(3):
            for j in range(4):
                assert_close(places[number], torch.tensor([t / 2, i / 3, j / 4]))
                number += 1


def test_pairs_are_of_two_different_tokens_and_cover_all(generator: torch.Generator) -> None:
    first, second = sample_pairs(4, 5, 2000, generator)
    assert (first != second).all()
    seen = set(zip(first.flatten().tolist(), second.flatten().tolist(), strict=True))
    assert len(seen) == 20


def test_localisation_is_the_squared_length_of_the_error() -> None:
    predicted, offsets = torch.randn(2, 2, 3, 3)
    total = 0.0
    for clip in range(2):
        for pair in range(3):
            error = (predicted[clip, pair] - offsets[clip, pair]).tolist()
            total += sum(e * e for e in error)
    loss = localisation_loss(predicted, offsets)
    assert loss.item() == pytest.approx(total / 6, rel=1e-5)
