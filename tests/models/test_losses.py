"""The losses of self-distillation against their equations, written out in loops."""

from __future__ import annotations

import pytest
import torch
from oracles import discovr as oracle

from echocli.models import losses


@pytest.mark.parametrize("seed", range(3))
def test_dino_equals_its_equation(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(2, 3, 5, generator=generator)
    teacher = torch.randn(2, 5, generator=generator)
    centre = torch.randn(5, generator=generator)
    expected = oracle.dino(student.tolist(), teacher.tolist(), centre.tolist(), 0.04, 0.1)
    targets = losses.dino_targets(teacher, centre, 0.04)
    assert losses.dino_loss(student, targets, 0.1).item() == pytest.approx(expected, rel=1e-5)


def test_no_gradient_reaches_the_teacher() -> None:
    teacher = torch.randn(2, 5, requires_grad=True)
    assert not losses.dino_targets(teacher, torch.zeros(5), 0.04).requires_grad


def test_the_gradient_of_dino_is_that_of_the_plain_cross_entropy() -> None:
    generator = torch.Generator().manual_seed(3)
    student = torch.randn(4, 2, 6, generator=generator, requires_grad=True)
    targets = torch.randn(4, 6, generator=generator).softmax(dim=1)
    (ours,) = torch.autograd.grad(losses.dino_loss(student, targets, 0.1), student)
    predictions = (student.detach() / 0.1).softmax(dim=2)
    expected = (predictions - targets[:, None]) / 0.1 / (4 * 2)
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("seed", range(3))
def test_koleo_equals_its_equation_view_by_view(seed: int) -> None:
    points = torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(seed))
    expected = sum(oracle.koleo(points[:, view].tolist()) for view in range(2)) / 2
    assert losses.koleo_loss(points).item() == pytest.approx(expected, rel=1e-4)


def test_koleo_pushes_nearest_neighbours_apart() -> None:
    points = torch.tensor([[1.0, 0.0], [0.99, 0.1], [-1.0, 0.0]])[:, None].requires_grad_()
    losses.koleo_loss(points).backward()
    assert points.grad is not None
    moved = (points - 0.01 * points.grad).detach()[:, 0]
    before = torch.cosine_similarity(points[0, 0], points[1, 0], dim=0)
    assert torch.cosine_similarity(moved[0], moved[1], dim=0) < before


def test_koleo_asks_nothing_of_a_single_clip_and_bears_equal_ones() -> None:
    one = torch.randn(1, 2, 4, requires_grad=True)
    assert losses.koleo_loss(one).item() == 0
    same = torch.ones(2, 1, 4, requires_grad=True)
    losses.koleo_loss(same).backward()
    assert same.grad is not None
    assert torch.isfinite(same.grad).all()
