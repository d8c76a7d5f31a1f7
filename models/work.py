"""How much a training step computes, counted without computing it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from .layers import Blocks
from .methods.base import Method
from .shapes import Places

Shape: TypeAlias = Sequence[int]


def count_operations(
    method: Method, shape: Shape, generator: torch.Generator, places: Places | None = None
) -> int:
    """Return the floating point operations of a step's matrix products, forward and backward.

    Nothing is computed and the method stays as it is. What is computed a second time to save
    memory, blocks or attention, counts once: that is cost, not work.

    Args:
        method: On any device.
        shape: Of a batch of clips.
        generator: Source of the masks of the step that is counted.
        places: What may be seen; see ``Method.draw``.
    """
    draws = method.draw(shape[0], method.encoder.grid(shape), generator, places)
    with FakeTensorMode(allow_non_fake_inputs=True):
        twin = empty_twin(method)
        for part in twin.modules():
            if isinstance(part, Blocks):
                part.recompute = False
        with FlopCounterMode(display=False, custom_mapping=OWN) as counter:
            twin(torch.empty(tuple(shape)), draws).loss.backward()
    return int(counter.get_total_flops())


def empty_twin(method: Method, device: str = "cpu") -> Method:
    """Return a copy that holds no numbers, to be made and used among fake tensors.

    Args:
        method: On any device, ``meta`` too.
        device: Where the copy believes to be. What is called on the CPU is known to ``OWN``.
    """
    numbers: dict[int, Tensor] = {}
    for own in (*method.parameters(), *method.buffers()):
        empty = torch.empty_like(own, device=device)
        trained = isinstance(own, nn.Parameter)
        numbers[id(own)] = nn.Parameter(empty, own.requires_grad) if trained else empty
    return copy.deepcopy(method, numbers)


def product_work(rows: Shape, weight: Shape, *_: object, **__: object) -> int:
    """Return the operations of ``rows @ weight.T``."""
    return 2 * math.prod(rows) * weight[0]


def attention_work(query: Shape, key: Shape, value: Shape, *_: object, **__: object) -> int:
    """Return the operations of attention: scores, and the values mixed by them."""
    return 2 * math.prod(query[:3]) * key[2] * (query[3] + value[3])


def gradient_work(
    grad: Shape, query: Shape, key: Shape, value: Shape, *_: object, **__: object
) -> int:
    """Return the operations of attention's gradient: two products for each of its two."""
    return 2 * attention_work(query, key, value)


OWN: dict[Any, Callable[..., int]] = {
    torch.ops.echocli.product: product_work,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention_work,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: gradient_work,
}
"""What PyTorch's counter does not know of a step in float32 on a processor."""
