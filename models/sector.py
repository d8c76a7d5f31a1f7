"""Which columns of the grid lie in the sector, so that the black around it costs nothing.

A fan leaves a third and more of a square picture black in every frame. What is known of the
sector stays on the CPU, where masks are drawn: a GPU is never asked how many tokens there are.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .shapes import Grid, Places, Sector, Video

PARTS = 8
"""Shares of the grid are rounded up to so many parts of it, so that clips with equally many
columns are many enough to cross a network together."""


class Scan(NamedTuple):
    """Clips, and where in their pictures the scan is."""

    video: Video
    """Normalised, on any device; of a step shared by several processes, the own clips."""
    sector: Sector
    """On the CPU, of all clips of the step: masks are drawn for all together."""


def columns_inside(sector: Sector, grid: Grid) -> Bool[Tensor, "batch columns"]:
    """Return which columns of the grid hold a pixel of the sector, however few."""
    return F.adaptive_max_pool2d(sector, grid[1:]).flatten(1) > 0


def share_of(count: int, columns: int) -> float:
    """Return the share of a grid's columns that holds so many of them: eighths, one or more."""
    return max(1, math.ceil(PARTS * count / columns)) / PARTS


def share_of_most(inside: Bool[Tensor, "clips columns"], most: float = 0.9) -> float:
    """Return the share of the columns that a training looks at, one for all its clips.

    Args:
        inside: Columns in the sector of each clip.
        most: Share of the clips that shall be seen whole; one clip without a sector must not
            make all others pay.
    """
    counts = inside.sum(dim=1).sort().values
    needed = int(counts[math.ceil(most * len(counts)) - 1])
    return share_of(needed, inside.shape[1])


def choose_places(
    sector: Sector, grid: Grid, share: float, generator: torch.Generator | None = None
) -> Places:
    """Choose equally many columns of every clip: those in the sector, then the nearest ones.

    Args:
        sector: Where the scan is.
        grid: Tubelets along time, height and width.
        share: Share of the columns to choose.
        generator: Draws which columns of the sector stay, where it has too many, as a crop that
            zooms in may have; without one there must be room for all.

    Raises:
        ValueError: If there is no room and nothing to draw with.
    """
    inside = columns_inside(sector, grid)
    count = math.ceil(share * inside.shape[1])
    if generator is None and int(inside.sum(dim=1).max()) > count:
        raise ValueError(f"A sector has more columns of the grid than {count}.")
    return first_places(in_order(inside, grid, generator), share)


def in_order(
    inside: Bool[Tensor, "batch columns"], grid: Grid, generator: torch.Generator | None = None
) -> Int[Tensor, "batch columns"]:
    """Return all columns of each clip: those in the sector, then the nearest ones.

    Args:
        inside: Which lie in the sector.
        grid: Tubelets along time, height and width.
        generator: Decides among equals; without one they keep their order.
    """
    rank = nearness(inside, grid)
    if generator is not None:
        rank = rank + torch.rand(rank.shape, generator=generator)
    return rank.argsort(dim=1, descending=True, stable=True)


def first_places(order: Int[Tensor, "batch columns"], share: float) -> Places:
    """Return the first columns of each clip, a share of all, ascending."""
    count = math.ceil(share * order.shape[1])
    return order[:, :count].sort(dim=1).values


def to_grid(
    tokens: Float[Tensor, "batch kept dim"], ids: Int[Tensor, "batch kept"], grid: Grid
) -> Float[Tensor, "batch time height width dim"]:
    """Put tokens at their places in the grid; NaN stands where nothing was looked at.

    Who forgets that some places were not looked at gets NaN, not a plausible number.
    """
    batch, _, dim = tokens.shape
    whole = tokens.new_full((batch, math.prod(grid), dim), math.nan)
    whole.scatter_(1, ids[:, :, None].expand(-1, -1, dim), tokens)
    return whole.reshape(batch, *grid, dim)


def nearness(
    inside: Bool[Tensor, "batch columns"], grid: Grid
) -> Float[Tensor, "batch columns"]:
    """Return whole numbers: greatest inside, less by 1 with every patch away from there."""
    reached = inside.float().reshape(-1, 1, *grid[1:])
    total = reached.clone()
    for _ in range(max(grid[1:])):
        reached = F.max_pool2d(reached, kernel_size=3, stride=1, padding=1)
        total += reached
    return total.flatten(1)
