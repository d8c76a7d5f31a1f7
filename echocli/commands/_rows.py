"""Rows of a result on standard output: as CSV, or as a JSON document has them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def print_rows(table: pd.DataFrame) -> None:
    """Write a table as CSV."""
    table.to_csv(sys.stdout, index=False, lineterminator="\n")
    sys.stdout.flush()


def as_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows with every digit of their numbers; ``None`` is what is unknown."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return [{str(name): cell for name, cell in row.items()} for row in rows]
