"""Which tokens of stored clips a network sees: all, or those in the sector.

The sector is the one that intake found and blacked everything else out around; dark tissue
inside it, such as a wall that no echo came back from, is looked at like any other.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from echocli.clips.contract import DataConfig
from echocli.clips.store import ClipSet
from echocli.clips.windows import to_sector
from echocli.models.masking import every_place, tokens_at
from echocli.models.sector import (
    columns_inside,
    first_places,
    in_order,
    share_of,
    share_of_most,
)
from echocli.models.shapes import Grid, Sector, TokenIds
from echocli.models.vit import VisionTransformer

ENOUGH = 1000
"""Clips that are asked how large sectors are."""
LOOKED_AT = 256
"""Sectors that are looked at together: one costs as much alone as many."""


class Group(NamedTuple):
    """Clips that cross a network together."""

    rows: list[int]
    seen: TokenIds | None
    """Tokens that the network sees of each; ``None`` for all."""


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
    if not data.sector_tokens:
        return 1.0
    return shares_of(columns_inside(sectors_of(clips, [row], data), grid))[0]


def shares_of(inside: Bool[Tensor, "clips columns"]) -> list[float]:
    """Return the share of the columns that holds all those in each sector."""
    return [share_of(count, inside.shape[1]) for count in inside.sum(dim=1).tolist()]


def groups(
    clips: ClipSet,
    rows: Sequence[int],
    data: DataConfig,
    grid: Grid,
    most: int,
    least: float = 0.0,
) -> Iterator[Group]:
    """Yield all clips, those together whose frames and shares are equal, in changed order.

    Args:
        clips: The clips.
        rows: Which of them.
        data: The input contract.
        grid: Tubelets of a window.
        most: Clips a group.
        least: Share of the columns that is seen of every clip at least.
    """
    shares = [1.0] * len(rows)
    orders: dict[int, Tensor] = {}

    def keys() -> Iterator[Hashable]:
        for first in range(0, len(rows), LOOKED_AT):
            some = range(first, min(first + LOOKED_AT, len(rows)))
            if data.sector_tokens:
                sectors = sectors_of(clips, [rows[index] for index in some], data)
                inside = columns_inside(sectors, grid)
                orders.update(zip(some, in_order(inside, grid).unbind(), strict=True))
                shares[some.start : some.stop] = [max(least, s) for s in shares_of(inside)]
            for index in some:
                yield clips.frames(rows[index]).shape[1:], shares[index]

    for group in alike(keys(), most):
        own = [orders.pop(index) for index in group] if orders else []
        share, seen = shares[group[0]], None
        if share < 1:
            seen = tokens_at(first_places(torch.stack(own), share), grid)
        yield Group([rows[index] for index in group], seen)


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
    times: Sequence[int] | None = None,
) -> TokenIds | None:
    """Return the tokens that the network sees of clips of equal shares; ``None`` for all.

    Args:
        clips: The clips.
        rows: Which of them; their frames may differ in size.
        data: The input contract.
        grid: Tubelets of a window.
        times: Tubelets along time that are seen; all if left out.
    """
    whole = times is None or len(times) == grid[0]
    share, places = 1.0, every_place(len(rows), grid)
    if data.sector_tokens:
        inside = columns_inside(sectors_of(clips, rows, data), grid)
        share = shares_of(inside[:1])[0]
        places = first_places(in_order(inside, grid), share)
    if share == 1 and whole:
        return None
    seen = tokens_at(places, grid)
    return seen if whole else seen.view(len(rows), grid[0], -1)[:, list(times or ())].flatten(1)
