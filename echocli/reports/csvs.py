"""Numbers as CSV, for who wants to count again."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula, where it begins no number."""
LONGEST_NAME = 48


def csv_of(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows as CSV (RFC 4180, but for plain line ends) that no spreadsheet runs.

    Args:
        columns: Headings.
        rows: Cells; ``None`` and NaN stay empty.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([_cell(name) for name in columns])
    writer.writerows([_cell(cell) for cell in row] for row in rows)
    return buffer.getvalue()


def flattened(content: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield every number and word inside nested tables, with the way to it.

    Args:
        content: As read from JSON.
        path: The way so far.
    """
    if isinstance(content, Mapping):
        for key, inner in content.items():
            yield from flattened(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(content, list):
        for place, inner in enumerate(content):
            yield from flattened(inner, f"{path}[{place}]")
    else:
        yield path, content


def file_name(words: str) -> str:
    """Return words as the name of a file."""
    return re.sub(r"[^a-z0-9]+", "-", words.lower())[:LONGEST_NAME].strip("-") or "table"


def _cell(value: Any) -> object:  # noqa: ANN401
    if value is None or value != value:
        return ""
    if isinstance(value, str) and value.startswith(FORMULA) and not _is_number(value):
        return f"'{value}"
    return value


def _is_number(content: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", content) is not None
