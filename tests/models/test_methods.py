"""What every method promises; a new file in the folder is tested without being named here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

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


def test_trained_weights_share_no_memory_with_frozen_or_exported_ones(
    method: base.Method,
) -> None:
    def memory(parameters: Iterable[Tensor]) -> set[int]:
        return {p.untyped_storage().data_ptr() for p in parameters}

    trained = memory(p for p in method.parameters() if p.requires_grad)
    frozen = memory(p for p in method.parameters() if not p.requires_grad)
    assert trained.isdisjoint(frozen | memory(method.export_encoder().parameters()))


def test_the_exported_encoder_is_frozen_and_starts_as_the_trained_one(
    method: base.Method,
) -> None:
    teacher, student = method.export_encoder(), method.encoder
    assert isinstance(teacher, VisionTransformer)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert all(p.requires_grad for p in student.parameters())
    assert differing(teacher.state_dict(), student.state_dict()) == set()


class Chance(TorchDispatchMode):
    """Remember every operation that draws random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        # Attention could drop weights at random; ours never does (its rate is an argument).
        if torch.Tag.nondeterministic_seeded in func.tags and "attention" not in str(func):
            self.drawn.append(str(func))
        return func(*args, **(kwargs or {}))


def test_looking_changes_nothing_and_draws_nothing(
    method: base.Method, make_blobs: MakeBlobs
) -> None:
    video = make_blobs(4, 1)
    draws = method.draw(4, method.encoder.grid(video.shape), seeded(1))
    seen = [video, *draws.values(), *method.parameters(), *method.buffers()]
    before, random = snapshot(method), torch.get_rng_state()
    # A version counts every write, even of what was there before.
    versions = [tensor._version for tensor in seen]
    with Chance() as chance:
        method(video, draws).loss.backward()
    assert chance.drawn == []
    assert [tensor._version for tensor in seen] == versions
    assert differing(before, snapshot(method)) == set()
    assert torch.equal(torch.get_rng_state(), random)


def test_the_watch_for_chance_sees_it() -> None:
    with Chance() as chance:
        torch.nn.functional.dropout(torch.ones(3))
        torch.rand(2, generator=seeded(0))
    assert len(chance.drawn) == 2


def test_masks_depend_on_the_generator_alone_and_cost_no_device(
    method: base.Method, make_blobs: MakeBlobs
) -> None:
    grid, random = method.encoder.grid(make_blobs(1, 1).shape), torch.get_rng_state()
    first = method.draw(4, grid, seeded(1))
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(1)
    method.to("meta")  # where there are no numbers
    generator = seeded(1)
    again, other = (method.draw(4, grid, generator) for _ in range(2))
    assert first.keys() == again.keys()
    for name, ids in first.items():
        assert ids.device.type == again[name].device.type == "cpu"
        assert ids.dtype == torch.int64
        assert torch.equal(ids, again[name]), name
    assert any(
        ids.shape != other[name].shape or not torch.equal(ids, other[name])
        for name, ids in first.items()
    )
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


def test_thirty_steps_lower_the_loss(method: base.Method, make_batches: MakeBatches) -> None:
    config = OptimConfig(steps=30, warmup_steps=4, lr=2e-3)
    losses = [r.loss for r in train(method, make_batches(4, 0, 30), config, seeded(0))]
    assert sum(losses[-5:]) < 0.97 * sum(losses[:5])


def halves(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Return what belongs to the first and to the second half of the clips."""
    first, second = tensor.chunk(2)
    return first, second


def gradients(method: base.Method, parts: Iterable[tuple[Tensor, base.Draws]]) -> list[Tensor]:
    """Return the mean gradient over parts of a batch."""
    method.zero_grad()
    parts = list(parts)
    for video, draws in parts:
        (method(video, draws).loss / len(parts)).backward()
    return [p.grad.clone() for p in method.parameters() if p.grad is not None]


def disagreement(method: base.Method, video: Tensor) -> float:
    """Return how far the gradients of two halves are from that of the whole, relative to it."""
    # Before its first step DISCOVR has no centre but the batch's own.
    method.after_step(0.0, method.step(video, seeded(0)).state)
    draws = method.draw(len(video), method.encoder.grid(video.shape), seeded(1))
    split = [{name: halves(ids)[i] for name, ids in draws.items()} for i in (0, 1)]
    whole = gradients(method, [(video, draws)])
    parts = gradients(method, zip(halves(video), split, strict=True))
    size = torch.stack([g.norm() for g in whole]).norm()
    error = torch.stack([(a - b).norm() for a, b in zip(whole, parts, strict=True)]).norm()
    return float(error / size)


def test_halves_of_a_batch_give_the_gradient_of_the_whole(
    method_name: str, make_method: MakeMethod, make_blobs: MakeBlobs
) -> None:
    # Losses are means over clips, so that gradients may be accumulated ...
    changes = {"cluster_weight": 0.0} if method_name == "discovr" else {}
    assert disagreement(make_method(method_name, **changes), make_blobs(4, 1)) < 1e-5


def test_clusters_belong_to_the_whole_batch(
    make_method: MakeMethod, make_blobs: MakeBlobs
) -> None:
    # ... but DISCOVR's clusters: Sinkhorn balances them over all tokens of the batch.
    assert disagreement(make_method("discovr"), make_blobs(4, 1)) > 1e-3


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
