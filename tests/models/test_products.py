"""Our product with weights against PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from echocli.models.products import Linear, affine, affine_gelu, product


def made(shape: tuple[int, ...], *, offset: bool) -> list[Any]:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(*shape, 24, generator=generator)
    weight = torch.randn(10, 24, generator=generator)
    return [rows, weight, torch.randn(10, generator=generator) if offset else None]


@pytest.mark.parametrize("shape", [(5,), (3, 7), (1, 1), (2, 3, 4)])
@pytest.mark.parametrize("offset", [True, False])
def test_value_and_gradients_are_those_of_pytorch(shape: tuple[int, ...], offset: bool) -> None:
    found = []
    computed: tuple[Callable[..., Any], ...] = (product, F.linear)
    for compute in computed:
        leaves = [p if p is None else p.requires_grad_() for p in made(shape, offset=offset)]
        out = compute(*leaves)
        out.square().sum().backward()
        found.append([out, *(leaf.grad for leaf in leaves if leaf is not None)])
    for ours, theirs in zip(*found, strict=True):
        assert_close(ours, theirs, rtol=1e-5, atol=1e-4)


def test_rows_may_be_a_view_with_gaps() -> None:
    rows, weight, offset = made((6, 4), offset=True)
    gaps = rows[::2, 1:].transpose(0, 1)
    assert_close(product(gaps, weight, offset), F.linear(gaps, weight, offset))


def test_other_precisions_are_left_to_pytorch() -> None:
    layer = Linear(24, 10)
    rows, _, _ = made((5,), offset=False)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(rows).dtype == torch.bfloat16
    halves = affine(rows.bfloat16(), layer.weight.bfloat16())
    assert torch.equal(halves, F.linear(rows.bfloat16(), layer.weight.bfloat16()))


@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize("offset", [True, False])
def test_bfloat16_gives_what_its_digits_allow(learning: bool, offset: bool) -> None:
    """By another way where no gradient is asked for."""
    rows, weight, more = made((6, 4), offset=offset)
    exact = F.linear(rows, weight, more)
    with torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(learning):
        found = affine(rows, weight, more)
    assert found.dtype == torch.bfloat16
    assert (found.float() - exact).norm() < 0.01 * exact.norm()


@pytest.mark.parametrize("learning", [True, False])
@pytest.mark.parametrize("half", [True, False])
def test_gelu_is_the_exact_one(learning: bool, half: bool) -> None:
    rows, weight, offset = made((6, 4), offset=True)
    exact = F.gelu(F.linear(rows, weight, offset))
    assert (exact - F.gelu(F.linear(rows, weight, offset), approximate="tanh")).any()
    with (
        torch.autocast("cpu", torch.bfloat16, enabled=half),
        torch.set_grad_enabled(learning),
    ):
        found = affine_gelu(rows, weight, offset)
    assert (found.float() - exact).norm() < (0.01 if half else 1e-5) * exact.norm()


def test_gradients_in_bfloat16_reach_rows_weights_and_offsets() -> None:
    gradients = []
    for half in (True, False):
        leaves = [part.requires_grad_() for part in made((6, 4), offset=True)]
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = affine_gelu(*leaves).float().square().mean()
        gradients.append(torch.autograd.grad(loss, leaves))
    for ours, exact in zip(*gradients, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - exact).norm() < 0.02 * exact.norm()


def test_the_operator_keeps_the_rules_of_compilation() -> None:
    leaves = [p if p is None else p.requires_grad_() for p in made((3, 2), offset=True)]
    torch.library.opcheck(product, tuple(leaves))
