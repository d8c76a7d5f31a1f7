"""Rows with vectors, written and read a part at a time: Parquet and CSV.

``tables.py`` is what others use; this file knows the bytes.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from echocli.files import opened_by_name

METADATA_KEY = b"echocli"
COMMENT = "# echocli "
"""Starts the first line of CSV, which holds the metadata, and the last, which ends it."""
VECTOR = "embedding"
DIGITS = ".9g"  # decimal digits that tell every float32 apart (IEEE 754)
GROUP_BYTES = 32_000_000
"""Vectors that stand in one row group, and that a reader holds at once."""
BATCH_ROWS = 8192


class Rows(NamedTuple):
    """Who some rows are, and their vectors."""

    table: pd.DataFrame
    vectors: NDArray[np.float32]


class Sink(Protocol):
    """A file that grows by rows."""

    def add(self, rows: Rows) -> None:
        """Write some rows."""

    def finish(self, metadata: dict[str, Any]) -> None:
        """Write what is known only now, and end the file; without it, it is none."""

    def close(self) -> None:
        """Let go of the file, finished or not."""


@dataclass(frozen=True)
class Stored:
    """A table of embeddings whose vectors are read when they are asked for."""

    table: pd.DataFrame
    """Ids first, then positions within a clip, then labels."""
    width: int
    metadata: dict[str, Any]
    batches: Callable[[], Iterator[NDArray[np.float32]]]
    """Yields all vectors in the order of ``table``, some rows at a time."""


class ParquetSink:
    """A Parquet file, by row groups.

    Args:
        path: The file.
        like: A table with every value that a column may hold, or others of the same kinds.
        width: Numbers a vector.
    """

    def __init__(self, path: Path, like: pd.DataFrame, width: int) -> None:
        schema = pa.Schema.from_pandas(like, preserve_index=False).remove_metadata()
        self.labels = schema
        self.schema = schema.append(pa.field(VECTOR, pa.list_(pa.float32(), width)))
        self.width = width
        # Python says when a disk is full; pyarrow only fails.
        self.file = path.open("wb")
        self.writer = pq.ParquetWriter(
            self.file,
            self.schema,
            # Floats of a network neither repeat nor compress.
            compression={
                **dict.fromkeys(schema.names, "zstd"),
                f"{VECTOR}.list.element": "NONE",
            },
            use_dictionary=schema.names,
            write_page_checksum=True,  # the hash of the rows holds ids and vectors, no labels
        )
        self.held: list[Rows] = []

    def add(self, rows: Rows) -> None:
        """Take some rows; they are written by the group."""
        self.held.append(rows)
        if sum(len(part.vectors) for part in self.held) >= min(
            BATCH_ROWS, rows_at_once(self.width)
        ):
            self._write()

    def _write(self) -> None:
        if not self.held:
            return
        rows = Rows(
            pd.concat([part.table for part in self.held], ignore_index=True),
            np.concatenate([part.vectors for part in self.held]),
        )
        self.held = []
        table = pa.Table.from_pandas(rows.table, schema=self.labels, preserve_index=False)
        numbers = pa.array(np.ascontiguousarray(rows.vectors, dtype=np.float32).ravel())
        column = pa.FixedSizeListArray.from_arrays(numbers, self.width)
        table = table.append_column(self.schema.field(VECTOR), column)
        self.writer.write_table(table, row_group_size=rows_at_once(self.width))

    def finish(self, metadata: dict[str, Any]) -> None:
        """Write the metadata and the footer, without which the file is none."""
        self._write()
        details = json.dumps(metadata, allow_nan=False)
        self.writer.add_key_value_metadata({METADATA_KEY.decode(): details})
        self.writer.close()

    def close(self) -> None:
        """Let go of the file."""
        self.writer.close()
        self.file.close()


class CsvSink:
    """CSV, for pipelines and spreadsheets.

    A first line that starts with ``# echocli`` holds what is known of the metadata and the type
    of each column, a last one the rest; the vector is in the columns ``e0``, ``e1`` ... with as
    many digits as float32 needs.

    Args:
        file: Where.
        like: A table with every value that a column may hold, or others of the same kinds.
        width: Numbers a vector.
        metadata: What is known already.
    """

    def __init__(
        self, file: IO[str], like: pd.DataFrame, width: int, metadata: dict[str, Any]
    ) -> None:
        self.file = file
        self.known = set(metadata)
        kinds = {name: kind_of(like[name]) for name in like}
        head = json.dumps({**metadata, "columns": kinds, "has_end": True}, allow_nan=False)
        file.write(f"{COMMENT}{head}\n")
        self.writer = csv.writer(file, lineterminator="\n")
        self.writer.writerow([*like.columns, *(f"e{i}" for i in range(width))])

    def add(self, rows: Rows) -> None:
        """Write some rows."""
        cells = cells_of(rows.table)
        for row, vector in zip(cells, rows.vectors, strict=True):
            self.writer.writerow([*row, *(format(x, DIGITS) for x in vector.tolist())])
        self.file.flush()

    def finish(self, metadata: dict[str, Any]) -> None:
        """Write the last line, without which the table is cut short."""
        rest = {name: value for name, value in metadata.items() if name not in self.known}
        self.file.write(f"{COMMENT}{json.dumps(rest, allow_nan=False)}\n")
        self.file.flush()

    def close(self) -> None:
        """Leave the file to whoever opened it."""


def rows_at_once(width: int) -> int:
    """Return how many vectors of a width are held at once."""
    return max(1, GROUP_BYTES // (4 * width))


def cells_of(table: pd.DataFrame) -> Iterator[list[Any]]:
    """Yield the cells of each row, empty where nothing is known."""
    for row in table.itertuples(index=False, name=None):
        yield ["" if pd.isna(value) else value for value in row]


def open_parquet(source: Path | io.BytesIO) -> Stored:
    """Open a Parquet file.

    Raises:
        ValueError: If it holds no embeddings (pyarrow's errors are some too).
    """
    source = opened_by_name(source) if isinstance(source, Path) else source
    with pq.ParquetFile(source, page_checksum_verification=True) as file:
        metadata = json.loads(file.metadata.metadata[METADATA_KEY])
        names = [name for name in file.schema_arrow.names if name != VECTOR]
        table = file.read(columns=names).to_pandas()
        width = file.schema_arrow.field(VECTOR).type.list_size

    def batches() -> Iterator[NDArray[np.float32]]:
        most = min(BATCH_ROWS, rows_at_once(width))
        with pq.ParquetFile(source, page_checksum_verification=True) as again:
            # By group: iter_batches would hold all that it has read until its end.
            for number in range(again.num_row_groups):
                column = again.read_row_group(number, columns=[VECTOR], use_threads=False)[0]
                for chunk in column.chunks:
                    numbers = chunk.flatten().to_numpy(zero_copy_only=False)
                    vectors = numbers.astype(np.float32, copy=False).reshape(-1, width)
                    yield from (vectors[i : i + most] for i in range(0, len(vectors), most))

    return Stored(table, width, metadata, batches)


def open_csv(text: str) -> Stored:
    """Open CSV that ``CsvSink`` wrote.

    Raises:
        ValueError: If it is something else, or cut short.
    """
    first, _, rest = text.partition("\n")
    metadata = json.loads(first.removeprefix(COMMENT))
    kinds = metadata.pop("columns")
    if metadata.pop("has_end", False):
        rest, _, end = rest.removesuffix("\n").rpartition("\n")
        if not end.startswith(COMMENT):
            raise ValueError("the last line is missing")
        metadata |= json.loads(end.removeprefix(COMMENT))
    names, *body = csv.reader(io.StringIO(rest))
    if any(len(row) != len(names) for row in body):
        raise ValueError("a row is cut short")
    known = len(kinds)
    with np.errstate(over="ignore"):  # what is too large is infinite, and is told as that
        numbers = np.array([row[known:] for row in body], np.float64).astype(np.float32)
    vectors = numbers.reshape(len(body), len(names) - known)
    table = columns_of(names[:known], kinds, body)
    return Stored(table, vectors.shape[1], metadata, lambda: iter([vectors]))


def columns_of(
    names: Sequence[str], kinds: dict[str, str], body: Sequence[Sequence[str]]
) -> pd.DataFrame:
    """Return a table of what ``cells_of`` gave."""
    return pd.DataFrame(
        {name: _column([row[i] for row in body], kinds[name]) for i, name in enumerate(names)}
    )


def kind_of(column: pd.Series[Any]) -> str:
    """Return the kind of a column as CSV notes it."""
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
