"""Multi-block masks: a clip hides the union of a few boxes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from .masking import draw_ids
from .shapes import Grid, TokenMask


@dataclass(frozen=True, kw_only=True)
class BlockConfig:
    """One kind of multi-block mask."""

    blocks: int = 8
    """Blocks a clip; they may overlap."""
    scale: float = 0.15
    """Share of the places that one block hides."""
    duration: float = 1.0
    """Share of the clip that a block lasts."""
    aspect: tuple[float, float] = (0.75, 1.5)
    """Least and greatest height of a block as a multiple of its width."""


def block_size(grid: Grid, config: BlockConfig, generator: torch.Generator) -> Grid:
    """Draw the size of the blocks of one step; it never covers the whole grid.

    Source:
        V-JEPA (Bardes et al. 2024, arXiv 2404.08471), section 3.2.
    """
    frames, height, width = grid
    low, high = config.aspect
    draw = torch.rand(1, generator=generator, device=generator.device).item()
    aspect = low + (high - low) * draw
    places = int(height * width * config.scale)
    duration = max(1, int(frames * config.duration))
    h = min(height, max(1, round(math.sqrt(places * aspect))))
    w = min(width, max(1, round(math.sqrt(places / aspect))))
    if (duration, h, w) == grid:
        h, w = (h - 1, w) if height >= width else (h, w - 1)
    return duration, h, w


def block_mask(
    rows: int, grid: Grid, config: BlockConfig, generator: torch.Generator
) -> TokenMask:
    """Hide the union of a few boxes, equally large for all rows, placed anew for each.

    A row whose boxes together hide everything keeps only its first box.

    Args:
        rows: Number of masks.
        grid: Tubelets along time, height and width, at least two places.
        config: How many boxes, how large.
        generator: Source of the draw.
    """
    size = block_size(grid, config, generator)
    inside = []
    for side, length in zip(grid, size, strict=True):
        shape = (rows, config.blocks, 1)
        first = torch.randint(
            side - length + 1, shape, generator=generator, device=generator.device
        )
        place = torch.arange(side, device=generator.device)
        inside.append((place >= first) & (place < first + length))
    time, row, column = inside
    boxes = (
        time[:, :, :, None, None] & row[:, :, None, :, None] & column[:, :, None, None, :]
    ).flatten(2)
    hidden = boxes.any(dim=1)
    full = hidden.all(dim=1, keepdim=True)
    return torch.where(full, boxes[:, 0], hidden)


def context_and_targets(
    mask: TokenMask, generator: torch.Generator
) -> tuple[Int[Tensor, "rows context"], Int[Tensor, "rows targets"]]:
    """Turn masks into visible and hidden ids, equally many in every row.

    Longer rows lose tokens at random. V-JEPA's own code cuts the end of the list, which is
    the end of the clip, so that late frames are hardly ever seen or predicted: measured, 4 to
    5 % of the context that the first tubelet has. In a heart that is a phase of the beat.
    """
    context = int((~mask).sum(dim=1).min())
    targets = int(mask.sum(dim=1).min())
    return draw_ids(~mask, context, generator), draw_ids(mask, targets, generator)
