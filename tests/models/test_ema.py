"""Teachers share nothing with their students and follow at the given pace."""

from __future__ import annotations

import torch
from torch import nn
from torch.testing import assert_close

from echocli.models.ema import make_teacher, momentum_at, update_teacher


def test_a_teacher_is_equal_frozen_and_separate() -> None:
    student = nn.Linear(3, 2)
    teacher = make_teacher(student)
    assert torch.equal(teacher.weight, student.weight)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert teacher.weight.data_ptr() != student.weight.data_ptr()


def test_what_is_shared_exists_once_and_stays() -> None:
    student = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    shared = list(student[0].requires_grad_(False).parameters())
    teacher = make_teacher(student, sharing=shared)
    assert teacher[0].weight is student[0].weight
    assert teacher[0].bias is student[0].bias
    assert teacher[1].weight.data_ptr() != student[1].weight.data_ptr()
    before = student[0].weight.clone()
    with torch.no_grad():
        student[1].weight += 1
    update_teacher(teacher, student, 0.1)
    assert torch.equal(student[0].weight, before)
    assert_close(teacher[1].weight, student[1].weight.detach() - 0.1)


def test_update_is_the_weighted_mean() -> None:
    student = nn.Linear(3, 2)
    teacher = make_teacher(student)
    old = teacher.weight.clone()
    with torch.no_grad():
        student.weight += 1
    update_teacher(teacher, student, 0.9)
    assert_close(teacher.weight, 0.9 * old + 0.1 * student.weight.detach())
    update_teacher(teacher, student, 0.0)
    assert_close(teacher.weight, student.weight.detach())


def test_momentum_moves_on_a_straight_line() -> None:
    assert [momentum_at(p, 0.5, 1.0) for p in (0.0, 0.5, 1.0)] == [0.5, 0.75, 1.0]
