"""Looks for identifiers in every byte of a clip set, whatever the bytes are packed in."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydicom.uid import UID_dictionary

from echocli.files import LITTER, opened_by_name
from echocli.intake.loop import NOTES
from echocli.intake.reasons import MEANINGS
from echocli.privacy import profile
from echocli.privacy.labels import COLUMNS
from echocli.privacy.needles import Needles

HIDDEN = "."
"""How the name of a folder begins in which another process is still writing."""
PICTURE = re.compile(rb"data:image/[a-z]+;base64,([A-Za-z0-9+/=]+)")
HASHED = ("clip_id", "patient_id", "study_id", "source_sha256", "pixels_sha256")
"""Columns that hold hashes and nothing else, as another check proves."""


def visible_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a clip set.

    What other processes are just writing into it, and what file managers leave, is none.
    """
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.name in LITTER:
            continue
        if path.is_file() and not any(part.startswith(HIDDEN) for part in parts[:-1]):
            yield path


def own_words(columns: Iterable[str]) -> str:
    """Return what the program writes itself; an identifier in it says nothing."""
    uids = [uid for uid in UID_dictionary if uid.startswith("1.2.840.10008.")]
    words = [*columns, *COLUMNS, *MEANINGS, *MEANINGS.values(), *NOTES, *profile.METHODS]
    words += [*profile.FORMS, *profile.META_FORMS, *profile.FORMS.values(), profile.DERIVATION]
    return "\n".join([*map(str, words), *uids, profile.SOP_CLASS])


def holds_identifier(path: Path, needles: Needles) -> bool:
    """Return whether an identifier stands anywhere in a file."""
    if path.suffix == ".u8":
        with path.open("rb") as file:
            return needles.in_pixels(file)
    content = path.read_bytes()
    if path.suffix == ".parquet":
        return needles.in_stream(content) or _in_table(path, needles)
    if path.suffix == ".dcm":
        return needles.in_stream(content)  # its header is read as text with the copies
    if path.suffix == ".html":
        pictures = (base64.b64decode(found[1]) for found in PICTURE.finditer(content))
        return any(map(needles.in_stream, pictures)) or needles.in_text(
            PICTURE.sub(b"", content)
        )
    return needles.in_text(content)


def _in_table(path: Path, needles: Needles) -> bool:
    """Look into the values as they are before they are packed, and into what describes them."""
    with pq.ParquetFile(opened_by_name(path)) as file:
        schema = file.schema_arrow
        told = [repr(schema.metadata), *schema.names]
        if needles.in_text("\n".join(told).encode()):
            return True
        texts = [
            field.name
            for field in schema
            if field.name not in HASHED and not _is_number(field.type)
        ]
        for batch in file.iter_batches(columns=texts):
            for column in batch.columns:
                values = (v for v in column.to_pylist() if v is not None)
                joined = b"\n".join(_bytes(value) for value in values)
                packed = pa.types.is_binary(column.type)
                if needles.in_stream(joined) if packed else needles.in_text(joined):
                    return True
    return False


def _is_number(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_list(kind) else kind
    return bool(
        pa.types.is_floating(inner) or pa.types.is_integer(inner) or pa.types.is_boolean(inner)
    )


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
