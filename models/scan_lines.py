"""Where each pixel of a sector lies on the scan: how deep, and how far to the side.

Read from the sector's outline alone: its straight sides meet where the scan lines begin.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Fan: TypeAlias = Bool[Tensor, "height width"]
"""True where one clip's scan is."""

LEAST_SPREAD = 0.02
"""Columns that the sides of a fan part in each row, at least; a linear scan's are parallel."""
LEAST_ROWS = 8
"""Rows that a side is read from, where it must not be read from the picture's border."""


class ScanLines(NamedTuple):
    """Polar places of all pixels, in shares of the sector's."""

    depth: Float[Tensor, "height width"]
    """0 at the probe, 1 at the deepest pixel of the sector."""
    side: Float[Tensor, "height width"]
    """Angle, -1 at the sector's left side, 1 at its right."""


def scan_lines(sector: Fan) -> ScanLines:
    """Return where each pixel lies on the scan; all 0 where there is no sector.

    Args:
        sector: With the probe at the top.
    """
    rows = sector.any(dim=1).nonzero().flatten()
    if not len(rows):
        nothing = torch.zeros(sector.shape)
        return ScanLines(nothing, nothing)
    row0, column0 = _apex(sector, rows)
    down = torch.arange(sector.shape[0], dtype=torch.float64)[:, None] - row0
    across = torch.arange(sector.shape[1], dtype=torch.float64) - column0
    depth = _share(torch.hypot(down, across), sector)
    # Near the probe half a pixel is a large angle; a sector of one depth is all near.
    far = sector & (depth >= 0.5)
    angle = _share(torch.atan2(across, down), far if bool(far.any()) else sector)
    return ScanLines(depth.float(), (2 * angle - 1).clamp(-1, 1).float())


def _share(values: Float[Tensor, "height width"], where: Fan) -> Float[Tensor, "height width"]:
    """Scale values so that those at some pixels go from 0 to 1."""
    low, high = values[where].min(), values[where].max()
    return (values - low) / (high - low).clamp(min=1e-9)


def _apex(sector: Fan, rows: Tensor) -> tuple[float, float]:
    """Return the row and the column where the sides meet, above the sector."""
    width = sector.shape[1]
    left = sector.int().argmax(dim=1)[rows]
    right = width - 1 - sector.flip(1).int().argmax(dim=1)[rows]
    until = int((right - left).argmax()) + 1  # below its widest row a fan is an arc
    sides = []
    for edge, border in ((left, 0), (right, width - 1)):
        upper, at = edge[:until], rows[:until]
        inner = upper != border
        if int(inner.sum()) >= LEAST_ROWS:
            upper, at = upper[inner], at[inner]
        sides.append(_line(at.double(), upper.double()))
    (left0, left_slope), (right0, right_slope) = sides
    spread = max(right_slope - left_slope, LEAST_SPREAD)
    row0 = min((left0 - right0) / spread, float(rows[0]) - 0.5)
    middle = (left0 + left_slope * row0 + right0 + right_slope * row0) / 2
    return row0, middle


def _line(at: Float[Tensor, " rows"], edge: Float[Tensor, " rows"]) -> tuple[float, float]:
    """Return intercept and slope of a side; a probe's round face moves medians little."""
    half = max(1, len(at) // 2)
    slopes = (edge[half:] - edge[:-half]) / (at[half:] - at[:-half])
    slope = float(slopes.median()) if len(slopes) else 0.0
    return float((edge - slope * at).median()), slope
