"""What sits on an encoder during pretraining and is thrown away after."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from .layers import MLP, NORM_EPS, Blocks, learned_token, linear, take
from .positions import Positions
from .products import affine
from .shapes import Grid


class DinoHead(nn.Module):
    """Projection to a sphere, then cosines to unit prototypes.

    Args:
        dim: Width of the input.
        hidden: Width inside.
        bottleneck: Width of the sphere.
        outputs: Number of prototypes.
        generator: Source of the weights.

    Source:
        DINO (Caron et al. 2021, arXiv 2104.14294), appendix C, with the last layer's lengths
        fixed at one.
    """

    def __init__(
        self,
        dim: int,
        hidden: int,
        bottleneck: int,
        outputs: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.inner = linear(dim, hidden, generator)
        self.mlp = MLP(hidden, hidden, generator, bottleneck)
        directions = torch.randn(outputs, bottleneck, generator=generator)
        self.prototypes = nn.Parameter(F.normalize(directions, dim=1))

    def forward(self, embedding: Float[Tensor, "rows dim"]) -> Float[Tensor, "rows outputs"]:
        """Return logits between -1 and 1."""
        points = self.mlp(F.gelu(self.inner(embedding)))
        # Logits are divided by temperatures down to 0.04: bfloat16 would be too coarse.
        with torch.autocast(points.device.type, enabled=False):
            unit = F.normalize(points.float(), dim=1)
            return affine(unit, F.normalize(self.prototypes, dim=1))


class TokenDecoder(nn.Module):
    """Narrow transformer that returns a whole grid of tokens from the visible ones, in order.

    Args:
        positions: Of the tokens; their width is the width inside.
        dim: Width of the encoder.
        depth: Number of blocks.
        heads: Attention heads.
        outputs: Width of what comes out.
        generator: Source of the weights.
        qkv_bias: Whether queries, keys and values have an offset.

    Source:
        VideoMAE (Tong et al. 2022, arXiv 2203.12602), section 3.3, as used by DISCOVR.
    """

    def __init__(
        self,
        positions: Positions,
        dim: int,
        depth: int,
        heads: int,
        outputs: int,
        generator: torch.Generator,
        *,
        qkv_bias: bool = True,
    ) -> None:
        super().__init__()
        width = positions.dim
        self.embed = linear(dim, width, generator, bias=False)
        self.mask_token = learned_token(width, generator)
        self.positions = positions
        self.blocks = Blocks(width, depth, heads, 4.0, generator, qkv_bias=qkv_bias)
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.proj = linear(width, outputs, generator)

    def forward(
        self,
        visible: Float[Tensor, "rows kept dim"],
        ids: Int[Tensor, "rows kept"],
        grid: Grid,
        seen: Int[Tensor, "rows seen"] | None = None,
    ) -> Float[Tensor, "rows tokens outputs"]:
        """Decode.

        Args:
            visible: What the encoder made of the visible tokens.
            ids: Which they are.
            grid: Tubelets along time, height and width.
            seen: Which tokens there are at all, the visible ones among them; the whole grid if
                left out.

        Returns:
            The tokens in the order of the grid, or of ``seen``, visible or not.
        """
        places = self.positions(grid)
        embedded = self.embed(visible)
        tokens = self.mask_token.to(embedded.dtype).expand(len(ids), places.shape[1], -1)
        tokens = tokens.scatter(1, ids[..., None].expand_as(embedded), embedded) + places
        if seen is not None:
            tokens = take(tokens, seen)
        decoded: Tensor = self.proj(self.norm(self.blocks(tokens)))
        return decoded
