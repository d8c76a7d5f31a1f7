"""Operations are those that the layers of a step would add up to, and none is computed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from made_models import MICRO, SMALLER, blobs
from torch import Tensor, nn

from echocli.models.layers import MLP, Attention
from echocli.models.methods import base
from echocli.models.work import count_operations

SHAPE = (4, 1, 4, 32, 32)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def added_up(method: base.Method) -> int:
    """Run a step and add up its layers: backward is twice forward, but for the pixels."""
    total = 0

    def linear(layer: nn.Linear, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal total
        rows = inputs[0].numel() // layer.in_features
        products = 3 if inputs[0].requires_grad else 2
        total += products * 2 * rows * layer.in_features * layer.out_features

    def attention(layer: Attention, inputs: tuple[Any, ...], output: Tensor) -> None:
        nonlocal total
        batch, tokens, dim = inputs[0].shape
        total += 3 * 2 * 2 * batch * tokens * tokens * dim

    for part in method.modules():
        if isinstance(part, MLP):  # calls its first layer's numbers, not the layer
            part.register_forward_hook(lambda mlp, inputs, out: linear(mlp.fc1, inputs, out))
        elif isinstance(part, nn.Linear):
            part.register_forward_hook(linear)
        elif isinstance(part, Attention):
            part.register_forward_hook(attention)
    method.step(blobs(4, 0), seeded())
    return total


def test_all_layers_are_counted_with_their_gradients(
    make_method: Callable[..., base.Method],
) -> None:
    counted = count_operations(make_method("videomae"), SHAPE, seeded())
    assert counted == added_up(make_method("videomae")) > 0


def test_what_is_computed_again_counts_once(method_name: str) -> None:
    counts = []
    for recompute in (False, True):
        module = base.load(method_name)
        config = module.Config(**SMALLER[method_name])
        method = module.build(replace(MICRO, recompute=recompute), config, seeded())
        counts.append(count_operations(method, SHAPE, seeded()))
    assert counts[0] == counts[1]


def test_the_method_stays_as_it_is(method: base.Method) -> None:
    before = {name: value.clone() for name, value in method.state_dict().items()}
    count_operations(method, SHAPE, seeded())
    assert all(p.grad is None for p in method.parameters())
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


def test_work_grows_with_clips_and_with_what_is_seen(method: base.Method) -> None:
    some = torch.arange(12).expand(4, -1)  # of 16 columns
    whole, twice = (count_operations(method, (n, *SHAPE[1:]), seeded()) for n in (4, 8))
    assert math.isclose(twice, 2 * whole, rel_tol=0.35)  # masks differ
    assert count_operations(method, SHAPE, seeded(), some) < whole
