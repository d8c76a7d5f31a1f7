"""Fixed sine and cosine positions for tubelets in time, height and width."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .shapes import Grid

LONGEST_WAVE = 10_000.0


def sincos_1d(
    positions: Float[Tensor, " tokens"], channels: int
) -> Float[Tensor, "tokens channels"]:
    """Encode numbers by waves of growing length: all sines, then all cosines."""
    half = channels // 2
    index = torch.arange(half, dtype=positions.dtype, device=positions.device)
    angles = positions[:, None] * LONGEST_WAVE ** (-index / half)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def sincos_3d(grid: Grid, dim: int) -> Float[Tensor, "tokens dim"]:
    """Encode the place of every tubelet of a grid.

    Time, height and width get the same number of channels, in this order; the last channels
    are cut where the width is no multiple of six. Whole-number places are encoded, so any grid
    works and a longer clip continues the waves of a shorter one.

    Args:
        grid: Tubelets along time, height and width.
        dim: Width of a token.

    Source:
        V-JEPA (Bardes et al. 2024, arXiv 2404.08471), its published ``uniform_power`` setting.
        Differs: the paper interpolates its table for other sizes, this one is computed anew.
    """
    channels = 2 * math.ceil(dim / 6)
    axes = [torch.arange(n, dtype=torch.float64) for n in grid]
    places = torch.meshgrid(*axes, indexing="ij")
    table = torch.cat([sincos_1d(place.flatten(), channels) for place in places], dim=1)
    return table[:, :dim].float()


class Positions(nn.Module):
    """The table of one grid kept ready, others computed when asked for.

    Args:
        grid: The usual grid.
        dim: Width of a token.
    """

    table: Tensor

    def __init__(self, grid: Grid, dim: int) -> None:
        super().__init__()
        self.grid = grid
        self.dim = dim
        # Not saved: it is computed from the configuration.
        self.register_buffer("table", sincos_3d(grid, dim), persistent=False)

    def forward(self, grid: Grid) -> Float[Tensor, "1 tokens dim"]:
        """Return the positions of a grid, for every clip of a batch."""
        table = (
            self.table
            if grid == self.grid
            else sincos_3d(grid, self.dim).to(self.table.device, non_blocking=True)
        )
        return table[None]
