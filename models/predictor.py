"""The predictor: from the features of visible tokens to those of hidden ones."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .layers import Blocks, linear
from .shapes import Grid, Scalar
from .vit import ViTConfig, make_positions


class Predicted(NamedTuple):
    """What a predictor says."""

    targets: Float[Tensor, "rows targets outputs"]
    """Features of hidden tokens."""
    context: Float[Tensor, "rows context outputs"] | None
    """Features of visible tokens, if it has a head for them."""
    inner: Float[Tensor, "rows targets width"]
    """Hidden tokens as they are before the last layer."""


class Predictor(nn.Module):
    """Narrow transformer that fills in the features of hidden tokens.

    Args:
        shape: Its width, depth, heads and positions.
        dim: Width of the encoder.
        levels: Levels of the encoder that it sees and predicts, side by side.
        outputs: Width of what it predicts.
        mask_tokens: Learned tokens that stand for hidden ones.
        dense: Whether it predicts the visible tokens too, with a head of their own.
        generator: Source of the weights.

    Source:
        V-JEPA (Bardes et al. 2024, arXiv 2404.08471), section 3.1 and appendix. Rotary
        positions: V-JEPA 2 (arXiv 2506.09985). Levels and dense: V-JEPA 2.1 (arXiv 2603.14482),
        whose learned token for clips, added to all tokens, is left out: the offset of ``embed``
        and the mask tokens can hold it.
    """

    def __init__(
        self,
        shape: ViTConfig,
        dim: int,
        *,
        levels: int,
        outputs: int,
        mask_tokens: int,
        dense: bool,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        width, eps = shape.dim, shape.norm_eps
        self.embed: nn.Module
        if levels == 1:
            self.embed = linear(dim, width, generator)
        else:
            wide, narrow = linear(levels * dim, dim, generator), linear(dim, width, generator)
            self.embed = nn.Sequential(wide, nn.GELU(), narrow)
        self.mask_tokens = nn.Parameter(torch.zeros(mask_tokens, 1, width))
        self.positions, self.rotary = make_positions(shape)
        self.blocks = Blocks(
            width,
            shape.depth,
            shape.heads,
            shape.mlp_ratio,
            generator,
            norm_eps=eps,
            recompute=shape.recompute,
        )
        self.norm = nn.LayerNorm(width, eps=eps)
        self.proj = linear(width, outputs, generator)
        self.proj_context = linear(width, outputs, generator) if dense else None

    def forward(
        self,
        context: Float[Tensor, "rows context levels_dim"],
        context_ids: Int[Tensor, "rows context"],
        target_ids: Int[Tensor, "rows targets"],
        grid: Grid,
        kind: int,
    ) -> Predicted:
        """Predict the tokens at ``target_ids`` from the visible ones.

        Args:
            context: Features of the visible tokens.
            context_ids: Their ids.
            target_ids: Ids of the hidden ones; their order does not matter.
            grid: Tubelets of the clip.
            kind: Of the mask; kinds share mask tokens if there are fewer.
        """
        rows, asked = target_ids.shape
        seen = self.embed(context)
        blank = self.mask_tokens[kind % len(self.mask_tokens)].to(seen.dtype)
        tokens = torch.cat([seen, blank.expand(rows, asked, -1)], dim=1)
        ids = torch.cat([context_ids, target_ids], dim=1)
        rotation = None
        if self.positions is not None:
            tokens = tokens + self.positions(grid)[0][ids]
        elif self.rotary is not None:
            rotation = self.rotary(grid)[:, ids][:, :, None]
        tokens = self.norm(self.blocks(tokens, rotation))
        before, inner = tokens[:, : context_ids.shape[1]], tokens[:, context_ids.shape[1] :]
        dense = None if self.proj_context is None else self.proj_context(before)
        return Predicted(self.proj(inner), dense, inner)


def jepa_loss(
    predicted: Float[Tensor, "rows tokens dim"],
    target: Float[Tensor, "rows tokens dim"],
    *,
    exponent: float = 1.0,
    weights: Float[Tensor, "rows tokens"] | None = None,
) -> Scalar:
    r"""Return the mean error of predicted features.

    .. math:: L = \text{mean} \left( w \, |z - h|^p \right) / p

    Args:
        predicted: z.
        target: h.
        exponent: p; 1 is the absolute, 2 half the squared error.
        weights: w of every token; 1 if left out.

    Source:
        V-JEPA (Bardes et al. 2024, arXiv 2404.08471), equation 1; exponent and weights:
        published codes of V-JEPA and V-JEPA 2.1.
    """
    error = (predicted.float() - target.float()).abs()
    if exponent != 1:
        error = error**exponent
    if weights is not None:
        error = error.mean(dim=-1) * weights
    return error.mean() / exponent


def nearness(
    context: Float[Tensor, "rows context 3"], targets: Float[Tensor, "rows targets 3"]
) -> Float[Tensor, "rows context"]:
    r"""Return how much the errors of visible tokens count: the nearer a hidden one, the more.

    .. math:: w = 1 / \sqrt{\min_j \lVert c - t_j \rVert_2}

    Args:
        context: Time, row and column of visible tokens, in tubelets.
        targets: The same of hidden ones; none lies where a visible one does.

    Source:
        V-JEPA 2.1 (arXiv 2603.14482) and its published code.
    """
    # Exact: coordinates are whole numbers, and no two tokens are closer than 1.
    distances = torch.cdist(context, targets, compute_mode="donot_use_mm_for_euclid_dist")
    return distances.amin(dim=2).rsqrt()
