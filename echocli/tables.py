"""Embeddings as a table: Parquet in files, CSV in pipelines, the same numbers in both."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from echocli.errors import EchoError
from echocli.files import atomic_path

SCHEMA = "echocli.embeddings/1"
METADATA_KEY = b"echocli"
IDS = ("clip_id", "patient_id", "study_id", "source_sha256")
COMMENT = "# echocli "
DIGITS = ".9g"  # decimal digits that tell every float32 apart (IEEE 754)
ROW_GROUP = 1024


@dataclass(frozen=True)
class Embeddings:
    """One row a clip: who it is, its labels, and its vector."""

    table: pd.DataFrame
    """Ids first, then label columns."""
    vectors: NDArray[np.float32]
    """One row for each row of ``table``."""
    metadata: dict[str, Any]
    """schema, model_sha256, pool, data (the input contract), windows, rows_sha256."""

    def __post_init__(self) -> None:
        assert len(self.table) == len(self.vectors), "a row without its vector"


def rows_sha256(table: pd.DataFrame, vectors: NDArray[np.float32]) -> str:
    """Return a hash of which vector belongs to which clip, the same for Parquet and CSV."""
    digest = hashlib.sha256()
    rows = zip(*(table[name].astype(str) for name in IDS), strict=True)
    for ids, vector in zip(rows, np.ascontiguousarray(vectors, dtype="<f4"), strict=True):
        digest.update(" ".join(ids).encode() + b"\n" + vector.tobytes())
    return digest.hexdigest()


def write_embeddings(
    path: Path, embeddings: Embeddings, check: Callable[[Embeddings], None] | None = None
) -> None:
    """Write embeddings to a Parquet file, or to a CSV file if the name ends in ``.csv``.

    Args:
        path: The file.
        embeddings: What to write.
        check: Called with what was read back; if it raises, the file is as it was before.
    """
    with atomic_path(path) as temporary:
        if path.suffix == ".csv":
            with temporary.open("w", encoding="utf-8", newline="") as file:
                stream_embeddings(file, embeddings)
        else:
            table = _to_arrow(embeddings)
            pq.write_table(table, temporary, row_group_size=ROW_GROUP, compression="zstd")
        if check is not None:
            check(read_embeddings(temporary))


def stream_embeddings(file: IO[str], embeddings: Embeddings) -> None:
    """Write embeddings as CSV, for pipelines.

    A first line that starts with ``# echocli`` holds the metadata and the type of each column;
    the vector is in the columns ``e0``, ``e1`` ... with as many digits as float32 needs.
    """
    kinds = {name: _kind(embeddings.table[name]) for name in embeddings.table}
    head = json.dumps({**embeddings.metadata, "columns": kinds}, allow_nan=False)
    file.write(f"{COMMENT}{head}\n")
    writer = csv.writer(file, lineterminator="\n")
    width = embeddings.vectors.shape[1]
    writer.writerow([*embeddings.table.columns, *(f"e{i}" for i in range(width))])
    rows = embeddings.table.itertuples(index=False, name=None)
    for row, vector in zip(rows, embeddings.vectors, strict=True):
        cells = ["" if pd.isna(value) else value for value in row]
        writer.writerow([*cells, *(format(number, DIGITS) for number in vector.tolist())])


def read_embeddings(source: Path | str) -> Embeddings:
    """Read embeddings.

    Args:
        source: Parquet or CSV file; ``-`` reads CSV or Parquet from standard input.

    Raises:
        EchoError: If there are none, or the file is something else.
    """
    if str(source) == "-":
        return _parse(sys.stdin.buffer.read(), "Standard input")
    path = Path(source)
    if not path.is_file():
        raise EchoError(
            f"There are no embeddings: {path} does not exist.",
            "Run `echocli embed` first, or name the file that it wrote.",
        )
    return _parse(path.read_bytes(), str(path))


def _parse(content: bytes, name: str) -> Embeddings:
    try:
        if content[:4] == b"PAR1":
            return _from_arrow(pq.read_table(io.BytesIO(content)))
        if content.startswith(COMMENT.encode()):
            return _from_csv(content.decode("utf-8"))
    except (pa.ArrowInvalid, OSError, ValueError, KeyError):
        pass  # whatever is wrong in it, the answer is the same
    what = "is empty" if not content else "holds no embeddings that can be read"
    raise EchoError(f"{name} {what}.", "Give what `echocli embed` wrote.")


def _to_arrow(embeddings: Embeddings) -> pa.Table:
    vectors = np.ascontiguousarray(embeddings.vectors, dtype=np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    table = pa.Table.from_pandas(embeddings.table, preserve_index=False)
    table = table.append_column("embedding", column)
    details = json.dumps(embeddings.metadata, allow_nan=False).encode()
    return table.replace_schema_metadata({METADATA_KEY: details})


def _from_arrow(table: pa.Table) -> Embeddings:
    metadata = json.loads(table.schema.metadata[METADATA_KEY])
    _check_schema(metadata)
    column = table.column("embedding").combine_chunks()
    vectors = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    labels = table.drop_columns(["embedding"]).to_pandas()
    return Embeddings(labels, vectors.reshape(len(table), column.type.list_size), metadata)


def _from_csv(text: str) -> Embeddings:
    first, _, rest = text.partition("\n")
    metadata = json.loads(first.removeprefix(COMMENT))
    _check_schema(metadata)
    kinds = metadata.pop("columns")
    rows = list(csv.reader(io.StringIO(rest)))
    header, body = rows[0], rows[1:]
    if any(len(row) != len(header) for row in body):
        raise ValueError("a row is cut short")
    known = len(kinds)
    table = pd.DataFrame(
        {
            name: _column([row[i] for row in body], kinds[name])
            for i, name in enumerate(header[:known])
        }
    )
    vectors = np.array([row[known:] for row in body], dtype=np.float64).astype(np.float32)
    return Embeddings(table, vectors.reshape(len(body), len(header) - known), metadata)


def _check_schema(metadata: dict[str, Any]) -> None:
    if metadata.get("schema") != SCHEMA:
        raise ValueError(f"{metadata.get('schema')} is not {SCHEMA}")


def _kind(column: pd.Series[Any]) -> str:
    values = column.dropna()
    if len(values) and all(isinstance(value, (bool, np.bool_)) for value in values):
        return "bool"
    if pd.api.types.is_integer_dtype(column):
        return "int"
    return "float" if pd.api.types.is_float_dtype(column) else "str"


def _column(cells: Sequence[str], kind: str) -> pd.Series[Any]:
    if kind == "bool":
        known = {"True": True, "False": False, "": None}
        complete = "" not in cells
        return pd.Series([known[cell] for cell in cells], dtype=bool if complete else object)
    if kind == "int":
        return pd.Series([int(cell) for cell in cells], dtype="int64")
    if kind == "float":
        return pd.Series([float(cell or "nan") for cell in cells], dtype="float64")
    return pd.Series([cell or None for cell in cells], dtype="str")
