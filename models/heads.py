"""What sits on an encoder during pretraining and is thrown away after."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from .layers import MLP, NORM_EPS, Blocks, learned_token, linear
from .positions import Positions
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
            return unit @ F.normalize(self.prototypes, dim=1).T


class TokenDecoder(nn.Module):
    """Narrow transformer that returns a whole grid of tokens from the visible ones, in order.

    Args:
        grid: Tubelets of a usual clip.
        dim: Width of the encoder.
        width: Width inside.
        depth: Number of blocks.
        heads: Attention heads.
        outputs: Width of what comes out.
        generator: Source of the weights.

    Source:
        VideoMAE (Tong et al. 2022, arXiv 2203.12602), section 3.3, as used by DISCOVR.
    """

    def __init__(
        self,
        grid: Grid,
        dim: int,
        width: int,
        depth: int,
        heads: int,
        outputs: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.embed = linear(dim, width, generator, bias=False)
        self.mask_token = learned_token(width, generator)
        self.positions = Positions(grid, width)
        self.blocks = Blocks(width, depth, heads, 4.0, generator)
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.proj = linear(width, outputs, generator)

    def forward(
        self,
        visible: Float[Tensor, "rows kept dim"],
        ids: Int[Tensor, "rows kept"],
        grid: Grid,
    ) -> Float[Tensor, "rows tokens outputs"]:
        """Decode; token ``i`` of the result is token ``i`` of the grid, seen or not."""
        places = self.positions(grid)
        seen = self.embed(visible)
        tokens = self.mask_token.to(seen.dtype).expand(len(ids), places.shape[1], -1)
        tokens = tokens.scatter(1, ids[..., None].expand_as(seen), seen)
        decoded: Tensor = self.proj(self.norm(self.blocks(tokens + places)))
        return decoded
