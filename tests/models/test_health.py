"""Collapse is seen, and the lack of it."""

from __future__ import annotations

import math
import statistics

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


def test_every_measure_equals_its_definition_in_loops(generator: torch.Generator) -> None:
    rows = (torch.randn(7, 5, generator=generator) + 0.5).double()
    unit = [[v / math.sqrt(sum(x * x for x in row)) for v in row] for row in rows.tolist()]
    spread = sum(statistics.pstdev(column) for column in zip(*unit, strict=True))
    centred = rows - rows.mean(dim=0)
    values = torch.linalg.eigvalsh(centred.T @ centred).clamp(min=0).sqrt().tolist()
    shares = [value / sum(values) for value in values if value > 1e-9]
    state = health(rows.float())
    assert state.feature_std == pytest.approx(spread / 5 * math.sqrt(5), rel=1e-5)
    rank = math.exp(-sum(share * math.log(share) for share in shares))
    assert state.effective_rank == pytest.approx(rank, rel=1e-5)


def test_features_that_are_no_numbers_have_no_health() -> None:
    broken = torch.ones(4, 3)
    broken[1, 2] = float("nan")
    assert all(math.isnan(value) for value in vars(health(broken)).values())
