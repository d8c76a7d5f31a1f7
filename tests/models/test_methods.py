"""What every method promises; a new file in the folder is tested without being named here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from echocli.models.methods import base
from echocli.models.optim import OptimConfig
from echocli.models.training import train
from echocli.models.vit import VisionTransformer

MakeMethod = Callable[..., base.Method]
MakeBlobs = Callable[..., Tensor]
MakeBatches = Callable[..., Any]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def snapshot(method: base.Method) -> dict[str, Tensor]:
    return {name: t.clone() for name, t in method.state_dict().items()}


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> set[str]:
    return {name for name in one if not torch.equal(one[name], other[name])}


def has_teacher(method: base.Method) -> bool:
    return any(not parameter.requires_grad for parameter in method.parameters())


def test_all_methods_are_found() -> None:
    assert {"discovr", "videomae", "vjepa"} <= set(base.available())


def test_the_methods_with_a_teacher_are_known(method_name: str, method: base.Method) -> None:
    # A teacher that loses its freeze would escape the tests of teachers.
    assert has_teacher(method) is (method_name != "videomae")


def test_an_unknown_method_is_named_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="vjepa"):
        base.load("supervised")


def test_frozen_weights_share_no_memory_with_trained_ones(method: base.Method) -> None:
    exported = method.export_encoder().parameters()
    trained = {p.data_ptr() for p in method.parameters() if p.requires_grad}
    frozen = {p.data_ptr() for p in method.parameters() if not p.requires_grad}
    assert trained.isdisjoint(frozen | {p.data_ptr() for p in exported})


def test_the_exported_encoder_is_frozen_and_starts_as_the_trained_one(
    method: base.Method,
) -> None:
    teacher, student = method.export_encoder(), method.encoder
    assert isinstance(teacher, VisionTransformer)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert all(p.requires_grad for p in student.parameters())
    assert differing(teacher.state_dict(), student.state_dict()) == set()


def test_looking_changes_nothing(method: base.Method, make_blobs: MakeBlobs) -> None:
    before, random = snapshot(method), torch.get_rng_state()
    method.step(make_blobs(4, 1), seeded(1)).loss.backward()
    assert differing(before, snapshot(method)) == set()
    assert torch.equal(torch.get_rng_state(), random)


def test_same_generator_same_loss_and_another_draws_other_masks(
    method: base.Method, make_blobs: MakeBlobs
) -> None:
    video = make_blobs(4, 1)
    losses = [method.step(video, seeded(seed)).loss.item() for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


def test_loss_and_metrics_are_finite_single_numbers(
    method: base.Method, make_blobs: MakeBlobs
) -> None:
    output = method.step(make_blobs(4, 1), seeded(1))
    for value in (output.loss, *output.metrics.values()):
        assert value.shape == ()
        assert torch.isfinite(value)
    assert output.metrics
    assert not any(value.requires_grad for value in output.metrics.values())
    assert not any(value.requires_grad for value in output.state.values())


def test_gradient_reaches_all_that_is_trained_and_nothing_else(
    method: base.Method, make_blobs: MakeBlobs
) -> None:
    method.step(make_blobs(4, 1), seeded(1)).loss.backward()
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name
        else:
            assert parameter.grad is None, name


def test_gradient_reaches_the_encoder_in_bfloat16(
    method: base.Method, make_blobs: MakeBlobs
) -> None:
    # Autocast keeps cast weights: a teacher that ran first must not leave its copies behind.
    with torch.autocast("cpu", torch.bfloat16):
        loss = method.step(make_blobs(4, 1), seeded(1)).loss
    loss.backward()
    assert all(p.grad is not None for p in method.encoder.parameters())


def test_after_step_moves_the_teacher_alone_and_towards_the_student(
    method: base.Method, make_blobs: MakeBlobs
) -> None:
    with torch.no_grad():
        for parameter in method.encoder.parameters():
            parameter += 0.1
    student = {name: t.clone() for name, t in method.encoder.state_dict().items()}
    teacher = method.export_encoder().state_dict()
    distance = {name: (student[name] - t).abs().sum() for name, t in teacher.items()}
    output = method.step(make_blobs(4, 1), seeded(1))
    method.after_step(0.0, output.state)
    for name, moved in method.export_encoder().state_dict().items():
        if has_teacher(method):
            assert 0 < (student[name] - moved).abs().sum() < distance[name], name
        else:
            assert torch.equal(moved, student[name]), name
    assert differing(student, method.encoder.state_dict()) == set()


def test_the_whole_state_is_saved(
    method_name: str, make_method: MakeMethod, make_blobs: MakeBlobs, make_batches: MakeBatches
) -> None:
    config = OptimConfig(steps=3, warmup_steps=1)
    trained, fresh = make_method(method_name), make_method(method_name, seed=9)
    list(train(trained, make_batches(4, 0, 3), config, seeded(0)))
    fresh.load_state_dict(trained.state_dict())
    video = make_blobs(4, 7)
    assert torch.equal(trained.step(video, seeded(1)).loss, fresh.step(video, seeded(1)).loss)


def test_longer_larger_clips_work(method: base.Method) -> None:
    video = torch.randn(2, 1, 6, 40, 32, generator=seeded(0))
    assert torch.isfinite(method.step(video, seeded(1)).loss)


def test_default_settings_suit_one_clip_of_a_small_encoder(method_name: str) -> None:
    from echocli.models.vit import ViTConfig

    module = base.load(method_name)
    shape = ViTConfig(frames=4, size=32, tubelet=(2, 8, 8), dim=32, depth=1, heads=1)
    method = module.build(shape, module.Config(), seeded(0))
    output = method.step(torch.randn(1, 1, 4, 32, 32, generator=seeded(0)), seeded(1))
    assert torch.isfinite(output.loss)
    assert all(torch.isfinite(value) for value in output.metrics.values())
