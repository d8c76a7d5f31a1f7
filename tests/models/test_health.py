"""Collapse is seen, and the lack of it."""

from __future__ import annotations

import pytest
import torch

from echocli.models.health import health


def test_features_in_all_directions_are_healthy(generator: torch.Generator) -> None:
    state = health(torch.randn(2000, 16, generator=generator))
    assert state.effective_rank > 15.5
    assert state.feature_std == pytest.approx(1, abs=0.02)
    assert state.mean_cosine == pytest.approx(0, abs=0.01)


def test_equal_features_are_collapsed() -> None:
    state = health(torch.ones(8, 16))
    assert state.feature_std == pytest.approx(0, abs=1e-6)
    assert state.mean_cosine == pytest.approx(1)
    assert state.effective_rank == pytest.approx(1)


def test_rank_counts_directions(generator: torch.Generator) -> None:
    low = torch.randn(500, 3, generator=generator) @ torch.eye(16)[:3]
    assert 2.9 < health(low).effective_rank <= 3.001


def test_cosine_is_the_mean_over_pairs(generator: torch.Generator) -> None:
    features = torch.randn(5, 4, generator=generator) + 1
    pairs = [
        torch.cosine_similarity(features[i], features[j], dim=0)
        for i in range(5)
        for j in range(5)
        if i != j
    ]
    assert health(features).mean_cosine == pytest.approx(float(sum(pairs)) / 20, abs=1e-6)


def test_one_clip_says_nothing() -> None:
    with pytest.raises(ValueError, match="two"):
        health(torch.ones(1, 4))
