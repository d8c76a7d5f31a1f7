"""Attention on a processor in bfloat16: PyTorch's own, in pieces that stay in the cache."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import FunctionCtx

CACHED = 4 * 2**20
"""Bytes of scores that are worked on at a time; measured, see docs/performance.md."""


def attend(
    query: Float[Tensor, "batch heads asked head"],
    key: Float[Tensor, "batch heads tokens head"],
    value: Float[Tensor, "batch heads tokens head"],
) -> Float[Tensor, "batch heads asked head"]:
    """Return softmax attention.

    PyTorch's fused attention is the fastest anywhere but in bfloat16 on a processor: there its
    inner products run at a fifth of the rate of the matrix products below.
    """
    if query.device.type == "cpu" and query.dtype == torch.bfloat16:
        mixed: Tensor = attend_in_pieces(query, key, value)
        return mixed
    return F.scaled_dot_product_attention(query, key, value)


@torch.library.custom_op(
    "echocli::attend_in_pieces",
    mutates_args=(),
    schema="(Tensor query, Tensor key, Tensor value) -> Tensor",
)
def attend_in_pieces(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return softmax attention; no more than ``CACHED`` bytes of scores exist at a time."""
    q, k, v = flat(query), flat(key), flat(value)
    out = torch.empty_like(q)
    for part in pieces(q, k):
        torch.bmm(weights(q[part], k[part]), v[part], out=out[part])
    return out.view(query.shape)


@attend_in_pieces.register_fake
def _(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return torch.empty_like(query, memory_format=torch.contiguous_format)


@torch.library.custom_op(
    "echocli::attend_in_pieces_backward",
    mutates_args=(),
    schema="(Tensor query, Tensor key, Tensor value, Tensor grad) -> (Tensor, Tensor, Tensor)",
)
def attend_in_pieces_backward(
    query: Tensor, key: Tensor, value: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of queries, keys and values; the weights are computed anew."""
    q, k, v, g = flat(query), flat(key), flat(value), flat(grad)
    dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    scale = q.shape[-1] ** -0.5
    unused = q.new_empty(())
    for part in pieces(q, k):
        p = weights(q[part], k[part])
        torch.bmm(p.mT, g[part], out=dv[part])
        dp = torch.bmm(g[part], v[part].mT)
        ds = torch._softmax_backward_data(dp, p, -1, p.dtype)
        torch.baddbmm(unused, ds, k[part], beta=0, alpha=scale, out=dq[part])
        torch.baddbmm(unused, ds.mT, q[part], beta=0, alpha=scale, out=dk[part])
    return dq.view(query.shape), dk.view(key.shape), dv.view(value.shape)


@attend_in_pieces_backward.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    dq, dk, dv = (
        torch.empty_like(part, memory_format=torch.contiguous_format)
        for part in (query, key, value)
    )
    return dq, dk, dv


def _keep(ctx: FunctionCtx, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    gradients: tuple[Tensor, Tensor, Tensor] = attend_in_pieces_backward(
        *ctx.saved_tensors,  # type: ignore[attr-defined]
        grad,
    )
    return gradients


attend_in_pieces.register_autograd(_backward, setup_context=_keep)


def flat(
    tokens: Float[Tensor, "batch heads tokens head"],
) -> Float[Tensor, "matrices tokens head"]:
    """Return one matrix a clip and head."""
    return tokens.reshape(-1, *tokens.shape[2:])


def pieces(
    query: Float[Tensor, "matrices asked head"], key: Float[Tensor, "matrices tokens head"]
) -> list[slice]:
    """Return slices whose scores fit into ``CACHED`` bytes; one matrix at least."""
    count, asked, _ = query.shape
    step = max(1, CACHED // (asked * key.shape[1] * key.element_size()))
    return [slice(first, first + step) for first in range(0, count, step)]


def weights(
    query: Float[Tensor, "matrices asked head"], key: Float[Tensor, "matrices tokens head"]
) -> Float[Tensor, "matrices asked tokens"]:
    """Return how much of every value each token takes."""
    scale = query.shape[-1] ** -0.5
    scores = torch.baddbmm(query.new_empty(()), query, key.mT, beta=0, alpha=scale)
    return scores.softmax(dim=-1)
