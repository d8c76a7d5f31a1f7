"""Embeddings keep their rows, labels and every bit, in files and in pipelines."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from echocli import table_formats
from echocli.errors import EchoError
from echocli.table_formats import COMMENT, METADATA_KEY, Rows
from echocli.tables import (
    SCHEMA,
    Embeddings,
    examine,
    open_embeddings,
    read_embeddings,
    sink_for,
    write_embeddings,
)


def make(vectors: NDArray[np.float32]) -> Embeddings:
    count = len(vectors)
    table = pd.DataFrame(
        {
            "clip_id": [f"c{i}" for i in range(count)],
            "patient_id": [f"00{i // 2}" for i in range(count)],
            "study_id": ["s"] * count,
            "source_sha256": ["1e5"] * count,
            "ef_percent": [0.1 + 0.2 if i % 3 else np.nan for i in range(count)],
            "normal": [[True, False, None][i % 3] for i in range(count)],
            "ed_frame": np.arange(count, dtype=np.int32),
            "view": ["A4C", 'a "quoted", one', "two\nlines"][:1] * count,
        }
    )
    metadata = {"schema": SCHEMA, "model_sha256": "m", "pool": "mean", "data": {"frames": 4}}
    return Embeddings(table, vectors, metadata)


def assert_same(a: Embeddings, b: Embeddings) -> None:
    assert {**a.metadata, "rows_sha256": 0} == {**b.metadata, "rows_sha256": 0}
    np.testing.assert_array_equal(a.vectors.view(np.uint32), b.vectors.view(np.uint32))
    assert list(a.table) == list(b.table)
    for name in a.table:
        ours, theirs = a.table[name], b.table[name]
        assert (ours.isna() == theirs.isna()).all(), name
        known = ours.notna()
        assert ours[known].tolist() == theirs[known].tolist(), name


VECTORS = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)


@pytest.mark.parametrize("name", ["e.parquet", "e.csv", "e.safetensors"])
def test_files_give_back_everything(tmp_path: Path, name: str) -> None:
    write_embeddings(tmp_path / name, make(VECTORS))
    assert_same(read_embeddings(tmp_path / name), make(VECTORS))


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_a_stream_keeps_every_bit_of_every_float(numbers: list[float]) -> None:
    vectors = np.array([numbers], dtype=np.float32)
    file, made = io.StringIO(), make(vectors)
    with sink_for(file, made.table, len(numbers), made.metadata) as sink:
        sink.add(Rows(made.table, vectors))
        sink.finish(made.metadata)
    again = read_stream(file.getvalue().encode())
    np.testing.assert_array_equal(again.vectors.view(np.uint32), vectors.view(np.uint32))


def read_stream(content: bytes) -> Embeddings:
    patch = pytest.MonkeyPatch()
    with patch.context() as context:
        context.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        return read_embeddings("-")


def test_standard_input_reads_either_format(tmp_path: Path) -> None:
    for name in ("e.parquet", "e.csv"):
        write_embeddings(tmp_path / name, make(VECTORS))
        assert_same(read_stream((tmp_path / name).read_bytes()), make(VECTORS))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"clip_id,e0\na,1\n",
        b"PAR1 nonsense",
        b'# echocli {"schema": "other/1"}\na\n',
        b"# echocli {",
        b"\xff\xfe",
    ],
)
def test_anything_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(EchoError, match="echocli embed"):
        read_embeddings(tmp_path / "x")


def test_a_row_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    write_embeddings(tmp_path / "e.csv", make(VECTORS))
    text = (tmp_path / "e.csv").read_text()
    (tmp_path / "e.csv").write_text(text[: text.rstrip().rindex(",")])
    with pytest.raises(EchoError):
        read_embeddings(tmp_path / "e.csv")


def end_with(path: Path, metadata: bytes) -> None:
    """Give a table other metadata, which nothing seals."""
    if path.suffix == ".parquet":
        told = {METADATA_KEY: metadata}
        pq.write_table(pq.read_table(path).replace_schema_metadata(told), path)
    elif path.suffix == ".csv":
        _, *lines = path.read_bytes().split(b"\n")
        path.write_bytes(b"\n".join([COMMENT.encode() + metadata, *lines]))
    else:
        content = path.read_bytes()
        end = 8 + int.from_bytes(content[:8], "little")
        path.write_bytes(len(metadata).to_bytes(8, "little") + metadata + content[end:])


@pytest.mark.parametrize("name", ["e.parquet", "e.csv", "e.safetensors"])
@pytest.mark.parametrize(
    "metadata",
    [
        *(b"[]", b"null", b'"x"', b"3", b"{}", b'{"schema": 3}', b"{" * 100_000),
        b'{"embedding": {"shape": [7, 5.5]}, "table": {"data_offsets": []}}',
    ],
    ids=lambda told: told[:20].decode(),
)
def test_metadata_of_another_shape_are_refused(
    tmp_path: Path, name: str, metadata: bytes
) -> None:
    write_embeddings(tmp_path / name, make(VECTORS))
    end_with(tmp_path / name, metadata)
    with pytest.raises(EchoError, match="no embeddings that can be read"):
        read_embeddings(tmp_path / name)


def test_a_cell_that_is_longer_than_csv_allows_is_refused(tmp_path: Path) -> None:
    write_embeddings(tmp_path / "e.csv", make(VECTORS))
    text = (tmp_path / "e.csv").read_text().replace("A4C", "A" * 200_000)
    (tmp_path / "e.csv").write_text(text)
    with pytest.raises(EchoError, match="no embeddings that can be read"):
        read_embeddings(tmp_path / "e.csv")


def test_missing_embeddings_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(EchoError, match="echocli embed"):
        read_embeddings(tmp_path / "absent.parquet")


def test_a_check_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "e.parquet"
    write_embeddings(path, make(VECTORS))

    def refuse(written: Any) -> None:
        assert_same(written, make(VECTORS[:2]))
        raise EchoError("no", "no")

    with pytest.raises(EchoError):
        write_embeddings(path, make(VECTORS[:2]), refuse)
    assert_same(read_embeddings(path), make(VECTORS))
    assert [p.name for p in tmp_path.iterdir()] == ["e.parquet"]


@pytest.mark.parametrize("name", ["e.parquet", "e.safetensors"])
def test_reading_a_long_table_holds_one_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    vectors = np.random.default_rng(0).standard_normal((4000, 256)).astype(np.float32)
    whole = vectors.nbytes
    monkeypatch.setattr(table_formats, "GROUP_BYTES", whole // 40)
    monkeypatch.setattr(table_formats, "BATCH_ROWS", 100)
    write_embeddings(tmp_path / name, make(vectors))
    stored = open_embeddings(tmp_path / name)
    before, held = pa.total_allocated_bytes(), []
    for batch in stored.batches():
        held.append(pa.total_allocated_bytes() - before)
        assert len(batch) <= 100
    assert max(held) < whole / 10
    assert examine(stored).whole


@pytest.mark.parametrize("name", ["e.parquet", "e.safetensors", "e.csv"])
def test_a_flipped_byte_is_an_error_or_shows_or_changes_no_row(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    write_embeddings(path, make(VECTORS))
    content = path.read_bytes()
    noticed = 0
    for place in range(0, len(content), max(1, len(content) // 80)):
        path.write_bytes(
            content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]
        )
        try:
            whole = examine(open_embeddings(path)).whole
        except EchoError:
            whole = False
        noticed += not whole
        if whole:
            found = read_embeddings(path)
            np.testing.assert_array_equal(found.vectors, VECTORS)
            assert found.table["clip_id"].tolist() == make(VECTORS).table["clip_id"].tolist()
    assert noticed > 20


def test_a_folder_that_holds_no_embeddings_is_not_told_of_shards(tmp_path: Path) -> None:
    (tmp_path / "clips" / "manifest").mkdir(parents=True)
    with pytest.raises(EchoError, match="no parts of embeddings") as caught:
        open_embeddings(tmp_path / "clips")
    assert caught.value.remedy.startswith("Name what `echocli embed` wrote")
