"""The parts of a vision transformer: patch embedding, attention, block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .attention import attend
from .products import Linear, affine, affine_gelu
from .shapes import Grey, Grid, Tokens, Video

NORM_EPS = 1e-6
Rotation: TypeAlias = Float[Tensor, "2 #rows 1 tokens head"]
"""Cosines and sines by which the channels of queries and keys turn."""
Normalise: TypeAlias = Callable[[Shaped[Tensor, "rows kept grey"]], Tensor]
"""From grey pixels of tubelets to what a network is used to, ``(rows, kept, pixels)``."""


def linear(
    inputs: int, outputs: int, generator: torch.Generator | None, *, bias: bool = True
) -> nn.Linear:
    """Return a linear layer with Xavier-uniform weights drawn from ``generator`` and no offset.

    Xavier scales with the width, so narrow models start as lively as wide ones; at the width of
    ViT-L it is close to the fixed 0.02 of V-JEPA. The global random state is left alone.
    Without a generator the layer is a shape that holds no numbers, to be given some.
    """
    layer = Linear(inputs, outputs, bias=bias, device="meta")
    if generator is None:
        return layer
    weight = nn.init.xavier_uniform_(torch.empty(outputs, inputs), generator=generator)
    layer.weight = nn.Parameter(weight)
    if bias:
        layer.bias = nn.Parameter(torch.zeros(outputs))
    return layer


def learned_token(dim: int, generator: torch.Generator | None) -> nn.Parameter:
    """Return a learned vector of small random numbers, shaped to sit among tokens."""
    if generator is None:
        return nn.Parameter(torch.empty(1, 1, dim, device="meta"))
    token = torch.empty(1, 1, dim)
    return nn.Parameter(nn.init.trunc_normal_(token, std=0.02, generator=generator))


def take(
    tokens: Shaped[Tensor, "batch tokens dim"], ids: Int[Tensor, "rows kept"]
) -> Shaped[Tensor, "rows kept dim"]:
    """Pick tokens by id.

    Args:
        tokens: What to pick from.
        ids: One row a view; row ``b * views + v`` picks from clip ``b``.
    """
    batch, count, dim = tokens.shape
    first = count * torch.arange(batch, device=ids.device)
    flat = (ids.reshape(batch, -1) + first[:, None]).flatten()
    # Whole rows are moved at once; gather takes number by number and ten times as long.
    return tokens.reshape(-1, dim).index_select(0, flat).view(*ids.shape, dim)


def cut_patches(
    video: Shaped[Tensor, "batch channels frames height width"], tubelet: Grid
) -> Shaped[Tensor, "batch tokens pixels"]:
    """Cut clips into tubelets; pixels of one are ordered channel, time, row, column.

    Args:
        video: Clips, of numbers of any kind.
        tubelet: Frames, rows and columns of a tubelet.
    """
    kind, (t, h, w) = video.dtype, tubelet
    if kind == torch.uint8 and w % 8 == 0:
        # Eight pixels a word: to move a word takes as long as to move a byte.
        video, w = video.contiguous().view(torch.int64), w // 8
    batch, channels, frames, height, width = video.shape
    cells = video.reshape(batch, channels, frames // t, t, height // h, h, width // w, w)
    cells = cells.permute(0, 2, 4, 6, 1, 3, 5, 7)
    return cells.reshape(batch, -1, channels * t * h * w).view(kind)


class PatchEmbedding(nn.Module):
    """Embed tubelets. Equal to a Conv3d whose stride is its kernel, but only where asked.

    Args:
        channels: Channels of a clip.
        tubelet: Frames, rows and columns of a tubelet.
        dim: Width of a token.
        generator: Source of the weights.
    """

    def __init__(
        self, channels: int, tubelet: Grid, dim: int, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.tubelet = tubelet
        t, h, w = tubelet
        self.proj = linear(channels * t * h * w, dim, generator)

    def forward(
        self,
        video: Video | Grey,
        keep: Int[Tensor, "rows kept"] | None = None,
        normalise: Normalise | None = None,
    ) -> Float[Tensor, "rows kept dim"]:
        """Embed the kept tubelets, or all of them.

        Args:
            video: Normalised clips, or grey ones with ``normalise``.
            keep: Ids of the tubelets to look at.
            normalise: Makes normalised pixels, of all channels, of grey ones: of those alone
                that are looked at.
        """
        patches = cut_patches(video, self.tubelet)
        if keep is not None:
            patches = take(patches, keep)
        if normalise is not None:
            patches = normalise(patches)
        tokens: Tensor = self.proj(patches)
        return tokens


def rotate(
    tokens: Float[Tensor, "batch heads tokens head"], rotation: Rotation
) -> Float[Tensor, "batch heads tokens head"]:
    """Turn every pair of neighbouring channels by its token's angles.

    ``(x, y)`` becomes ``(x cos a - y sin a, y cos b + x sin b)``; ``a`` and ``b`` are equal but
    in V-JEPA 2, see ``positions.Rotary``.
    """
    cosines, sines = rotation
    turned = torch.stack([-tokens[..., 1::2], tokens[..., 0::2]], dim=-1).flatten(-2)
    # The table is float32: bfloat16 would put tokens far from the corner at wrong places.
    rotated: Tensor = tokens * cosines + turned * sines
    return rotated.to(tokens.dtype)


class Attention(nn.Module):
    """Multi-head self-attention over the tokens of a row.

    Args:
        dim: Width of a token.
        heads: How many share it.
        generator: Source of the weights.
        bias: Whether queries, keys and values have an offset.
    """

    def __init__(
        self, dim: int, heads: int, generator: torch.Generator | None, *, bias: bool = True
    ) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = linear(dim, 3 * dim, generator, bias=bias)
        self.proj = linear(dim, dim, generator)

    def forward(
        self, tokens: Tokens, rotation: Rotation | None = None, first: int | None = None
    ) -> Float[Tensor, "batch first dim"]:
        """Mix every token, or only the first few, with every other.

        Args:
            tokens: Of a row.
            rotation: Rotary positions, if there are any.
            first: How many tokens are wanted; all if left out.
        """
        query, key, value = self.parts(tokens, first)
        if rotation is not None:
            query = rotate(query, rotation[..., :first, :])
            key = rotate(key, rotation)
        mixed = attend(query, key, value).transpose(1, 2).flatten(2)
        out: Tensor = self.proj(mixed)
        return out

    def parts(self, tokens: Tokens, first: int | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return the queries of the first tokens, and keys and values of all."""
        batch, n, dim = tokens.shape
        heads = self.heads, dim // self.heads
        if first is None:
            qkv = self.qkv(tokens).reshape(batch, n, 3, *heads)
            query, key, value = qkv.permute(2, 0, 3, 1, 4)
            return query, key, value
        weight, bias = self.qkv.weight, self.qkv.bias
        own, others = (None, None) if bias is None else (bias[:dim], bias[dim:])
        asked = affine(tokens[:, :first], weight[:dim], own)
        known = affine(tokens, weight[dim:], others)
        query = asked.reshape(batch, first, *heads).transpose(1, 2)
        key, value = known.reshape(batch, n, 2, *heads).unbind(2)
        return query, key.transpose(1, 2), value.transpose(1, 2)


