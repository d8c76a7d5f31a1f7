"""The predictor: from the features of visible tokens to those of hidden ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from .layers import NORM_EPS, Blocks, linear
from .positions import Positions
from .shapes import Grid, Scalar


class Predictor(nn.Module):
    """Narrow transformer that fills in the features of hidden tokens.

    Args:
        grid: Tubelets of a usual clip.
        dim: Width of the encoder.
        width: Width inside.
        depth: Number of blocks.
        heads: Attention heads.
        mask_kinds: Kinds of masks, each with a mask token of its own.
        generator: Source of the weights.

    Source:
        V-JEPA (Bardes et al. 2024, arXiv 2404.08471), section 3.1 and appendix.
    """

    def __init__(
        self,
        grid: Grid,
        dim: int,
        width: int,
        depth: int,
        heads: int,
        mask_kinds: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.embed = linear(dim, width, generator)
        self.mask_tokens = nn.Parameter(torch.zeros(mask_kinds, 1, width))
        self.positions = Positions(grid, width)
        self.blocks = Blocks(width, depth, heads, 4.0, generator)
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.proj = linear(width, dim, generator)

    def forward(
        self,
        context: Float[Tensor, "rows context dim"],
        context_ids: Int[Tensor, "rows context"],
        target_ids: Int[Tensor, "rows targets"],
        grid: Grid,
        mask_kind: int,
    ) -> Float[Tensor, "rows targets dim"]:
        """Predict the tokens at ``target_ids`` from the visible ones."""
        places = self.positions(grid)[0]
        seen = self.embed(context) + places[context_ids]
        asked = self.mask_tokens[mask_kind] + places[target_ids]
        tokens = self.blocks(torch.cat([seen, asked.to(seen.dtype)], dim=1))
        predicted: Tensor = self.proj(self.norm(tokens[:, context_ids.shape[1] :]))
        return predicted


def jepa_loss(
    predicted: Float[Tensor, "rows targets dim"], target: Float[Tensor, "rows targets dim"]
) -> Scalar:
    """Return the mean absolute error of predicted features.

    Source:
        V-JEPA (Bardes et al. 2024, arXiv 2404.08471), equation 1.
    """
    return F.l1_loss(predicted.float(), target.float())
