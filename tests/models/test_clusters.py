"""Clusters against loops: balance, pairs, and where gradients go."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from oracles import discovr as oracle
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from echocli.models import clusters
from echocli.models.fidelity import mispair


def some_scores(samples: int, prototypes: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    left, right = (
        F.normalize(torch.randn(n, 8, generator=generator), dim=1)
        for n in (samples, prototypes)
    )
    return left @ right.T


@pytest.mark.parametrize("rounds", [1, 2, 3, 10])
@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_sinkhorn_equals_algorithm_1_of_swav(rounds: int, temperature: float) -> None:
    scores = some_scores(6, 3)
    expected = oracle.sinkhorn(scores.double().tolist(), temperature, rounds)
    shares = clusters.sinkhorn(scores, temperature, rounds)
    assert_close(shares, torch.tensor(expected), rtol=1e-4, atol=1e-6)


def test_every_sample_is_assigned_once_and_prototypes_are_balanced() -> None:
    shares = clusters.sinkhorn(some_scores(64, 8), temperature=0.05, rounds=100)
    assert_close(shares.sum(dim=1), torch.ones(64))
    assert_close(shares.sum(dim=0), torch.full((8,), 8.0), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_large_scores_stay_finite_and_the_input_is_left_alone(seed: int) -> None:
    scores = 1e3 * some_scores(64, 8, seed)
    before = scores.clone()
    shares = clusters.sinkhorn(scores, temperature=0.05)
    assert torch.isfinite(shares).all()
    assert_close(shares.sum(dim=1), torch.ones(64))
    assert torch.equal(scores, before)


@pytest.mark.parametrize("rounds", [10, 100, 1000])
def test_what_cannot_be_balanced_stays_finite_however_often_it_is_tried(rounds: int) -> None:
    scores = 1e3 * some_scores(200, 30)
    shares = clusters.sinkhorn(scores, 0.05, rounds)
    assert torch.isfinite(shares).all()
    assert_close(shares.sum(dim=1), torch.ones(200), rtol=1e-4, atol=1e-4)


def test_balancing_is_as_fine_in_bfloat16() -> None:
    scores = some_scores(64, 8)
    with torch.autocast("cpu", torch.bfloat16):
        shares = clusters.sinkhorn(scores, 0.05)
    assert torch.equal(shares, clusters.sinkhorn(scores, 0.05))


@pytest.mark.parametrize("hard", [False, True])
def test_cluster_loss_equals_its_cross_entropy(hard: bool, generator: torch.Generator) -> None:
    video, image, prototypes = (torch.randn(n, 8, generator=generator) for n in (6, 6, 4))
    unit = F.normalize(prototypes, dim=1)
    shares = clusters.sinkhorn(clusters.cosines(image, unit), 0.5, 3)
    target = clusters.harden(shares) if hard else shares
    loss = clusters.predict_clusters(clusters.cosines(video, unit), target, 0.1)
    expected = oracle.clusters(
        video.tolist(),
        image.tolist(),
        (prototypes.tolist(), prototypes.tolist()),
        temperature=0.1,
        sharpness=0.5,
        rounds=3,
        hard=hard,
    )
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_a_frame_is_standardised_channel_by_channel(generator: torch.Generator) -> None:
    tokens = 3 + 2 * torch.randn(2, 4, 3, generator=generator)
    expected = torch.tensor([oracle.standardise(frame) for frame in tokens.tolist()])
    assert_close(clusters.standardise(tokens), expected, rtol=1e-4, atol=1e-5)


def test_a_frame_of_one_place_or_of_equal_places_stays_finite() -> None:
    assert torch.equal(clusters.standardise(torch.ones(2, 1, 3)), torch.zeros(2, 1, 3))
    assert torch.equal(clusters.standardise(torch.ones(2, 4, 3)), torch.zeros(2, 4, 3))


@pytest.mark.parametrize("frames_a_tubelet", [1, 2])
def test_frames_are_arranged_as_the_tubelets_of_their_clip(
    frames_a_tubelet: int, generator: torch.Generator
) -> None:
    tokens = torch.randn(2 * 3 * frames_a_tubelet, 4, 5, generator=generator)
    arranged = clusters.tubelet_tokens(tokens, 2, 3)
    for clip, frames in enumerate(tokens.chunk(2)):
        expected = oracle.aligned(frames.tolist(), frames_a_tubelet)
        assert_close(arranged[clip], torch.tensor(expected))


def test_tokens_of_chosen_tubelets_stay_together(generator: torch.Generator) -> None:
    tokens = torch.randn(2, 5 * 3, 4, generator=generator)
    times = torch.tensor([[0, 4], [1, 2]])
    chosen = clusters.tokens_of_times(tokens, times, places=3)
    for clip in range(2):
        for number, time in enumerate(times[clip].tolist()):
            for place in range(3):
                expected = tokens[clip, time * 3 + place]
                assert torch.equal(chosen[clip, number * 3 + place], expected)


def test_the_released_pairs_equal_the_published_order(
    generator: torch.Generator, make_seen: Callable[[], Tensor]
) -> None:
    times, places, tubelet = 3, 4, 2
    decoded = torch.randn(2, times * places, 5, generator=generator)
    frames = torch.randn(2, times * tubelet, places, 5, generator=generator)
    visible = torch.tensor([[1, 5, 9], [2, 6, 10]])
    found = mispair(decoded, frames.flatten(1, 2), visible, None, tubelet)
    for clip in range(2):
        expected = oracle.released(
            decoded[clip].tolist(), frames[clip].tolist(), visible[clip].tolist(), tubelet
        )
        for side in range(2):
            assert_close(found[side][clip], torch.tensor(expected[side]))
    # Where only some tokens are there, ids count among all and rows among those.
    seen = make_seen()
    again = mispair(decoded, frames.flatten(1, 2), seen.gather(1, visible), seen, tubelet)
    assert torch.equal(again[0], found[0])


@pytest.fixture
def make_seen(generator: torch.Generator) -> Callable[[], Tensor]:
    """Return what draws twelve of thirty ids for two clips, ascending."""

    def draw() -> Tensor:
        return torch.rand(2, 30, generator=generator).argsort(1)[:, :12].sort(1).values

    return draw


def test_the_share_of_used_prototypes_is_the_perplexity_of_the_nearest() -> None:
    scores = some_scores(200, 12)
    counts = Counter(int(row.argmax()) for row in scores)
    entropy = -sum(n / 200 * math.log(n / 200) for n in counts.values())
    assert len(set(counts.values())) > 5
    assert float(clusters.share_used(scores)) == pytest.approx(math.exp(entropy) / 12, rel=1e-5)


def test_the_share_is_one_when_all_prototypes_are_used_evenly_and_small_when_one_is() -> None:
    assert float(clusters.share_used(torch.eye(8).repeat(5, 1))) == pytest.approx(1)
    assert float(clusters.share_used(torch.eye(8)[:1].repeat(40, 1))) == pytest.approx(1 / 8)
