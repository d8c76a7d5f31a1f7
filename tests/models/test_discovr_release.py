"""Fidelity ``release``: the published order of a step, its centres, weights and counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from oracles import discovr as oracle
from torch import Tensor
from torch.testing import assert_close

from echocli.models.methods.discovr import DISCOVR
from echocli.models.positions import sincos_line


@pytest.fixture
def method(make_method: Callable[..., DISCOVR]) -> DISCOVR:
    return make_method(
        "discovr",
        fidelity="release",
        pairing="released",
        targets="hard",
        momentum=0.9,
        momentum_end=0.9,
        centre_momentum=0.8,
    )


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_each_forward_sees_the_teacher_that_the_published_order_gives(
    method: DISCOVR, make_blobs: Callable[..., Tensor]
) -> None:
    # Published: the teacher moves, then the forward pass, then the optimiser. Ours moves after.
    start = method.video.teacher.norm.weight.tolist()
    students, teachers = [], []
    for step in range(4):
        students.append(method.video.student.norm.weight.tolist())
        teachers.append(method.video.teacher.norm.weight.tolist())
        output = method.step(make_blobs(2, step), seeded(step))
        with torch.no_grad():
            method.video.student.norm.weight += 0.1 * torch.randn(48, generator=seeded(step))
        method.after_step(step / 4, output.state)
    expected = oracle.followed(start, students, 0.9)
    assert_close(torch.tensor(teachers), torch.tensor(expected))


def test_the_centre_follows_probabilities_from_zero(
    method: DISCOVR, make_blobs: Callable[..., Tensor]
) -> None:
    video = make_blobs(3, 1)
    logits, _ = method.video.teach(video)
    rows = [oracle.softmax([x / 0.04 for x in row]) for row in logits.tolist()]
    mean = torch.tensor(rows).mean(dim=0)
    state = method.step(video, seeded()).state
    assert_close(state["video"], mean, rtol=1e-4, atol=1e-6)
    method.after_step(0.0, state)
    assert_close(method.video.centre, 0.2 * mean, rtol=1e-4, atol=1e-6)


def test_the_temperature_rises_in_thirty_of_four_hundred_epochs(method: DISCOVR) -> None:
    steps = 5
    published = [0.04 + 0.03 * epoch / 29 for epoch in range(30)] + [0.07] * 370
    for epoch in (0, 1, 7, 29, 30, 399):
        for step in (0, steps - 1):
            progress = (epoch * steps + step) / (400 * steps)
            assert method.image.temperature_at(progress) == pytest.approx(published[epoch])


@pytest.mark.parametrize(("side", "kept"), [(4, 4), (7, 13), (14, 49)])
def test_the_number_of_hidden_places_is_rounded_down(
    side: int, kept: int, make_method: Callable[..., DISCOVR]
) -> None:
    released = make_method(
        "discovr", fidelity="release", pairing="released", targets="hard", mask_ratio=0.75
    )
    assert kept == side**2 - int(0.75 * side**2)
    draws = released.draw(1, (2, side, side), seeded())
    assert draws["video"].shape[1] == 2 * kept
    assert draws["image"].shape[1] == kept


def test_sectors_round_down_as_well(method: DISCOVR) -> None:
    assert method.rules.hidden_share(0.9, 6) * 6 == pytest.approx(5)
    for places in range(1, 200):
        share = method.rules.hidden_share(0.9, places)
        assert round(share * places) == int(0.9 * places)


def test_the_second_loss_of_clusters_is_a_number_only(
    method: DISCOVR, generator: torch.Generator
) -> None:
    video, image = (torch.randn(2, 6, 48, generator=generator) for _ in range(2))
    forth, back, _ = method.cluster_losses(video, image)
    assert forth.requires_grad
    assert not back.requires_grad


def test_the_image_loss_weighs_more_where_a_step_sees_fewer_frames(method: DISCOVR) -> None:
    assert method.rules.image_scale(1024) == pytest.approx(0.25)
    assert method.rules.image_scale(32) == pytest.approx(8)


def test_the_image_encoder_is_another_one(method: DISCOVR) -> None:
    image, video = method.image.student, method.video.student
    assert (image.blocks[0].attn.qkv.bias is None, image.norm.eps) == (True, 1e-5)
    assert (video.blocks[0].attn.qkv.bias is None, video.norm.eps) == (False, 1e-6)


def test_tokens_are_numbered_on_a_line_the_decoders_from_one(method: DISCOVR) -> None:
    assert method.video.student.positions is not None
    assert_close(method.video.student.positions((2, 4, 4))[0], sincos_line(32, 48))
    assert_close(method.decoder.positions((2, 4, 4))[0], sincos_line(33, 24)[1:])
    assert_close(method.decoder.positions((3, 4, 4))[0], sincos_line(49, 24)[1:])


def test_heads_start_small_and_teachers_as_their_students(method: DISCOVR) -> None:
    for branch in (method.video, method.image):
        for weight in (branch.student_head.inner.weight, branch.student.cls_token):
            assert weight is not None
            assert 0.015 < weight.abs().max() <= 0.02
        for one, other in (
            (branch.student, branch.teacher),
            (branch.student_head, branch.teacher_head),
        ):
            for name, weight in one.state_dict().items():
                assert torch.equal(weight, other.state_dict()[name]), name
