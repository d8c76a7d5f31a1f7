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
    return torch.cat([to_sector(clips.sector(row)[None], data) for row in rows])


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
    if not data.sector_tokens:
        return 1.0
    inside = columns_inside(sectors_of(clips, [row], data), grid)
    return share_of(int(inside.sum()), inside.shape[1])


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
    keys = (
        (clips.frames(row).shape[1:], max(least, share_of_clip(clips, row, data, grid)))
        for row in rows
    )
    for group in alike(keys, most):
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
    share = max(least, share_of_clip(clips, rows[0], data, grid))
    whole = times is None or len(times) == grid[0]
    if share == 1 and whole:
        return None
    if share == 1:
        places = every_place(len(rows), grid)
    else:
        places = choose_places(sectors_of(clips, rows, data), grid, share)
    ids = tokens_at(places, grid)
    if whole:
        return ids
    return ids.view(len(rows), grid[0], -1)[:, list(times or ())].flatten(1)
