"""Rows with vectors as safetensors: for those who want the numbers and nothing else."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import operator
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli import table_formats
from echocli.files import sha256_of
from echocli.table_formats import (
    METADATA_KEY,
    VECTOR,
    Rows,
    Stored,
    cells_of,
    columns_of,
    kind_of,
)


class SafetensorsSink:
    """A safetensors file: ``embedding``, ``(rows, width)``, and ``table``, the bytes of a CSV.

    Both are written beside the file first, as its header tells their lengths.

    Args:
        path: The file.
        like: A table with every value that a column may hold, or others of the same kinds.
        width: Numbers a vector.
    """

    def __init__(self, path: Path, like: pd.DataFrame, width: int) -> None:
        self.path = path
        self.width = width
        self.kinds = {name: kind_of(like[name]) for name in like}
        self.parts = [path.with_name(f"{path.name}.{kind}") for kind in ("vectors", "table")]
        self.vectors = self.parts[0].open("wb")
        self.table = self.parts[1].open("w", encoding="utf-8", newline="")
        csv.writer(self.table, lineterminator="\n").writerow(like.columns)

    def add(self, rows: Rows) -> None:
        """Write some rows."""
        self.vectors.write(np.ascontiguousarray(rows.vectors, dtype="<f4").tobytes())
        csv.writer(self.table, lineterminator="\n").writerows(cells_of(rows.table))

    def finish(self, metadata: dict[str, Any]) -> None:
        """Put header, vectors and table together."""
        self._let_go()
        first, second = (part.stat().st_size for part in self.parts)
        seal = {"columns": self.kinds, "table_sha256": sha256_of(self.parts[1])}
        details = json.dumps({**metadata, **seal}, allow_nan=False)
        shape = [first // (4 * self.width), self.width]
        header = {
            "__metadata__": {METADATA_KEY.decode(): details},
            VECTOR: {"dtype": "F32", "shape": shape, "data_offsets": [0, first]},
            "table": {
                "dtype": "U8",
                "shape": [second],
                "data_offsets": [first, first + second],
            },
        }
        content = json.dumps(header).encode()
        content += b" " * (-len(content) % 8)
        with self.path.open("wb") as file:
            file.write(len(content).to_bytes(8, "little") + content)
            for part in self.parts:
                with part.open("rb") as source:
                    shutil.copyfileobj(source, file)

    def close(self) -> None:
        """Remove what was written beside the file."""
        self._let_go()
        for part in self.parts:
            part.unlink(missing_ok=True)

    def _let_go(self) -> None:
        self.vectors.close()
        self.table.close()


def open_safetensors(path: Path) -> Stored:
    """Open a safetensors file that ``SafetensorsSink`` wrote.

    Raises:
        ValueError: If it holds something else.
    """
    with path.open("rb") as file:
        header, begin = _header(file)
        start, end = header["table"]["data_offsets"]
        file.seek(begin + start)
        content = file.read(end - start)
    metadata = json.loads(header["__metadata__"][METADATA_KEY.decode()])
    kinds = metadata.pop("columns")
    digest = hashlib.sha256(content).hexdigest()
    if metadata.pop("table_sha256", digest) != digest:
        raise ValueError("the table has changed since it was written")
    text = content.decode("utf-8")
    names, *body = csv.reader(io.StringIO(text))
    count, width = map(operator.index, header[VECTOR]["shape"])
    if len(body) != count or any(len(row) != len(names) for row in body):
        raise ValueError("the table does not fit the vectors")
    place = begin + header[VECTOR]["data_offsets"][0]

    def batches() -> Iterator[NDArray[np.float32]]:
        for first in range(0, count, table_formats.BATCH_ROWS):
            vectors = np.memmap(path, "<f4", "r", place, (count, width))
            yield np.array(vectors[first : first + table_formats.BATCH_ROWS])

    return Stored(columns_of(names, kinds, body), width, metadata, batches)


def names_in(file: IO[bytes]) -> set[str]:
    """Return the names of the tensors in a safetensors file; none if it is something else."""
    try:
        return set(_header(file)[0])
    except ValueError:
        return set()


def _header(file: IO[bytes]) -> tuple[dict[str, Any], int]:
    """Return the header of a safetensors file, and where the tensors begin."""
    length = int.from_bytes(file.read(8), "little")
    if length > os.fstat(file.fileno()).st_size:
        raise ValueError("the header is longer than the file")
    header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("the header is no table of tensors")
    return header, 8 + length
