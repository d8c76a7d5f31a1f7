"""From the tokens of clips to the rows of a table: per clip, frame, token or patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from echocli.api._embed.units import PIXELS, Units
from echocli.api._encode import (
    BATCH,
    POOL,
    WINDOWS,
    EncodedGroup,
    batch_for,
    check_wishes,
    encode_groups,
    pooled,
)
from echocli.api._sector import grid_of
from echocli.api._windows import window_frames
from echocli.checkpoint import LoadedModel
from echocli.clips.store import ClipSet
from echocli.clips.windows import spread_starts
from echocli.console import Advance
from echocli.device import Device
from echocli.errors import EchoError, UsageError
from echocli.models.pooling import pooled_dim
from echocli.models.shapes import Grid
from echocli.table_formats import Rows
from echocli.tables import IDS

PER = ("clip", "frame", "token", "patient")
MAPPED_BYTES = 2**26
"""Of clips that were read, before they no longer count as this process's memory."""
WITHIN = {"frame": "places", "token": "none"}
"""What is averaged into a row that is part of a clip; whole clips are pooled as asked."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a row is."""

    per: str = "clip"
    pool: str = POOL
    """Of clips and patients; see ``models/pooling.py``."""
    windows: int = WINDOWS
    keep_windows: bool = False
    """Give each window of a clip a row, instead of their mean."""
    batch: int = BATCH
    """Windows that cross the network together."""

    @classmethod
    def of(
        cls,
        model: LoadedModel,
        per: str,
        pool: str | None,
        windows: int,
        keep: bool,
        batch: int | None,
    ) -> Layout:
        """Return the layout that is asked for.

        Raises:
            UsageError: If it makes no sense for this model.
        """
        if per not in PER:
            raise UsageError(f"There is no --per {per}.", f"Choose among {', '.join(PER)}.")
        if pool is not None and per in WITHIN:
            raise UsageError(
                f"--pool {pool} summarises clips; rows per {per} are not pooled.",
                "Leave --pool out, or use --per clip.",
            )
        if keep and per == "patient":
            raise UsageError(
                "A patient is the mean of all windows of all clips; none is kept.",
                "Use --keep-windows with --per clip.",
            )
        check_wishes(model, pool or POOL, windows)
        return cls(
            per=per,
            pool=WITHIN.get(per, pool or POOL),
            windows=windows,
            keep_windows=keep or per in WITHIN,
            batch=batch or batch_for(model),
        )

    def width(self, model: LoadedModel) -> int:
        """Return the numbers of a vector."""
        dim = model.encoder.config.dim
        return dim if self.per in WITHIN else pooled_dim(dim, self.pool)

    def rows_a_clip(self, grid: Grid) -> int:
        """Return how many rows a clip becomes, at most."""
        time, height, width = grid
        within = {"frame": time, "token": time * height * width}.get(self.per, 1)
        return within * (self.windows if self.keep_windows else 1)


class _Part(NamedTuple):
    """Rows of a clip."""

    positions: dict[str, NDArray[Any]]
    vectors: NDArray[np.float32]


def like(units: Units, layout: Layout) -> pd.DataFrame:
    """Return a table with the columns of the result and every value that they may hold."""
    positions = {
        name: np.zeros(len(units), np.float64 if name == "time_s" else np.int32)
        for name in position_names(layout)
    }
    return placed(units.table, positions)


def encode_units(
    model: LoadedModel,
    clips: ClipSet,
    units: Units,
    layout: Layout,
    place: Device,
    done: Advance | None = None,
) -> Rows:
    """Return the rows of some units, in their order.

    Args:
        model: The encoder.
        clips: The clips.
        units: What shall become rows.
        layout: What a row is.
        place: Where to compute.
        done: Counts the clips.

    Raises:
        EchoError: If a clip gave no row.
    """
    wanted = [row for rows in units.rows for row in rows]
    grid = grid_of(model.encoder, model.data)
    found: dict[int, _Part] = {}
    for seen in encode_groups(
        model, clips, wanted, layout.windows, place, batch=layout.batch, done=done
    ):
        vectors = _vectors(seen, grid, layout)
        for index, row in enumerate(seen.rows):
            positions = _positions(model, clips, row, seen, index, layout, grid)
            found[row] = _Part(positions, vectors[index])
    if missing := set(wanted) - set(found):
        first = clips.manifest["clip_id"].iloc[min(missing)]
        raise EchoError(
            f"{len(missing)} clip(s) gave no row, first clip {first}.",
            "Nothing was written. Run it again; if it stays so, please report it.",
        )
    clips.forget(beyond=MAPPED_BYTES)
    return _joined(units, [[found[row] for row in rows] for rows in units.rows], layout)


