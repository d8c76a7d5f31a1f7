"""Which tokens a network sees, drawn for a whole batch from a generator.

Masks are made where the generator lives, normally the CPU: counting there costs the device no
wait, and every device draws the same masks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from .shapes import Grid, Places, TokenIds, TokenMask


def every_place(rows: int, grid: Grid) -> Places:
    """Return all columns of a grid, for clips without a sector."""
    return torch.arange(grid[1] * grid[2]).expand(rows, -1)


def tokens_at(places: Int[Tensor, "rows places"], grid: Grid) -> TokenIds:
    """Return the ids of the tokens at some columns of the grid, at every time, ascending."""
    frames, height, width = grid
    times = torch.arange(frames, device=places.device) * (height * width)
    return (times[:, None] + places[:, None, :]).flatten(1)


def tube_ids(
    rows: int,
    grid: Grid,
    ratio: float,
    generator: torch.Generator,
    places: Places | None = None,
) -> TokenIds:
    """Hide the same places in every frame and return what is left; one place or more.

    Args:
        rows: Number of masks, a multiple of the clips; those of a clip are neighbours.
        grid: Tubelets along time, height and width.
        ratio: Share of the places to hide.
        generator: Source of the draw.
        places: What may be seen at all, clip by clip; everything if left out.

    Source:
        VideoMAE (Tong et al. 2022, arXiv 2203.12602), section 3.3, tube masking.
    """
    found = every_place(1, grid) if places is None else places
    count = found.shape[1]
    kept = max(1, count - round(ratio * count))
    candidates = torch.ones(rows, count, dtype=torch.bool, device=generator.device)
    columns = draw_ids(candidates, kept, generator)
    per_clip = rows if places is None else rows // len(places)
    return tokens_at(found.repeat_interleave(per_clip, dim=0).gather(1, columns), grid)


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


def draw_ids(
    candidates: Bool[Tensor, "rows tokens"], count: int, generator: torch.Generator
) -> TokenIds:
    """Draw ``count`` of the candidates of every row, without repetition, ascending."""
    draw = torch.rand(candidates.shape, generator=generator, device=generator.device)
    order = torch.where(candidates, draw, 2.0).argsort(dim=1)
    return order[:, :count].sort(dim=1).values


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
