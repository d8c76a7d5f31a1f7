"""The attentive pooler, token by token, as V-JEPA and V-JEPA 2 describe their probes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

Weights = dict[str, Tensor]
"""Under the names of ``AttentivePooler``."""


def affine(x: Tensor, weights: Weights, name: str) -> Tensor:
    """One linear layer on one vector."""
    return weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]


def normal(x: Tensor, weights: Weights, name: str) -> Tensor:
    """LayerNorm with epsilon 1e-5 of one vector."""
    spread = ((x - x.mean()) ** 2).mean()
    unit = (x - x.mean()) / torch.sqrt(spread + 1e-5)
    return unit * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def mlp(x: Tensor, weights: Weights, name: str) -> Tensor:
    """Two layers with the exact GELU between, of one vector."""
    inner = affine(x, weights, f"{name}.fc1")
    lively = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
    return affine(lively, weights, f"{name}.fc2")


def attend(query: Tensor, keys: list[Tensor], values: list[Tensor], heads: int) -> Tensor:
    """Attention of one query, head by head."""
    width = len(query) // heads
    out = torch.zeros_like(query)
    for head in range(heads):
        own = slice(head * width, (head + 1) * width)
        scores = torch.stack([query[own] @ key[own] / math.sqrt(width) for key in keys])
        shares = torch.exp(scores) / torch.exp(scores).sum()
        for share, value in zip(shares, values, strict=True):
            out[own] += share * value[own]
    return out


def self_attention_block(
    tokens: list[Tensor], weights: Weights, name: str, heads: int
) -> list[Tensor]:
    """One pre-norm block: every token looks at all, then goes through the MLP."""
    inner = [normal(token, weights, f"{name}.norm1") for token in tokens]
    parts = [affine(token, weights, f"{name}.attn.qkv").chunk(3) for token in inner]
    keys, values = [part[1] for part in parts], [part[2] for part in parts]
    found = []
    for token, (query, _, _) in zip(tokens, parts, strict=True):
        seen = attend(query, keys, values, heads)
        token = token + affine(seen, weights, f"{name}.attn.proj")
        found.append(
            token + mlp(normal(token, weights, f"{name}.norm2"), weights, f"{name}.mlp")
        )
    return found


def pooled(clip: Tensor, weights: Weights, heads: int, depth: int) -> Tensor:
    """The vector of one clip, from its tokens (tokens, dim)."""
    tokens = list(clip)
    for index in range(depth - 1):
        tokens = self_attention_block(tokens, weights, f"blocks.{index}", heads)
    inner = [normal(token, weights, "norm1") for token in tokens]
    pairs = [affine(token, weights, "attn.kv").chunk(2) for token in inner]
    query = weights["query"][0, 0]
    asked = affine(query, weights, "attn.q")
    gathered = query + attend(asked, [p[0] for p in pairs], [p[1] for p in pairs], heads)
    return gathered + mlp(normal(gathered, weights, "norm2"), weights, "mlp")
