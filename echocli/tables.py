"""Embeddings as a table: Parquet, safetensors or CSV in files, CSV in pipelines, equal numbers.

A table may be a folder of parts, written by as many processes; it is read as one.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from echocli.errors import EchoError
from echocli.files import DAMAGED, atomic_path
from echocli.study import Study, called
from echocli.table_formats import COMMENT as COMMENT
from echocli.table_formats import (
    VECTOR,
    CsvSink,
    ParquetSink,
    Rows,
    Sink,
    Stored,
    open_csv,
    open_parquet,
)
from echocli.table_safetensors import SafetensorsSink, names_in, open_safetensors

SCHEMA = "echocli.embeddings/1"
IDS = ("clip_id", "patient_id", "study_id", "source_sha256")
"""Who a row is. Rows of patients have no ``clip_id`` and no ``study_id``."""
POSITION = ("window", "step", "row", "column")
"""Where in its clip a row lies, if it is no whole clip."""
RESULT_KEYS = ("model_sha256", "per", "pool", "windows", "keep_windows", "data")
"""Metadata that decide the numbers."""
IN_PLACE = "read_in_place"
"""Whether a result is of files that were read for it alone, so that no clip set holds its rows;
only then told."""
BEFORE = {"per": "clip", "keep_windows": False}
"""What tables say that were written before they could say something else."""
PART = re.compile(r"part-(\d+)of(\d+)\.parquet")


@dataclass(frozen=True)
class Embeddings:
    """Rows in memory: who each is, its labels, and its vector."""

    table: pd.DataFrame
    """Ids first, then positions, then label columns."""
    vectors: NDArray[np.float32]
    """One row for each row of ``table``."""
    metadata: dict[str, Any]
    """schema, model_sha256, per, pool, data (the input contract), windows, rows_sha256 ..."""

    def __post_init__(self) -> None:
        assert len(self.table) == len(self.vectors), "a row without its vector"


class RowsHash:
    """A hash of which vector belongs to which row, the same for every format."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def update(self, table: pd.DataFrame, vectors: NDArray[np.float32]) -> None:
        """Take further rows in."""
        names = [name for name in (*IDS, *POSITION) if name in table]
        rows = zip(*(table[name].astype(str).tolist() for name in names), strict=True)
        for ids, vector in zip(rows, np.ascontiguousarray(vectors, dtype="<f4"), strict=True):
            self._digest.update(" ".join(ids).encode() + b"\n")
            self._digest.update(vector.data)

    def hexdigest(self) -> str:
        """Return the hash of all rows so far."""
        return self._digest.hexdigest()


def rows_sha256(table: pd.DataFrame, vectors: NDArray[np.float32]) -> str:
    """Return a hash of which vector belongs to which row."""
    digest = RowsHash()
    digest.update(table, vectors)
    return digest.hexdigest()


@dataclass(frozen=True)
class Examined:
    """What a look at every vector of a table found."""

    whole: bool | None
    """Whether the rows are those that were written; ``None`` if the table tells no hash."""
    bad: list[int]
    """Rows whose vector is NaN, infinite or zero."""


def key_of(table: pd.DataFrame) -> str:
    """Return the column that names rows: of clips, of studies, or of patients."""
    return next((name for name in ("clip_id", "study_id") if name in table), "patient_id")


