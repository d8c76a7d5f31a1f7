"""Rows of a manifest, each compared with itself and with the bytes that it points at."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from echocli.clips.manifest import COLUMNS, ID
from echocli.clips.mask_grid import spacing_of
from echocli.clips.store import PACKED

HASH = re.compile(r"[0-9a-f]{64}")
LATER = (
    "mask_height", "mask_width", "mask_box", "mask_row_mm", "mask_column_mm",
    "r_waves_s", "r_wave_source", "study_date", "notes",
)  # fmt: skip
"""Columns that older sets lack."""


def schema_problems(schema: pa.Schema) -> Iterator[str]:
    """Yield the columns that are missing or hold something else than they should."""
    for field in COLUMNS:
        if field.name in schema.names:
            if schema.field(field.name).type not in (field.type, pa.null()):
                yield f"column {field.name} is of another type"
        elif field.name not in LATER:
            yield f"column {field.name} is missing"


def row_problems(row: dict[str, Any], sizes: dict[str, int]) -> Iterator[str]:
    """Yield what is wrong with one row.

    Args:
        row: The row, with the types of ``COLUMNS``.
        sizes: Bytes of each file of packed pixels that is there.
    """
    shape = tuple(row[name] for name in ("frames", "height", "width"))
    if any(side is None or side < 1 for side in shape):
        yield "its size makes no sense"
        return
    for name in ("clip_id", "patient_id", "study_id", "source_sha256"):
        if row[name] is None or not ID.fullmatch(row[name]):
            yield f"its {name} is no id"
    frames, height, width = shape
    yield from _place_problems(row, "shard", "offset", frames * height * width, sizes)
    yield from _time_problems(row, frames)
    if row["sector"] is None or len(row["sector"]) != -(-height * width // 8):
        yield "its sector has another size than its frames"
    if row["pixels_sha256"] is None or not HASH.fullmatch(row["pixels_sha256"]):
        yield "it has no hash of its pixels"
    spacing = (row["row_mm"], row["column_mm"])
    known = [mm for mm in spacing if mm is not None]
    if len(known) == 1 or not all(0 < mm < np.inf for mm in known):
        yield "its millimetres per pixel make no sense"
    masked = row["mask_frames"] or []
    if len(set(masked)) != len(masked) or not all(0 <= frame < frames for frame in masked):
        yield "its masks belong to frames that it has not"
    elif masked:
        yield from _mask_problems(row, height, width)
        size = len(masked) * int(np.prod(_mask_size(row)))
        yield from _place_problems(row, "mask_shard", "mask_offset", size, sizes)


def _mask_size(row: dict[str, Any]) -> tuple[int, int]:
    """Return height and width of a mask: those of the frames in sets that do not say."""
    height, width = row.get("mask_height"), row.get("mask_width")
    if height is None or width is None:
        return row["height"], row["width"]
    return height, width


def _mask_problems(row: dict[str, Any], height: int, width: int) -> Iterator[str]:
    box, size = row.get("mask_box"), _mask_size(row)
    if min(size) < 1 or (box is None) != (row.get("mask_height") is None):
        yield "the size of its masks makes no sense"
    elif box is not None:
        if (
            len(box) != 4
            or not (0 <= box[0] < box[1] <= height)
            or not (0 <= box[2] < box[3] <= width)
        ):
            yield "its masks lie outside its frames"
            return
        spacing = None if row["row_mm"] is None else (row["row_mm"], row["column_mm"])
        right = spacing_of(size, tuple(box), spacing) or (None, None)
        if (row.get("mask_row_mm"), row.get("mask_column_mm")) != right:
            yield "the millimetres of its masks are not those of its frames"


def _place_problems(
    row: dict[str, Any], shard: str, offset: str, size: int, sizes: dict[str, int]
) -> Iterator[str]:
    name, start = row[shard], row[offset]
    if name is None or not PACKED.fullmatch(name):
        yield "it points at a file that cannot belong to a clip set"
    elif name not in sizes:
        yield f"its file {name} is missing"
    elif start is None or start < 0 or start + size > sizes[name]:
        yield f"it reaches beyond the end of {name}"


def _time_problems(row: dict[str, Any], frames: int) -> Iterator[str]:
    if row["times_s"] is None:
        if row["time_source"] != "unknown":
            yield "its times are missing"
        return
    times = np.array(row["times_s"], dtype=np.float64)
    if len(times) != frames or not np.isfinite(times).all():
        yield "it has not one time for each frame"
    elif times[0] != 0 or (np.diff(times) <= 0).any():
        yield "its times do not increase from 0"


def places(rows: pa.Table) -> pd.DataFrame:
    """Return where the pixels of each clip lie: file, first byte, byte after the last."""
    names = ["clip_id", "pixels_sha256", "shard", "offset", "mask_shard"]
    table: pd.DataFrame = rows.select(names).to_pandas()
    height, width = (rows[name].to_numpy().astype(np.int64) for name in ("height", "width"))
    masks = pc.fill_null(pc.list_value_length(rows["mask_frames"]), 0).to_numpy()
    table["size"] = rows["frames"].to_numpy() * height * width
    own = [
        _mask_sides(rows, name, of)
        for name, of in (("mask_height", height), ("mask_width", width))
    ]
    table["mask_size"] = masks * own[0] * own[1]
    return table


def _mask_sides(rows: pa.Table, name: str, frames: NDArray[np.int64]) -> NDArray[np.int64]:
    if name not in rows.column_names:
        return frames
    told = rows[name].to_pandas().to_numpy(np.float64)
    return np.where(np.isnan(told), frames, told).astype(np.int64)


def overlaps(table: pd.DataFrame) -> Iterator[str]:
    """Yield ids of clips whose frames share bytes with those of the clip before."""
    placed = table.sort_values(["shard", "offset"])
    ends = (placed["offset"] + placed["size"]).shift()
    shared = (placed["shard"] == placed["shard"].shift()) & (placed["offset"] < ends)
    yield from placed["clip_id"][shared]


def unused_bytes(table: pd.DataFrame, sizes: dict[str, int]) -> Iterator[tuple[str, int]]:
    """Yield files that hold bytes of no row, and how many."""
    used = table.groupby("shard")["size"].sum().to_dict()
    used |= table.groupby("mask_shard")["mask_size"].sum().to_dict()
    for name, size in sizes.items():
        if size > used.get(name, 0):
            yield name, size - used.get(name, 0)


def sizes_of(folder: Path, names: Sequence[str]) -> dict[str, int]:
    """Return the size of each file of packed pixels."""
    return {name: (folder / name).stat().st_size for name in names}
