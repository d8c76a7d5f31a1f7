"""Which tokens a network sees, drawn for a whole batch from a generator.

Masks are made where the generator lives, normally the CPU: counting there costs the device no
wait, and every device draws the same masks.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from .shapes import Grid, Places, TokenIds


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
    """Hide the same places in every frame and return what is left.

    One place at least is hidden, and one is left; of a single place nothing is hidden.

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
    kept = max(1, min(count - 1, count - round(ratio * count)))
    candidates = torch.ones(rows, count, dtype=torch.bool, device=generator.device)
    columns = draw_ids(candidates, kept, generator)
    per_clip = rows if places is None else rows // len(places)
    return tokens_at(found.repeat_interleave(per_clip, dim=0).gather(1, columns), grid)


def draw_ids(
    candidates: Bool[Tensor, "rows tokens"], count: int, generator: torch.Generator
) -> TokenIds:
    """Draw ``count`` of the candidates of every row, without repetition, ascending."""
    draw = torch.rand(candidates.shape, generator=generator, device=generator.device)
    order = torch.where(candidates, draw, 2.0).argsort(dim=1)
    return order[:, :count].sort(dim=1).values
