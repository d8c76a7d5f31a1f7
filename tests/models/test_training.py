"""The loop: schedules, exact resume, and no randomness but its own."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from echocli.clips.contract import DataConfig
from echocli.clips.windows import to_video
from echocli.models.augment import AugmentConfig
from echocli.models.methods import base
from echocli.models.optim import OptimConfig, build_optimizer, shorten
from echocli.models.schedules import learning_rate, schedule, weight_decay
from echocli.models.sector import Scan
from echocli.models.training import Precision, train
from echocli.models.work import empty_twin

MakeMethod = Callable[..., base.Method]
MakeBatches = Callable[..., Any]
CONFIG = OptimConfig(steps=6, warmup_steps=2, lr=1e-3, weight_decay=0.1, weight_decay_end=0.4)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("batch", 0),
        ("lr", 0.0),
        ("start_lr", -1.0),
        ("clip", -1.0),
        ("stretch", 0.5),
        ("cooldown", 1.5),
        ("cooldown", 0.1),  # of a cosine
    ],
)
def test_numbers_that_cannot_be_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        replace(CONFIG, **{name: value})


def test_only_weights_of_linear_layers_decay(method: base.Method) -> None:
    optimizer = build_optimizer(method, CONFIG)
    schedule(optimizer, 3, CONFIG)
    names = {id(p): name for name, p in method.named_parameters()}
    decays, spared = ({names[id(p)] for p in g["params"]} for g in optimizer.param_groups)
    found = [group["weight_decay"] for group in optimizer.param_groups]
    assert found == [weight_decay(3, CONFIG), 0.0]
    assert any("mlp.fc1.weight" in name for name in decays)
    assert all(name.endswith("weight") and "norm" not in name for name in decays)
    assert any("norm1.weight" in name for name in spared)
    trained = {name for name, p in method.named_parameters() if p.requires_grad}
    assert decays | spared == trained


def test_all_but_biases_and_vectors_decay_as_published(method: base.Method) -> None:
    optimizer = build_optimizer(method, replace(CONFIG, decayed="published"))
    names = {id(p): name for name, p in method.named_parameters()}
    decayed, spared = ({names[id(p)] for p in g["params"]} for g in optimizer.param_groups)
    assert all(name.endswith("bias") or "norm" in name for name in spared)
    assert not any(name.endswith("bias") or "norm" in name for name in decayed)
    assert any("token" in name for name in decayed)  # of masks or of the class


@pytest.mark.parametrize("longest", [math.inf, 0.5, 1e6])
def test_gradients_are_shortened_as_pytorch_does_it(longest: float) -> None:
    ours, theirs = [
        [torch.nn.Parameter(torch.zeros(3, 4)), *make_weights(seeded())] for _ in range(2)
    ]
    assert ours[0].grad is None, "a weight that nothing asked for"
    length = shorten(ours, longest)
    expected = torch.nn.utils.clip_grad_norm_(theirs, longest)
    assert length == expected
    for mine, other in zip(ours[1:], theirs[1:], strict=True):
        assert mine.grad is not None
        assert other.grad is not None
        assert torch.equal(mine.grad, other.grad)
        assert (mine.grad.norm() < 0.5) or longest > 0.5


def make_weights(generator: torch.Generator) -> list[torch.nn.Parameter]:
    weights = []
    for shape in ((5,), (7, 3), (2, 3, 4)):
        weight = torch.nn.Parameter(torch.zeros(shape))
        weight.grad = torch.randn(shape, generator=generator)
        weights.append(weight)
    return weights


def test_records_tell_the_step(method: base.Method, make_batches: MakeBatches) -> None:
    records = list(train(method, make_batches(4, 0, 6), CONFIG, seeded()))
    assert [r.step for r in records] == list(range(6))
    assert [r.lr for r in records] == [learning_rate(step, CONFIG) for step in range(6)]
    assert all(r.loss > 0 and r.grad_norm > 0 and r.metrics for r in records)
    assert "loss" not in records[0].metrics


def test_training_ends_with_its_steps_or_its_batches(
    method: base.Method, make_batches: MakeBatches
) -> None:
    batches = make_batches(4, 0, 9)
    assert len(list(train(method, batches, CONFIG, seeded()))) == 6
    assert len(list(batches)) == 3  # none was taken in vain
    assert len(list(train(method, make_batches(4, 0, 2), CONFIG, seeded()))) == 2


def straight_and_resumed(
    name: str, make_method: MakeMethod, make_batches: MakeBatches, **options: Any
) -> tuple[list[float], list[float], base.Method, base.Method]:
    straight = make_method(name)
    losses = [
        r.loss for r in train(straight, make_batches(4, 0, 6), CONFIG, seeded(), **options)
    ]

    first = make_method(name)
    optimizer = build_optimizer(first, CONFIG)
    begun = train(
        first, make_batches(4, 0, 3), CONFIG, seeded(), optimizer=optimizer, **options
    )
    resumed_losses = [r.loss for r in begun]
    file = io.BytesIO()
    torch.save({"method": first.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)

    resumed = make_method(name, seed=99)
    resumed.load_state_dict(saved["method"])
    optimizer = build_optimizer(resumed, CONFIG)
    optimizer.load_state_dict(saved["optimizer"])
    options |= {"start": 3, "optimizer": optimizer}
    rest = train(resumed, make_batches(4, 3, 6), CONFIG, seeded(), **options)
    resumed_losses += [r.loss for r in rest]
    return losses, resumed_losses, straight, resumed


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_resumed_run_equals_a_straight_one_bit_for_bit(
    method_name: str, precision: str, make_method: MakeMethod, make_batches: MakeBatches
) -> None:
    losses, resumed_losses, straight, resumed = straight_and_resumed(
        method_name,
        make_method,
        make_batches,
        augmentation=AugmentConfig(),
        precision=precision,
    )
    assert losses == resumed_losses
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_the_seed_decides_and_global_randomness_is_left_alone(
    method_name: str, make_method: MakeMethod, make_batches: MakeBatches
) -> None:
    def losses(seed: int) -> list[float]:
        method = make_method(method_name)
        options = {"augmentation": AugmentConfig()}
        records = train(method, make_batches(4, 0, 2), CONFIG, seeded(seed), **options)
        return [r.loss for r in records]

    before = torch.get_rng_state()
    assert losses(1) == losses(1) != losses(2)
    assert torch.equal(torch.get_rng_state(), before)


def test_steps_draw_different_masks(method_name: str, make_method: MakeMethod) -> None:
    video = torch.randn(4, 1, 4, 32, 32, generator=seeded())
    config = OptimConfig(steps=3, warmup_steps=0, lr=1e-12, min_lr=1e-12)
    records = train(make_method(method_name), [video] * 3, config, seeded())
    assert len({round(r.loss, 6) for r in records}) == 3


def test_weights_stay_float32_in_bfloat16_runs_and_losses_agree(
    method_name: str, make_method: MakeMethod, make_batches: MakeBatches
) -> None:
    runs = {}
    for precision in ("fp32", "bf16"):
        method = make_method(method_name)
        records = train(method, make_batches(4, 0, 3), CONFIG, seeded(), precision=precision)
        runs[precision] = [r.loss for r in records]
        assert all(p.dtype == torch.float32 for p in method.parameters())
    assert runs["bf16"] == pytest.approx(runs["fp32"], rel=0.03)
    assert runs["bf16"] != runs["fp32"]


class Waits(TorchDispatchMode):
    """Remember what waits for a GPU: numbers that are read, shapes that depend on numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        reads = "_local_scalar_dense" in str(func)
        shaped = torch.Tag.dynamic_output_shape in func.tags
        if shaped and func is torch.ops.aten.index.Tensor:  # by ids its shape is known
            shaped = any(ids is not None and ids.dtype == torch.bool for ids in args[1])
        if reads or shaped:
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_step_waits_for_nothing_but_its_masks(
    method: base.Method,
    precision: Precision,
    parts: int,
    make_batches: MakeBatches,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batches = list(make_batches(4, 0, 3))
    drawn = method.draw(4, method.encoder.grid(batches[0].shape), seeded())
    monkeypatch.setattr(method, "draw", lambda *given: drawn)  # on the CPU, ahead of the device
    config = replace(CONFIG, parts=parts, clip=1e-3)  # every gradient is shortened
    steps = train(
        method, batches, config, seeded(), augmentation=AugmentConfig(), precision=precision
    )
    next(steps)
    with Waits() as waits:
        next(steps)
    assert waits.found == []


class Sent(TorchDispatchMode):
    """Remember what is sent to another device, and whether what is under way waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[bool] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default and made.device != args[0].device:
            self.waited.append(not (kwargs or {}).get("non_blocking"))
        elif func is torch.ops.aten.copy_.default and args[0].device != args[1].device:
            self.waited.append(not (len(args) > 2 and args[2]))
        return made


def test_masks_and_crops_alone_are_sent_and_nothing_waits_for_them(
    method: base.Method, make_batches: MakeBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A device that computes shapes only stands for a GPU: what lies elsewhere is refused.
    monkeypatch.setattr(torch, "autocast", lambda *given, **more: nullcontext())
    twin = empty_twin(method, "meta")
    groups = [{"params": list(twin.encoder.parameters()), "decays": True}]
    optimizer = torch.optim.AdamW(groups, foreach=True)  # the fused one knows no such device
    batches = [Scan(video.to("meta"), torch.ones(4, 32, 32)) for video in make_batches(4, 0, 2)]
    steps = train(
        twin,
        batches,
        CONFIG,
        seeded(),
        optimizer=optimizer,
        augmentation=AugmentConfig(),
        share=0.75,
    )
    with Sent() as sent:
        assert [record.values.device.type for record in steps] == ["meta", "meta"]
    assert sent.waited, "masks are drawn elsewhere"
    assert not any(sent.waited)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU of NVIDIA's")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_a_step_on_a_gpu_never_waits(method: base.Method) -> None:
    data = DataConfig(frames=4, size=32)
    bytes_ = torch.randint(0, 256, (3, 4, 4, 32, 32), dtype=torch.uint8).to("cuda")
    steps = train(
        method.to("cuda"),
        (to_video(windows, data) for windows in bytes_),
        CONFIG,
        seeded(),
        augmentation=AugmentConfig(),
        precision="bf16",
    )
    next(steps)
    torch.cuda.set_sync_debug_mode("error")
    try:
        record = next(steps)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert math.isfinite(record.loss)


def test_the_watch_for_waits_sees_them() -> None:
    numbers = torch.arange(4)
    with Waits() as waits:
        numbers[numbers > 1]
        numbers.nonzero()
        numbers.sum().item()
        numbers[torch.tensor([0, 2])]
    assert len(waits.found) == 3
