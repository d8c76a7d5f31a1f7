"""What a step needs is what a step that is taken holds, part by part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import torch
from made_models import MICRO, SMALLER, blobs
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from echocli.models.ema import make_teacher
from echocli.models.memory import Memory, build_empty, size_of, step_memory
from echocli.models.methods import base
from echocli.models.optim import OptimConfig, build_optimizer
from echocli.models.team import Team
from echocli.models.training import Precision, look

BATCH = 4
SHAPE = (BATCH, 1, MICRO.frames, MICRO.size, MICRO.size)
WIDE = replace(MICRO, dim=96)
"""So wide that activations outweigh what a counter may miss."""
Way = tuple[Precision, bool, int]
"""Precision, whether blocks are computed twice, parts of a step."""
PLAIN: Way = ("fp32", False, 1)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def built(name: str, way: Way = PLAIN) -> base.Method:
    module = base.load(name)
    encoder = replace(WIDE, recompute=way[1])
    method = module.build(encoder, module.Config(**SMALLER[name]), seeded())
    method.team = Team(parts=way[2])
    return method.train()


@cache
def needed(name: str, way: Way = PLAIN, batch: int = BATCH) -> Memory:
    return step_memory(built(name, way), (batch, *SHAPE[1:]), seeded(), precision=way[0])


def fullest(method: base.Method) -> base.Draws:
    """The most that the masks of a few steps show and hide."""
    generator, grid = seeded(), method.encoder.grid(SHAPE)
    return max((method.draw(BATCH, grid, generator) for _ in range(8)), key=size_of)


def take(method: base.Method, precision: Precision = "fp32") -> None:
    look(method, method, blobs(BATCH, 0), fullest(method), precision)


def most_allocated(step: Callable[[], None]) -> int:
    """Return the greatest sum of bytes that PyTorch's allocator says it gave and got back."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step()
    assert seen.profiler is not None
    results = seen.profiler.kineto_results
    assert results is not None
    moves = [event for event in results.events() if event.name() == "[memory]"]
    now = most = 0
    for event in sorted(moves, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


@pytest.mark.parametrize(
    ("name", "way"),
    [
        *((name, PLAIN) for name in base.available()),
        ("videomae", ("bf16", False, 1)),
        ("videomae", ("fp32", True, 1)),
        ("videomae", ("fp32", False, 2)),
    ],
)
def test_a_step_holds_what_the_allocator_gives_it(name: str, way: Way) -> None:
    method = built(name, way)
    take(method, way[0])  # what is made once, such as positions, is there already
    for parameter in method.parameters():
        parameter.grad = None
    given = most_allocated(lambda: take(method, way[0]))
    found = needed(name, way)
    assert found.activations + found.gradients == pytest.approx(given, rel=0.15)


def test_backward_keeps_less_than_the_activations(method_name: str) -> None:
    method = built(method_name)
    own = {p.untyped_storage().data_ptr() for p in method.parameters()}
    kept: dict[int, int] = {}
    alive: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        method(blobs(BATCH, 0), fullest(method))
    found, least = needed(method_name), sum(kept.values())
    assert 0.5 * least < found.activations + found.gradients
    assert least <= found.activations + found.gradients + found.batch


def test_every_other_part_is_the_sum_of_its_tensors(method_name: str) -> None:
    method, found = built(method_name), needed(method_name)
    optimizer = build_optimizer(method, OptimConfig())
    take(method)
    trained = [p for p in method.parameters() if p.requires_grad]
    gradients = [p.grad for p in trained if p.grad is not None]
    optimizer.step()
    moments = [t for state in optimizer.state.values() for t in state.values() if t.ndim]
    fixed = [p for p in method.parameters() if not p.requires_grad]
    assert found.weights == sum(p.nbytes for p in trained)
    assert found.gradients == sum(g.nbytes for g in gradients)
    assert found.moments == sum(t.nbytes for t in moments)
    assert found.teachers == sum(t.nbytes for t in (*fixed, *method.buffers()))
    assert found.batch == blobs(BATCH, 0).nbytes + size_of(fullest(method))
    parts = found.weights + found.gradients + found.moments + found.teachers + found.batch
    assert found.total == parts + found.activations


def test_frozen_blocks_need_neither_gradient_nor_moments() -> None:
    config = base.load("vjepa").Config(**SMALLER["vjepa"], frozen_blocks=1)
    frozen = step_memory(build_empty("vjepa", WIDE, config), SHAPE, seeded())
    free = needed("vjepa")
    assert frozen.gradients == frozen.weights < free.weights
    assert frozen.moments == 2 * frozen.gradients
    assert frozen.teachers == free.teachers  # shared: kept once
    assert frozen.total < free.total


def test_an_empty_method_has_the_shapes_of_a_real_one(method_name: str) -> None:
    module, state = base.load(method_name), torch.get_rng_state()
    empty = build_empty(method_name, WIDE, module.Config(**SMALLER[method_name]))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(tensor.is_meta for tensor in (*empty.parameters(), *empty.buffers()))
    real = built(method_name).state_dict()
    shapes = {name: tensor.shape for name, tensor in empty.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in real.items()}
    trained = {name for name, p in empty.named_parameters() if p.requires_grad}
    assert trained == {n for n, p in built(method_name).named_parameters() if p.requires_grad}


def test_a_step_of_shapes_needs_what_one_of_numbers_does() -> None:
    empty = build_empty("videomae", WIDE, base.load("videomae").Config(**SMALLER["videomae"]))
    assert step_memory(empty, SHAPE, seeded()) == needed("videomae")


def test_nothing_is_computed_and_the_method_stays_as_it_is() -> None:
    method = built("videomae")
    before = make_teacher(method).state_dict()
    step_memory(method, SHAPE, seeded())
    assert all(p.grad is None for p in method.parameters())
    assert all(torch.equal(t, before[name]) for name, t in method.state_dict().items())


@pytest.mark.parametrize(
    ("way", "batch", "least", "most"),
    [
        (PLAIN, 32, 1.8, 2.2),
        (("fp32", False, 2), 16, 0.4, 0.8),
        (("fp32", True, 1), 16, 0.2, 0.8),
    ],
)
def test_memory_follows_clips_parts_and_recomputation(
    way: Way, batch: int, least: float, most: float
) -> None:
    usual, other = needed("videomae", PLAIN, 16), needed("videomae", way, batch)
    ratio = (other.activations + other.gradients) / (usual.activations + usual.gradients)
    assert least < ratio < most
