"""Every loss against its paper's equation, written out in loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from echocli.models import losses


def softmax(values: list[float]) -> list[float]:
    powers = [math.exp(v) for v in values]
    return [p / sum(powers) for p in powers]


def cosines(samples: int, prototypes: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    left, right = (
        F.normalize(torch.randn(n, 8, generator=generator), dim=1)
        for n in (samples, prototypes)
    )
    return left @ right.T


def swav_algorithm_1(scores: Tensor, temperature: float, rounds: int) -> Tensor:
    """Alternate rows and columns on plain exponentials, in double precision."""
    q = [[math.exp(s / temperature) for s in row] for row in scores.double().tolist()]
    samples, prototypes = scores.shape
    for _ in range(rounds):
        for k in range(prototypes):
            total = sum(q[b][k] for b in range(samples))
            for b in range(samples):
                q[b][k] /= total
        for b in range(samples):
            total = sum(q[b])
            for k in range(prototypes):
                q[b][k] /= total
    return torch.tensor(q)


@pytest.mark.parametrize("rounds", [1, 3, 10])
def test_sinkhorn_equals_algorithm_1_of_swav(rounds: int) -> None:
    scores = cosines(6, 3)
    expected = swav_algorithm_1(scores, 0.5, rounds)
    assert_close(losses.sinkhorn(scores, 0.5, rounds), expected.float())


def test_every_sample_is_assigned_once_and_prototypes_are_balanced() -> None:
    shares = losses.sinkhorn(cosines(64, 8), temperature=0.05, rounds=100)
    assert_close(shares.sum(dim=1), torch.ones(64))
    assert_close(shares.sum(dim=0), torch.full((8,), 8.0), rtol=1e-3, atol=1e-3)


def test_large_scores_stay_finite_and_the_input_is_left_alone() -> None:
    scores = 1e3 * cosines(64, 8)
    before = scores.clone()
    assert torch.isfinite(losses.sinkhorn(scores, temperature=0.05)).all()
    assert torch.equal(scores, before)


def test_dino_equals_its_equation() -> None:
    generator = torch.Generator().manual_seed(1)
    student = torch.randn(2, 3, 5, generator=generator)
    teacher = torch.randn(2, 5, generator=generator)
    centre = torch.randn(5, generator=generator)
    total = 0.0
    for clip in range(2):
        target = softmax(((teacher[clip] - centre) / 0.04).tolist())
        for view in range(3):
            prediction = softmax((student[clip, view] / 0.1).tolist())
            total -= sum(t * math.log(p) for t, p in zip(target, prediction, strict=True))
    targets = losses.dino_targets(teacher, centre, 0.04)
    assert losses.dino_loss(student, targets, 0.1).item() == pytest.approx(total / 6, rel=1e-5)


def test_no_gradient_reaches_the_teacher() -> None:
    teacher = torch.randn(2, 5, requires_grad=True)
    assert not losses.dino_targets(teacher, torch.zeros(5), 0.04).requires_grad


def cluster_inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    sizes = (6, 6, 4)
    video, image, prototypes = (
        torch.randn(n, 8, generator=generator).requires_grad_() for n in sizes
    )
    return video, image, prototypes


def cluster_loss(video: Tensor, image: Tensor, prototypes: Tensor) -> Tensor:
    return losses.cluster_distillation_loss(
        video, image, prototypes, temperature=0.1, sharpness=0.5, rounds=3
    )


def test_cluster_distillation_equals_its_two_cross_entropies() -> None:
    video, image, prototypes = (x.detach() for x in cluster_inputs())
    scores = []
    for tokens in (video, image):
        rows = [
            [torch.cosine_similarity(t, p, dim=0).item() for p in prototypes] for t in tokens
        ]
        scores.append(torch.tensor(rows))
    targets = [swav_algorithm_1(s, 0.5, 3) for s in scores]
    expected = 0.0
    for predicted, target in ((scores[0], targets[1]), (scores[1], targets[0])):
        for row, share in zip(predicted.tolist(), target.tolist(), strict=True):
            prediction = softmax([s / 0.1 for s in row])
            pairs = zip(share, prediction, strict=True)
            expected -= sum(t * math.log(p) for t, p in pairs) / 6
    assert cluster_loss(video, image, prototypes).item() == pytest.approx(expected, rel=1e-5)


def test_cluster_gradient_reaches_video_and_prototypes_only() -> None:
    video, image, prototypes = cluster_inputs()
    cluster_loss(video, image, prototypes).backward()
    assert image.grad is None
    assert video.grad is not None
    assert video.grad.abs().sum() > 0
    assert prototypes.grad is not None
    assert prototypes.grad.abs().sum() > 0


def test_the_image_term_trains_the_prototypes() -> None:
    # In the released code this term is a constant.
    video, image, prototypes = cluster_inputs()
    both = torch.autograd.grad(cluster_loss(video.detach(), image, prototypes), prototypes)[0]
    scores = F.normalize(video.detach(), dim=1) @ F.normalize(prototypes, dim=1).T
    fixed = F.normalize(image.detach(), dim=1) @ F.normalize(prototypes.detach(), dim=1).T
    first = losses.cross_entropy(scores / 0.1, losses.sinkhorn(fixed, 0.5, 3))
    alone = torch.autograd.grad(first, prototypes)[0]
    assert not torch.allclose(both, alone, rtol=1e-3)
