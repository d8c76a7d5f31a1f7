"""Attention in pieces against attention by its formula."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from echocli.models import attention
from echocli.models.attention import attend, attend_in_pieces

Heads = tuple[Tensor, Tensor, Tensor]


def made(dtype: torch.dtype, batch: int = 3, heads: int = 2, tokens: int = 7) -> Heads:
    """Return queries, keys and values as an encoder has them: views of one tensor."""
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(batch, tokens, 3, heads, 8, generator=generator).to(dtype)
    query, key, value = qkv.permute(2, 0, 3, 1, 4)
    return query, key, value


def by_formula(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    return (scores.exp() / scores.exp().sum(dim=-1, keepdim=True)) @ value


def in_pieces(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    mixed: Tensor = attend_in_pieces(query, key, value)[0]
    return mixed


def gradients(of: Callable[..., Tensor], parts: Heads) -> list[Tensor]:
    leaves = [part.detach().clone().requires_grad_() for part in parts]
    generator = torch.Generator().manual_seed(1)
    out = of(*leaves)
    upstream = torch.randn(out.shape, generator=generator).to(out.dtype)
    return list(torch.autograd.grad(out, leaves, upstream))


@pytest.mark.parametrize("cached", [1, 2 * 7 * 7 * 4, 2**20])
def test_pieces_of_any_size_give_the_formula(
    cached: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "CACHED", cached)
    parts = made(torch.float32)
    assert_close(in_pieces(*parts), by_formula(*parts))
    for ours, theirs in zip(
        gradients(in_pieces, parts), gradients(by_formula, parts), strict=True
    ):
        assert_close(ours, theirs)


@pytest.mark.parametrize("shift", [-400.0, 0.0, 400.0])
def test_scores_of_any_height_give_the_softmax(shift: float) -> None:
    """Of some heads alone: their powers would all be 0, or none a number."""
    query, key, value = (part.clone() for part in made(torch.float32))
    query[..., 0], key[..., 0] = 1.0, 0.0
    key[:, 1, :, 0] = shift * math.sqrt(8)
    parts = query, key, value

    def softmax(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return (query @ key.mT / math.sqrt(8)).softmax(dim=-1) @ value

    assert_close(in_pieces(*parts), softmax(*parts), rtol=1e-3, atol=1e-4)
    for ours, theirs in zip(
        gradients(in_pieces, parts), gradients(softmax, parts), strict=True
    ):
        assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * max(1.0, abs(shift)))


def test_what_is_no_number_stays_none() -> None:
    query, key, value = made(torch.bfloat16)
    key = key.clone()
    key[0, 0, 0, 0] = torch.nan
    assert in_pieces(query, key, value)[0, 0].isnan().all()


@pytest.mark.parametrize("strength", [1.0, 12.0])
def test_bfloat16_is_as_near_to_the_formula_as_its_digits_allow(strength: float) -> None:
    """Also where scores reach 60, and bfloat16 could not tell one from the next."""
    query, key, value = made(torch.bfloat16, tokens=40)
    parts = strength * query, key, value
    query, key, value = (part.float() for part in parts)
    exact = query, key, value
    assert_close(attend(*parts).float(), by_formula(*exact), rtol=0, atol=0.02)
    for ours, theirs in zip(
        gradients(attend, parts), gradients(by_formula, exact), strict=True
    ):
        assert ours.dtype == torch.bfloat16
        assert (ours.float() - theirs).norm() < 0.01 * theirs.norm()


def test_the_operator_keeps_the_rules_of_compilation() -> None:
    leaves = tuple(part.clone().requires_grad_() for part in made(torch.float32))
    torch.library.opcheck(attend_in_pieces, leaves)
