"""Which tokens of stored clips a network sees: all, or those in the sector.

The sector is the one that intake found and blacked everything else out around; dark tissue
inside it, such as a wall that no echo came back from, is looked at like any other.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence

import numpy as np
import torch

from echocli.clips.contract import DataConfig
from echocli.clips.store import ClipSet
from echocli.clips.windows import to_sector
from echocli.models.masking import every_place, tokens_at
from echocli.models.sector import choose_places, columns_inside, share_of, share_of_most
from echocli.models.shapes import Grid, Sector, TokenIds
from echocli.models.vit import VisionTransformer

ENOUGH = 1000
"""Clips that are asked how large sectors are."""
LOOKED_AT = 64
"""Sectors that are looked at together: one costs little more alone."""


def grid_of(encoder: VisionTransformer, data: DataConfig) -> Grid:
    """Return the tubelets of a window."""
    return encoder.grid((data.frames, data.size, data.size))


def sectors_of(clips: ClipSet, rows: Sequence[int], data: DataConfig) -> Sector:
    """Return where some clips have anything to see, at the network's size.

    Args:
        clips: The clips.
        rows: Which of them; their frames may differ in size.
        data: The input contract.
    """
    found = [clips.sector(row) for row in rows]
    if len({sector.shape for sector in found}) == 1:
        return to_sector(np.stack(found), data)
    return torch.cat([to_sector(sector[None], data) for sector in found])


def share_to_train(
    clips: ClipSet, rows: Sequence[int], data: DataConfig, grid: Grid
) -> float | None:
    """Return the share of the grid's columns that a training looks at; ``None`` if it is all.

    Args:
        clips: The clips.
        rows: Those to train on.
        data: The input contract.
        grid: Tubelets of a window.
    """
    if not data.sector_tokens:
        return None
    chosen = np.unique(np.linspace(0, len(rows) - 1, ENOUGH).round().astype(int))
    inside = columns_inside(sectors_of(clips, [rows[i] for i in chosen], data), grid)
    share = share_of_most(inside)
    return share if share < 1 else None


def share_of_clip(clips: ClipSet, row: int, data: DataConfig, grid: Grid) -> float:
    """Return the share of the columns that holds all of a clip's sector."""
    return shares_of(sectors_of(clips, [row], data), grid)[0] if data.sector_tokens else 1.0


def shares_of(sectors: Sector, grid: Grid) -> list[float]:
    """Return the share of the columns that holds all of each sector."""
    inside = columns_inside(sectors, grid)
    return [share_of(count, inside.shape[1]) for count in inside.sum(dim=1).tolist()]


def groups(
    clips: ClipSet,
    rows: Sequence[int],
    data: DataConfig,
    grid: Grid,
    most: int,
    least: float = 0.0,
) -> Iterator[list[int]]:
    """Yield all rows, those together whose frames and shares are equal, in changed order.

    Args:
        clips: The clips.
        rows: Which of them.
        data: The input contract.
        grid: Tubelets of a window.
        most: Rows a group.
        least: Share of the columns that is seen of every clip at least.
    """

    def keys() -> Iterator[Hashable]:
        for first in range(0, len(rows), LOOKED_AT):
            some = rows[first : first + LOOKED_AT]
            shares = [1.0] * len(some)
            if data.sector_tokens:
                shares = shares_of(sectors_of(clips, some, data), grid)
            for row, share in zip(some, shares, strict=True):
                yield clips.frames(row).shape[1:], max(least, share)

    for group in alike(keys(), most):
        yield [rows[index] for index in group]


def alike(keys: Iterable[Hashable], most: int) -> Iterator[list[int]]:
    """Yield the indices of equal keys together, so many at most, each index once."""
    waiting: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        group = waiting.setdefault(key, [])
        group.append(index)
        if len(group) == most:
            yield waiting.pop(key)
    yield from waiting.values()


def tokens_seen(
    clips: ClipSet,
    rows: Sequence[int],
    data: DataConfig,
    grid: Grid,
    least: float = 0.0,
    times: Sequence[int] | None = None,
) -> TokenIds | None:
    """Return the tokens that the network sees of some clips of one group; ``None`` for all.

    Args:
        clips: The clips.
        rows: Which of them.
        data: The input contract.
        grid: Tubelets of a window.
        least: Share of the columns that is seen of every clip at least.
        times: Tubelets along time that are seen; all if left out.
    """
    sectors = sectors_of(clips, rows, data) if data.sector_tokens else None
    share = 1.0 if sectors is None else max(least, *shares_of(sectors[:1], grid))
    whole = times is None or len(times) == grid[0]
    if share == 1 and whole:
        return None
    if sectors is None or share == 1:
        places = every_place(len(rows), grid)
    else:
        places = choose_places(sectors, grid, share)
    ids = tokens_at(places, grid)
    if whole:
        return ids
    return ids.view(len(rows), grid[0], -1)[:, list(times or ())].flatten(1)
