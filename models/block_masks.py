"""Multi-block masks: a clip hides the union of a few boxes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from .masking import draw_ids, every_place, tokens_at
from .shapes import Grid, Places, TokenIds, TokenMask

REDRAWS = 8
"""Of clips that hide everything or nothing; on a grid of 7 x 7 long-range masks often do."""


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

    def __post_init__(self) -> None:
        if self.blocks < 1:
            raise ValueError(f"blocks is {self.blocks}; it must be 1 or more.")
        for name in ("scale", "duration"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give a share up to 1.")
        if not 0 < self.aspect[0] <= self.aspect[1]:
            raise ValueError(f"aspect is {self.aspect}; write least, then greatest, above 0.")


def block_size(
    grid: Grid, places: int, config: BlockConfig, generator: torch.Generator
) -> Grid:
    """Draw the size of the blocks of one step; it never covers the whole grid.

    Args:
        grid: Tubelets along time, height and width, at least two places.
        places: How many columns of the grid may be seen, of which a block hides its share.
        config: How large.
        generator: Source of the draw.

    Source:
        V-JEPA (Bardes et al. 2024, arXiv 2404.08471), section 3.2, and its published code,
        which draws duration, scale and aspect in this order, the first two from ranges of no
        width: seeded like its, a generator gives its sizes.
    """
    frames, height, width = grid
    low, high = config.aspect
    _, _, share = torch.rand(3, generator=generator, device=generator.device).tolist()
    aspect = low + (high - low) * share
    area = int(places * config.scale)
    duration = max(1, int(frames * config.duration))
    h = min(height, max(1, round(math.sqrt(area * aspect))))
    w = min(width, max(1, round(math.sqrt(area / aspect))))
    if (duration, h, w) == grid:
        h, w = (h - 1, w) if height >= width else (h, w - 1)
    return duration, h, w


def block_mask(
    rows: int,
    grid: Grid,
    config: BlockConfig,
    generator: torch.Generator,
    places: Places | None = None,
) -> TokenMask:
    """Hide the union of a few boxes, equally large for all rows, placed anew for each.

    Of what may be seen, every row hides something and shows something: others are drawn again,
    as published, and if that does not help, one place drawn at random is turned over.

    Args:
        rows: Number of masks.
        grid: Tubelets along time, height and width.
        config: How many boxes, how large.
        generator: Source of the draw.
        places: What may be seen at all, at least two places a row; everything if left out. The
            boxes then lie in its bounding box.
    """
    sector = every_place(rows, grid) if places is None else places
    size = block_size(grid, sector.shape[1], config, generator)
    visible = tokens_at(sector, grid)
    mask = union(draw_corners(sector, grid, size, config.blocks, generator), size, grid)
    for _ in range(REDRAWS):
        poor = is_poor(mask.gather(1, visible))
        if not poor.any():
            return mask
        again = union(draw_corners(sector, grid, size, config.blocks, generator), size, grid)
        mask = torch.where(poor[:, None], again, mask)
    poor = is_poor(mask.gather(1, visible))
    one = torch.randint(sector.shape[1], (rows, 1), generator=generator)
    tube = tokens_at(sector.gather(1, one), grid)
    hidden = mask.gather(1, tube)
    return mask.scatter(1, tube, hidden ^ poor[:, None])


def is_poor(hidden: Bool[Tensor, "rows seen"]) -> Bool[Tensor, " rows"]:
    """Return which rows hide everything or nothing."""
    return hidden.all(dim=1) | ~hidden.any(dim=1)


def draw_corners(
    sector: Places, grid: Grid, size: Grid, blocks: int, generator: torch.Generator
) -> Int[Tensor, "rows blocks 3"]:
    """Draw where blocks begin along time, height and width, evenly over a sector's extent."""
    rows, device = len(sector), generator.device
    _, _, width = grid
    corners = []
    extents = (torch.tensor([[0, grid[0] - 1]]), sector // width, sector % width)
    for side, length, place in zip(grid, size, extents, strict=True):
        low = place.amin(dim=1, keepdim=True).clamp(max=side - length)
        last = (place.amax(dim=1, keepdim=True) + 1 - length).maximum(low)
        share = torch.rand(rows, blocks, generator=generator, device=device)
        corners.append(low + (share * (last - low + 1)).long())
    return torch.stack(corners, dim=2)


def union(corners: Int[Tensor, "rows blocks 3"], size: Grid, grid: Grid) -> TokenMask:
    """Return what boxes of one size at some corners hide."""
    inside = []
    for axis, (side, length) in enumerate(zip(grid, size, strict=True)):
        first = corners[:, :, axis, None]
        place = torch.arange(side, device=corners.device)
        inside.append((place >= first) & (place < first + length))
    time, row, column = inside
    boxes = time[:, :, :, None, None] & row[:, :, None, :, None] & column[:, :, None, None, :]
    return boxes.any(dim=1).flatten(1)


def context_and_targets(
    mask: TokenMask,
    generator: torch.Generator,
    *,
    visible: TokenIds | None = None,
    truncate: Literal["random", "tail"] = "random",
) -> tuple[Int[Tensor, "rows context"], Int[Tensor, "rows targets"]]:
    """Turn masks into visible and hidden ids, ascending, equally many in every row.

    Longer rows lose tokens at random. V-JEPA's own code cuts the end of the list (``tail``),
    which is the end of the clip, so that late frames are hardly ever seen or predicted:
    measured, 4 to 5 % of the context that the first tubelet has. In a heart that is a phase of
    the beat.

    Args:
        mask: What is hidden; something and not everything in every row.
        generator: Source of the draw.
        visible: What may be seen at all, ascending; everything if left out.
        truncate: What longer rows lose.
    """
    allowed = torch.ones_like(mask)
    if visible is not None:
        allowed = torch.zeros_like(mask).scatter(1, visible, value=True)
    found = []
    for candidates in (~mask & allowed, mask & allowed):
        count = int(candidates.sum(dim=1).min())
        if truncate == "tail":
            order = candidates.byte().argsort(dim=1, descending=True, stable=True)
            found.append(order[:, :count].contiguous())
        else:
            found.append(draw_ids(candidates, count, generator))
    return found[0], found[1]
