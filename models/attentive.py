"""The attentive pooler: a learned query gathers from all tokens of a clip."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .layers import MLP, Block, Blocks, learned_token, linear
from .shapes import Embedding, Tokens

PROBE_EPS = 1e-5
"""Added to the variance in the probe's LayerNorms; the encoders have 1e-6."""


class CrossAttention(nn.Module):
    """Multi-head attention of some queries to other tokens, without a last projection."""

    def __init__(self, dim: int, heads: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.heads = heads
        self.q = linear(dim, dim, generator)
        self.kv = linear(dim, 2 * dim, generator)

    def forward(
        self,
        queries: Float[Tensor, "batch queries dim"],
        tokens: Tokens,
        seen: Bool[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch queries dim"]:
        """Return, for every query, a mean of the values of the tokens that are seen."""
        batch, _, dim = tokens.shape
        split = (batch, -1, self.heads, dim // self.heads)
        query = self.q(queries).view(split).transpose(1, 2)
        key, value = (
            part.reshape(split).transpose(1, 2) for part in self.kv(tokens).chunk(2, -1)
        )
        mask = None if seen is None else seen[:, None, None]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return mixed.transpose(1, 2).flatten(2)


class AttentivePooler(nn.Module):
    """One vector of a clip: a learned query attends to its tokens, then an MLP.

    Args:
        dim: Width of a token.
        heads: Attention heads; the published probes have as many as their encoder.
        depth: Blocks, the cross-attention counted: 1 is V-JEPA's probe, 4 is V-JEPA 2's, whose
            first three let the tokens look at each other.
        generator: Source of the weights. Without one they are shapes that hold no numbers.
        mlp_ratio: Width inside the MLPs, as a multiple of ``dim``.

    Source:
        V-JEPA (Bardes et al. 2024, arXiv 2404.08471), appendix on the attentive probe; V-JEPA 2
        (Assran et al. 2025, arXiv 2506.09985), its four-layer probe.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        depth: int,
        generator: torch.Generator | None,
        *,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        if depth < 1 or dim % heads:
            raise ValueError(f"depth is {depth}, and {heads} heads must divide width {dim}.")
        self.query = learned_token(dim, generator)
        self.blocks = Blocks(dim, depth - 1, heads, mlp_ratio, generator, norm_eps=PROBE_EPS)
        self.norm1 = nn.LayerNorm(dim, eps=PROBE_EPS)
        self.attn = CrossAttention(dim, heads, generator)
        self.norm2 = nn.LayerNorm(dim, eps=PROBE_EPS)
        self.mlp = MLP(dim, round(dim * mlp_ratio), generator)

    def forward(
        self, tokens: Tokens, seen: Bool[Tensor, "batch tokens"] | None = None
    ) -> Embedding:
        """Gather the tokens of each row.

        Args:
            tokens: Of a clip, or of several clips one after the other.
            seen: Which of them are there, at least one; all if left out. What stands in the
                place of the others changes nothing.
        """
        if seen is None:
            tokens = self.blocks(tokens)
        else:
            for block in self.blocks:
                tokens = _among(block, tokens, seen)
        tokens = self.norm1(tokens)
        query = self.query.expand(len(tokens), -1, -1)
        gathered = query + self.attn(query, tokens, seen)
        pooled: Tensor = gathered + self.mlp(self.norm2(gathered))
        return pooled[:, 0]


def _among(block: nn.Module, tokens: Tokens, seen: Bool[Tensor, "batch tokens"]) -> Tokens:
    """Pass tokens through a block in which they look at those alone that are seen."""
    assert isinstance(block, Block)
    query, key, value = block.attn.parts(block.norm1(tokens), None)
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=seen[:, None, None])
    tokens = tokens + block.attn.proj(mixed.transpose(1, 2).flatten(2))
    changed: Tensor = tokens + block.mlp(block.norm2(tokens))
    return changed
