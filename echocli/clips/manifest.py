"""The manifest of a clip set: one row a clip, in Parquet parts whose union is the set."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from echocli.clips.mask_grid import spacing_of
from echocli.clips.record import Clip, Label, mean_rate_hz, word_of
from echocli.errors import EchoError
from echocli.files import DAMAGED, opened_by_name, read_json, sha256_of

METADATA_KEY = b"echocli"
ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
"""What an id looks like: that of a clip becomes the name of files."""
SCHEMA = "echocli.clips/1"

COLUMNS = pa.schema(
    [
        ("clip_id", pa.string()),
        ("patient_id", pa.string()),
        ("study_id", pa.string()),
        ("source_sha256", pa.string()),
        ("frames", pa.int32()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("frame_rate_hz", pa.float64()),
        ("times_s", pa.list_(pa.float64())),
        ("time_source", pa.string()),
        ("row_mm", pa.float64()),
        ("column_mm", pa.float64()),
        ("spacing_source", pa.string()),
        ("shard", pa.string()),
        ("offset", pa.int64()),
        ("mask_shard", pa.string()),
        ("mask_offset", pa.int64()),
        ("mask_frames", pa.list_(pa.int32())),
        ("mask_height", pa.int32()),
        ("mask_width", pa.int32()),
        ("mask_box", pa.list_(pa.int32())),
        ("mask_row_mm", pa.float64()),
        ("mask_column_mm", pa.float64()),
        ("sector", pa.binary()),
        ("pixels_sha256", pa.string()),
        ("r_waves_s", pa.list_(pa.float64())),
        ("r_wave_source", pa.string()),
        ("study_date", pa.string()),
        ("notes", pa.list_(pa.string())),
    ]
)
"""What every clip has; label columns follow. Sets made before a column was thought of read as
if it were empty."""

LABELS = {
    "ef_percent": pa.float64(),
    "edv_ml": pa.float64(),
    "esv_ml": pa.float64(),
    "normal": pa.bool_(),
    "split": pa.string(),
    "view": pa.string(),
    "ed_frame": pa.int32(),
    "es_frame": pa.int32(),
    "quality": pa.string(),
    "sex": pa.string(),
    "age_years": pa.float64(),
    "weight_kg": pa.float64(),
    "height_cm": pa.float64(),
    "scanner": pa.string(),
    "centre": pa.string(),
    "dataset": pa.string(),
    "diagnosis": pa.string(),
    "mi_segments": pa.int32(),
    "fold": pa.int32(),
    "split_fold0": pa.string(),
    "split_fold1": pa.string(),
    "split_fold2": pa.string(),
    "rvef_percent": pa.float64(),
    "rvedv_ml": pa.float64(),
    "rvesv_ml": pa.float64(),
    "ivsd_cm": pa.float64(),
    "lvidd_cm": pa.float64(),
    "lvpwd_cm": pa.float64(),
    "lvids_cm": pa.float64(),
}
"""Standard label columns, so that parts written far from each other agree on types."""


def row_of(clip: Clip) -> dict[str, Any]:
    """Return the manifest row of a clip, without where its bytes are.

    Raises:
        ValueError: If a label has the name of another column.
    """
    clash = set(clip.labels) & set(COLUMNS.names)
    if clash:
        raise ValueError(f"Labels may not be called {', '.join(sorted(clash))}.")
    frames, height, width = clip.frames.shape
    row_mm, column_mm = clip.spacing_mm or (None, None)
    return {
        "clip_id": clip.clip_id,
        "patient_id": clip.patient_id,
        "study_id": clip.study_id,
        "source_sha256": clip.source_sha256,
        "frames": frames,
        "height": height,
        "width": width,
        "frame_rate_hz": mean_rate_hz(clip.times_s),
        "times_s": None if clip.times_s is None else clip.times_s.tolist(),
        "time_source": clip.time_source,
        "row_mm": row_mm,
        "column_mm": column_mm,
        "spacing_source": clip.spacing_source,
        "mask_frames": list(clip.mask_frames) or None,
        **_mask_columns(clip),
        "sector": np.packbits(clip.sector).tobytes(),
        "r_waves_s": list(clip.r_waves_s) or None,
        "r_wave_source": clip.r_wave_source,
        "study_date": clip.study_date,
        "notes": list(clip.notes) or None,
        **clip.labels,
    }


def _mask_columns(clip: Clip) -> dict[str, Any]:
    """Return where the masks lie, their size and their millimetres per pixel."""
    if clip.masks is None:
        return {}
    height, width = clip.masks.shape[1:]
    box = clip.mask_box or (0, clip.frames.shape[1], 0, clip.frames.shape[2])
    row_mm, column_mm = spacing_of((height, width), box, clip.spacing_mm) or (None, None)
    return {
        "mask_height": height,
        "mask_width": width,
        "mask_box": list(box),
        "mask_row_mm": row_mm,
        "mask_column_mm": column_mm,
    }


def write_part(path: Path, rows: Sequence[Mapping[str, Any]], kind: str) -> None:
    """Write the rows of one part to a (temporary) path."""
    names = [name for row in rows for name in row if name not in COLUMNS.names]
    columns = {
        field.name: pa.array([row.get(field.name) for row in rows], field.type)
        for field in COLUMNS
    }
    for name in dict.fromkeys(names):
        columns[name] = _label_array(name, [row.get(name) for row in rows])
    details = json.dumps({"schema": SCHEMA, "kind": kind}).encode()
    table = pa.table(columns).replace_schema_metadata({METADATA_KEY: details})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    path.write_bytes(sink.getvalue())  # Python says when a disk is full; pyarrow only fails


def read_parts(parts: Sequence[Path]) -> tuple[pd.DataFrame, str]:
    """Read the union of some parts, in the order of their names.

    Returns:
        The manifest, and what the set holds: ``clips`` or ``masks``.

    Raises:
        EchoError: If a part cannot be read or comes from something else.
    """
    tables = []
    kind = ""
    for part in parts:
        try:
            _check_hash(part)
            table = pq.read_table(opened_by_name(part))
            details = dict(json.loads((table.schema.metadata or {}).get(METADATA_KEY, b"{}")))
        except (pa.ArrowException, OSError, *DAMAGED):
            raise _unreadable(f"The manifest part {part.name} cannot be read.") from None
        if details.get("schema") != SCHEMA:
            raise EchoError(
                f"The manifest part {part.name} is of kind {details.get('schema')}, this "
                f"version reads {SCHEMA}.",
                "Run `echocli preprocess` again with this version.",
            )
        kind = str(details.get("kind"))
        tables.append(table)
    try:
        return joined([*tables, COLUMNS.empty_table()]).to_pandas(), kind
    except pa.ArrowException:
        raise _unreadable("The parts of the manifest do not fit together.") from None


def joined(parts: Sequence[pa.Table]) -> pa.Table:
    """Return the union of some parts.

    A label that nobody had named before gets its type from what a part holds of it: nothing in
    one, numbers in the next, words in a third. Together they are words, as in one part.

    Raises:
        pa.ArrowException: If the columns that every clip has are of other types.
    """
    labels = dict.fromkeys(
        name for part in parts for name in part.column_names if name not in COLUMNS.names
    )
    fitting = list(parts)
    for name in labels:
        own = [i for i, part in enumerate(parts) if name in part.column_names]
        columns = [parts[i][name] for i in own]
        if len({column.type for column in columns}) > 1:
            for i, column in zip(own, _of_one_type(columns), strict=True):
                place = fitting[i].column_names.index(name)
                fitting[i] = fitting[i].set_column(place, name, column)
    return pa.concat_tables(fitting, promote_options="permissive")


def _of_one_type(columns: Sequence[pa.ChunkedArray]) -> list[pa.Array | pa.ChunkedArray]:
    """Return columns that can be joined: nothing gives way to all, numbers to words."""
    known = {column.type for column in columns if column.null_count < len(column)}
    numbers = all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in known)
    as_words = len(known) > 1 and not numbers
    return [
        pa.nulls(len(column))
        if column.null_count == len(column)
        else _words(column.to_pylist())
        if as_words
        else column
        for column in columns
    ]


def _words(values: Sequence[Label]) -> pa.Array:
    """Return a column of labels as words."""
    return pa.array(
        [None if value is None else word_of(value) for value in values], pa.string()
    )


def _unreadable(problem: str) -> EchoError:
    remedy = "Copy the clip set again, or run `echocli preprocess --overwrite`."
    return EchoError(problem, remedy)


def _check_hash(part: Path) -> None:
    """Compare a part with the hash beside it; without one, a part may still be in the making.

    Raises:
        ValueError: If it has changed since it was written.
    """
    beside = part.with_suffix(".json")
    if not beside.is_file():
        return
    sums = read_json(beside)["sha256"]
    if sums[f"{part.parent.name}/{part.name}"] != sha256_of(part):
        raise ValueError("the manifest has changed since it was written")


def _label_array(name: str, values: Sequence[Label]) -> pa.Array:
    # NaN is how tables say "unknown"; the manifest has one word for that, null.
    known = [None if isinstance(value, float) and value != value else value for value in values]
    if name in LABELS:
        kind = LABELS[name]
    else:
        kinds = {type(value) for value in known if value is not None}
        mixed = len(kinds) > 1 and not kinds <= {int, float}
        kind = pa.string() if mixed or not kinds else None
        if kinds == {int, float}:
            kind = pa.float64()
    return _words(known) if kind == pa.string() else pa.array(known, kind)