def result_keys(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return what of the metadata decides the numbers."""
    return {key: metadata.get(key, BEFORE.get(key)) for key in RESULT_KEYS}


@contextmanager
def sink_for(
    place: Path | IO[str],
    like: pd.DataFrame,
    width: int,
    metadata: dict[str, Any],
    *,
    suffix: str | None = None,
) -> Iterator[Sink]:
    """Open a file to be filled with rows.

    Args:
        place: Parquet, or CSV or safetensors by the ending of its name; a stream gets CSV.
        like: A table with every value that a column may hold, or others of the same kinds.
        width: Numbers a vector.
        metadata: What is known already.
        suffix: The ending that decides, if the name is a temporary one.
    """
    if not isinstance(place, Path):
        yield CsvSink(place, like, width, metadata)
        return
    kind = suffix or place.suffix
    if kind == ".csv":
        with place.open("w", encoding="utf-8", newline="") as file:
            yield CsvSink(file, like, width, metadata)
        return
    make = SafetensorsSink if kind == ".safetensors" else ParquetSink
    sink = make(place, like, width)
    try:
        yield sink
    finally:
        sink.close()


def write_embeddings(
    path: Path, embeddings: Embeddings, check: Callable[[Embeddings], None] | None = None
) -> None:
    """Write embeddings that are in memory.

    Args:
        path: The file; see ``sink_for``.
        embeddings: What to write; a hash of the rows is added if there is none.
        check: Called with what was read back; if it raises, the file is as it was before.
    """
    table, vectors, metadata = embeddings.table, embeddings.vectors, embeddings.metadata
    metadata = {"rows_sha256": rows_sha256(table, vectors), **metadata}
    width, kind = vectors.shape[1], path.suffix
    with atomic_path(path) as temporary:
        with sink_for(temporary, table, width, metadata, suffix=kind) as sink:
            sink.add(Rows(table, vectors))
            sink.finish(metadata)
        if check is not None:
            check(read_embeddings(temporary))


def read_embeddings(source: Path | str) -> Embeddings:
    """Read embeddings into memory; arguments and errors as in ``open_embeddings``."""
    stored = open_embeddings(source)
    vectors = list(stored.batches()) or [np.empty((0, stored.width), np.float32)]
    return Embeddings(stored.table, np.concatenate(vectors), stored.metadata)


def open_embeddings(source: Path | str, name: str = "The file") -> Stored:
    """Open embeddings: ids, labels and metadata now, vectors when they are asked for.

    Args:
        source: Parquet, CSV or safetensors file; a folder of parts; ``-`` reads CSV or Parquet
            from standard input.
        name: What to call a file that is something else.

    Raises:
        EchoError: If there are none, the file is something else, or a part is missing.
    """
    if str(source) == "-":
        return _parse(sys.stdin.buffer.read(), "Standard input")
    path = Path(source)
    if path.is_dir():
        return _union(path)
    if not path.is_file():
        raise EchoError(
            f"There are no embeddings: {called(path, Study().embeddings)} is not there.",
            "Run `echocli embed` first, or name the file that it wrote.",
        )
    return _parse(path, name)


def is_parts(folder: Path) -> bool:
    """Return whether a folder holds parts of a table."""
    return folder.is_dir() and any(PART.fullmatch(path.name) for path in folder.iterdir())


def is_embeddings(path: Path) -> bool:
    """Return whether a safetensors file holds embeddings, not weights."""
    with path.open("rb") as file:
        return VECTOR in names_in(file)


def _parse(source: Path | bytes, name: str) -> Stored:
    if isinstance(source, Path):
        with source.open("rb") as file:
            start = file.read(len(COMMENT))
    else:
        start = source[: len(COMMENT)]
    try:
        stored = _opened(source, start)
        ours = stored.metadata["schema"] == SCHEMA and stored.width > 0
    except (pa.ArrowException, OSError, *DAMAGED):
        ours = False  # whatever is wrong in it, the answer is the same
    if not ours:
        what = "holds no embeddings that can be read" if start else "is empty"
        raise EchoError(f"{name} {what}.", "Give what `echocli embed` wrote, whole.")
    return replace(stored, batches=lambda: _readable(stored, name))


def _readable(stored: Stored, name: str) -> Iterator[NDArray[np.float32]]:
    """Yield the vectors of a table.

    Raises:
        EchoError: If the file is damaged.
    """
    try:
        yield from stored.batches()
    except (pa.ArrowException, OSError, *DAMAGED):
        raise EchoError(
            f"{name} is damaged: its vectors cannot be read.",
            "Copy it again, or run `echocli embed --overwrite`.",
        ) from None


def _opened(source: Path | bytes, start: bytes) -> Stored:
    if start.startswith(b"PAR1"):
        return open_parquet(source if isinstance(source, Path) else io.BytesIO(source))
    if start == COMMENT.encode():
        content = source.read_bytes() if isinstance(source, Path) else source
        return open_csv(content.decode("utf-8"))
    if isinstance(source, Path) and start[8:9] == b"{":
        return open_safetensors(source)
    raise ValueError("no table of embeddings")


def _union(folder: Path) -> Stored:
    """Open the parts of a folder as one.

    Raises:
        EchoError: If parts are missing, differ, or hold a row twice.
    """
    found = {path: PART.fullmatch(path.name) for path in sorted(folder.iterdir())}
    places = {(int(m[2]), int(m[1])): path for path, m in found.items() if m}
    shares = {of for of, _ in places}
    if len(shares) != 1:
        if not shares:
            raise EchoError(
                "The folder holds no parts of embeddings.",
                "Name what `echocli embed` wrote: a table, or a folder of parts by --shard.",
            )
        raise EchoError(
            "The folder holds parts of several divisions.",
            "Embed again with one --shard i/n for each i from 1 to n.",
        )
    of = shares.pop()
    missing = [str(i) for i in range(1, of + 1) if (of, i) not in places]
    if missing:
        raise EchoError(
            f"The folder lacks {len(missing)} of its {of} parts: {', '.join(missing[:20])}.",
            f"Run `echocli embed --shard {missing[0]}/{of}` and so on, then try again.",
        )
    parts = [open_embeddings(places[of, i]) for i in range(1, of + 1)]
    keys = [result_keys(part.metadata) for part in parts]
    for number, own in enumerate(keys, 1):
        if own != keys[0]:
            raise EchoError(
                f"Parts 1 and {number} of the folder were made by other models or settings.",
                "Embed all shards with one model and the same options.",
            )
    table = pd.concat([part.table for part in parts], ignore_index=True)
    if table.duplicated([n for n in (*IDS, *POSITION) if n in table]).any():
        raise EchoError(
            "The folder holds a row twice.", "Its parts were made of other clips; embed again."
        )
    metadata = {k: v for k, v in parts[0].metadata.items() if k not in ("rows_sha256", "shard")}
    metadata["rows_sha256"] = [part.metadata.get("rows_sha256") for part in parts]
    metadata["part_rows"] = [len(part.table) for part in parts]

    def batches() -> Iterator[NDArray[np.float32]]:
        for part in parts:
            yield from part.batches()

    return Stored(table, parts[0].width, metadata, batches)


def examine(stored: Stored) -> Examined:
    """Read all vectors once and say what is wrong with them.

    Args:
        stored: The table.
    """
    told = stored.metadata.get("rows_sha256")
    ends = np.cumsum(stored.metadata.get("part_rows", [len(stored.table)])).tolist()
    digest = RowsHash()
    found: list[str] = []
    bad: list[int] = []
    start = 0
    for vectors in itertools.chain([np.empty((0, stored.width), np.float32)], stored.batches()):
        wrong = ~np.isfinite(vectors).all(axis=1) | ~vectors.any(axis=1)
        bad += (start + np.flatnonzero(wrong)).tolist()
        digest.update(stored.table.iloc[start : start + len(vectors)], vectors)
        start += len(vectors)
        while ends[len(found) : len(found) + 1] == [start]:  # again for a part without rows
            found.append(digest.hexdigest())
            digest = RowsHash()
    whole = start == len(stored.table) and found == ([told] if isinstance(told, str) else told)
    return Examined(None if told is None else whole, bad)