class MLP(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(
        self,
        dim: int,
        hidden: int,
        generator: torch.Generator | None,
        outputs: int | None = None,
    ) -> None:
        super().__init__()
        self.fc1 = linear(dim, hidden, generator)
        self.fc2 = linear(hidden, outputs or dim, generator)

    def forward(self, tokens: Float[Tensor, "*rows dim"]) -> Float[Tensor, "*rows outputs"]:
        """Transform every token by itself."""
        inside = affine_gelu(tokens, self.fc1.weight, self.fc1.bias)
        out: Tensor = self.fc2(inside)
        return out


class Block(nn.Module):
    """Pre-norm transformer block, without dropout or layer scale; names as in timm."""

    def __init__(
        self,
        dim: int,
        heads: int,
        mlp_ratio: float,
        generator: torch.Generator | None,
        *,
        qkv_bias: bool = True,
        norm_eps: float = NORM_EPS,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attn = Attention(dim, heads, generator, bias=qkv_bias)
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = MLP(dim, round(dim * mlp_ratio), generator)

    def forward(
        self, tokens: Tokens, rotation: Rotation | None = None, first: int | None = None
    ) -> Float[Tensor, "batch first dim"]:
        """Attend, then transform, both on a residual path; only ``first`` tokens come out."""
        tokens = tokens[:, :first] + self.attn(self.norm1(tokens), rotation, first)
        tokens = tokens + self.mlp(self.norm2(tokens))
        return tokens


class Blocks(nn.Sequential):
    """A stack of equal blocks.

    Args:
        dim: Width of a token.
        depth: How many blocks.
        heads: Attention heads of each.
        mlp_ratio: Width inside their MLPs, as a multiple of ``dim``.
        generator: Source of the weights.
        qkv_bias: Whether queries, keys and values have an offset.
        norm_eps: Added to the variance in their LayerNorms.
        recompute: Compute the inside of blocks again for the gradient instead of keeping it.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        mlp_ratio: float,
        generator: torch.Generator | None,
        *,
        qkv_bias: bool = True,
        norm_eps: float = NORM_EPS,
        recompute: bool = False,
    ) -> None:
        super().__init__(
            *(
                Block(dim, heads, mlp_ratio, generator, qkv_bias=qkv_bias, norm_eps=norm_eps)
                for _ in range(depth)
            )
        )
        self.recompute = recompute

    def each(
        self, tokens: Tokens, rotation: Rotation | None = None, first: int | None = None
    ) -> Iterator[Float[Tensor, "batch left dim"]]:
        """Yield the tokens after every block; all share one table of rotary positions.

        Args:
            tokens: Of a row.
            rotation: Rotary positions, if there are any.
            first: How many tokens the last block gives, the first ones; all if left out.
        """
        for index, block in enumerate(self, start=1):
            wanted = first if index == len(self) else None
            if self.recompute and torch.is_grad_enabled():
                tokens = checkpoint(block, tokens, rotation, wanted, use_reentrant=False)
            else:
                tokens = block(tokens, rotation, wanted)
            yield tokens

    def forward(
        self, tokens: Tokens, rotation: Rotation | None = None, first: int | None = None
    ) -> Float[Tensor, "batch left dim"]:
        """Pass tokens through all blocks."""
        for after in self.each(tokens, rotation, first):
            tokens = after
        return tokens