def _vectors(seen: EncodedGroup, grid: Grid, layout: Layout) -> NDArray[np.float32]:
    """Return the rows of each clip of a group, ``(clips, rows, width)``."""
    if layout.per in WITHIN:
        tokens: Float[Tensor, "clips windows ..."] = seen.tokens
        if layout.per == "frame":
            tokens = tokens.view(*tokens.shape[:2], grid[0], -1, tokens.shape[-1]).mean(dim=3)
        vectors = tokens.flatten(1, 2)
    else:
        vectors = pooled(seen, grid, layout.pool)
        vectors = vectors if layout.keep_windows else vectors.mean(dim=1, keepdim=True)
    found: NDArray[np.float32] = vectors.cpu().numpy()
    return found


def position_names(layout: Layout) -> list[str]:
    """Return the columns that tell where in its clip a row lies."""
    names = ["window"] if layout.keep_windows else []
    names += ["step"] if layout.per in WITHIN else []
    names += ["row", "column"] if layout.per == "token" else []
    return [*names, "frame", "time_s"] if names else []


def _positions(
    model: LoadedModel,
    clips: ClipSet,
    row: int,
    seen: EncodedGroup,
    index: int,
    layout: Layout,
    grid: Grid,
) -> dict[str, NDArray[Any]]:
    """Return where in its clip each of its rows lies, and which frame that begins with."""
    if not layout.keep_windows:
        return {}
    times = clips.times_s(row)
    frames = window_frames(clips, row, model.data, spread_starts(layout.windows))
    window = np.arange(layout.windows)
    step = np.zeros(1, np.int64)
    places = step
    if layout.per in WITHIN:
        step, places = _tokens_of(seen, index, grid)
        if layout.per == "frame":
            step = np.arange(grid[0])
    window, step = (np.ravel(column) for column in np.meshgrid(window, step, indexing="ij"))
    frame = frames[window, step * model.encoder.config.tubelet[0]]
    columns = {"window": window, "step": step, "frame": frame}
    if layout.per == "token":
        columns["row"], columns["column"] = np.divmod(np.tile(places, layout.windows), grid[2])
    columns = {name: column.astype(np.int32) for name, column in columns.items()}
    time_s = np.full(len(frame), np.nan) if times is None else times[frame]
    return {name: {**columns, "time_s": time_s}[name] for name in position_names(layout)}


def _tokens_of(
    seen: EncodedGroup, index: int, grid: Grid
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return time step and place of each token of a clip."""
    time, height, width = grid
    tokens = torch.arange(time * height * width) if seen.places is None else seen.places[index]
    step, place = np.divmod(tokens.cpu().numpy(), height * width)
    return step, place


def _joined(units: Units, parts: Sequence[Sequence[_Part]], layout: Layout) -> Rows:
    """Return the rows of all units, each with what is known of its unit."""
    if layout.per == "patient":
        means = [np.mean([part.vectors[0] for part in own], axis=0) for own in parts]
        return Rows(units.table, np.stack(means))
    own = [part for of_unit in parts for part in of_unit]
    sizes = [len(part.vectors) for part in own]
    names = position_names(layout)
    table = units.table  # as it is, where a unit is a row: taking rows costs milliseconds
    if names:
        table = table.iloc[np.repeat(np.arange(len(own)), sizes)].reset_index(drop=True)
    positions = {name: np.concatenate([part.positions[name] for part in own]) for name in names}
    return Rows(placed(table, positions), np.concatenate([p.vectors for p in own]))


def placed(table: pd.DataFrame, positions: dict[str, NDArray[Any]]) -> pd.DataFrame:
    """Return a table with columns of positions after those of its ids."""
    first = [name for name in (*IDS, PIXELS) if name in table]
    rest = [name for name in table if name not in first]
    if not positions:
        ordered = [*first, *rest]
        return table if ordered == list(table) else table[ordered]
    return pd.concat(
        [table[first], pd.DataFrame(positions, index=table.index), table[rest]], axis=1
    )
