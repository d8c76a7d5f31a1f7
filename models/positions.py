"""Fixed positions of tubelets in time, height and width: sines and cosines, or rotations."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .shapes import Grid

LONGEST_WAVE = 10_000.0

Table: TypeAlias = Literal["sincos", "line"]
"""``sincos`` encodes time, row and column; ``line`` the running number of a token."""
RopePairing: TypeAlias = Literal["interleaved", "tiled"]
"""Which channels share an angle: ``interleaved`` the two of a pair, as rotations are meant;
``tiled`` those half an axis apart, as published with V-JEPA 2, whose weights need it."""


def sincos_1d(
    positions: Float[Tensor, " tokens"], channels: int
) -> Float[Tensor, "tokens channels"]:
    """Encode numbers by waves of growing length: all sines, then all cosines."""
    half = channels // 2
    index = torch.arange(half, dtype=positions.dtype, device=positions.device)
    angles = positions[:, None] * LONGEST_WAVE ** (-index / half)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def places_of(grid: Grid) -> list[Float[Tensor, " tokens"]]:
    """Return the time, the row and the column of every tubelet of a grid."""
    axes = [torch.arange(n, dtype=torch.float64) for n in grid]
    return [place.flatten() for place in torch.meshgrid(*axes, indexing="ij")]


def sincos_3d(grid: Grid, dim: int, *, uniform: bool = True) -> Float[Tensor, "tokens dim"]:
    """Encode the place of every tubelet of a grid.

    Time, height and width get the same number of channels, in this order; the last channels
    are cut where the width is no multiple of six. Whole-number places are encoded, so any grid
    works and a longer clip continues the waves of a shorter one.

    Args:
        grid: Tubelets along time, height and width.
        dim: Width of a token.
        uniform: Give the axes equal shares; time gets half of the channels otherwise.

    Source:
        V-JEPA (Bardes et al. 2024, arXiv 2404.08471), its setting ``uniform_power``.
        Differs: the paper interpolates its table for other sizes, this one is computed anew.
    """
    share = 2 * math.ceil(dim / 6)
    channels = (share, share, share) if uniform else (dim // 2, dim // 4, dim // 4)
    waves = [sincos_1d(*axis) for axis in zip(places_of(grid), channels, strict=True)]
    return torch.cat(waves, dim=1)[:, :dim].float()


def sincos_line(tokens: int, dim: int) -> Float[Tensor, "tokens dim"]:
    """Encode running numbers: sine and cosine of each wave side by side.

    Source:
        VideoMAE (Tong et al. 2022, arXiv 2203.12602), its published code; DISCOVR follows it.
    """
    pairs = torch.arange(0, dim, 2, dtype=torch.float64)
    numbers = torch.arange(tokens, dtype=torch.float64)[:, None]
    angles = numbers * LONGEST_WAVE ** (-pairs / dim)
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :dim].float()


def stretch(
    table: Float[Tensor, "tokens dim"], before: Grid, after: Grid
) -> Float[Tensor, "other dim"]:
    """Interpolate the table of one grid for another, linearly along every axis.

    Source:
        V-JEPA (Bardes et al. 2024), its published code: what its encoders do with other sizes.
    """
    volume = table.T.reshape(1, -1, *before)
    return F.interpolate(volume, size=after, mode="trilinear")[0].flatten(1).T


class Positions(nn.Module):
    """The table of one grid kept ready, others made when asked for.

    Args:
        grid: The usual grid.
        dim: Width of a token.
        kind: What is encoded.
        uniform: See ``sincos_3d``.
        drawn_for: Grid whose table the others interpolate; each is computed if left out. The
            time of a ``line`` is not interpolated: its numbers go on in a longer clip.
    """

    table: Tensor

    def __init__(
        self,
        grid: Grid,
        dim: int,
        *,
        kind: Table = "sincos",
        uniform: bool = True,
        drawn_for: Grid | None = None,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.dim = dim
        self.kind = kind
        self.uniform = uniform
        self.drawn_for = drawn_for
        # Not saved: it is computed from the configuration.
        self.register_buffer("table", self.make(grid), persistent=False)

    def make(self, grid: Grid) -> Float[Tensor, "tokens dim"]:
        """Return the table of a grid."""
        if self.drawn_for is None:
            return self.compute(grid)
        frames, rows, columns = self.drawn_for
        before = (grid[0] if self.kind == "line" else frames, rows, columns)
        table = self.compute(before)
        return table if before == grid else stretch(table, before, grid)

    def compute(self, grid: Grid) -> Float[Tensor, "tokens dim"]:
        """Return the table of a grid by its formula."""
        if self.kind == "line":
            return sincos_line(math.prod(grid), self.dim)
        return sincos_3d(grid, self.dim, uniform=self.uniform)

    def forward(self, grid: Grid) -> Float[Tensor, "1 tokens dim"]:
        """Return the positions of a grid, for every clip of a batch."""
        table = (
            self.table
            if grid == self.grid
            else self.make(grid).to(self.table.device, non_blocking=True)
        )
        return table[None]


def rotary_table(
    grid: Grid, head: int, pairing: RopePairing, side: int | None = None
) -> Float[Tensor, "2 tokens head"]:
    """Return the cosines and sines by which channels turn at every tubelet of a grid.

    Time, row and column turn an equal, even number of channels each, in this order; what is
    left over does not turn.

    Args:
        grid: Tubelets along time, height and width.
        head: Width of an attention head.
        pairing: Which channels share an angle.
        side: Rows and columns are spread over as many, whatever their number; time is not.

    Source:
        V-JEPA 2 (Assran et al. 2025, arXiv 2506.09985), ``tiled``, and V-JEPA 2.1
        (arXiv 2603.14482), ``interleaved`` with a ``side`` of 16; both published codes.
    """
    share = 2 * (head // 3 // 2)
    index = torch.arange(share // 2, dtype=torch.float64)
    waves = LONGEST_WAVE ** (-index / (share / 2))
    angles = torch.zeros(math.prod(grid), head, dtype=torch.float64)
    for axis, place in enumerate(places_of(grid)):
        if side is not None and axis > 0:
            place = place * (side - 1) / max(1, grid[axis] - 1)
        turns = place[:, None] * waves
        both = turns.repeat_interleave(2, 1) if pairing == "interleaved" else turns.repeat(1, 2)
        angles[:, axis * share : (axis + 1) * share] = both
    return torch.stack([angles.cos(), angles.sin()]).float()


class Rotary(nn.Module):
    """Rotary positions: the table of one grid kept ready, others computed when asked for.

    Args:
        grid: The usual grid.
        head: Width of an attention head.
        pairing: Which channels share an angle.
        side: See ``rotary_table``.
    """

    table: Tensor

    def __init__(
        self, grid: Grid, head: int, pairing: RopePairing, side: int | None = None
    ) -> None:
        super().__init__()
        self.grid = grid
        self.options = (head, pairing, side)
        table = rotary_table(grid, *self.options)
        self.register_buffer("table", table, persistent=False)

    def forward(self, grid: Grid) -> Float[Tensor, "2 tokens head"]:
        """Return cosines and sines of a grid."""
        if grid == self.grid:
            return self.table
        return rotary_table(grid, *self.options).to(self.table.device, non_blocking=True)
