"""Parts of the rows by sex, age, scanner, frame rate, quality or any other column.

A figure of all patients can hide that it fails some of them. Every part is shown with how many
it holds, those of whom nothing is known too; parts too small to say much are flagged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.clips.record import word_of

Flags = NDArray[np.bool_]

USUAL = ("sex", "age_years", "scanner", "frame_rate_hz", "quality")
"""Columns that a reviewer asks for, where a table has them."""
BANDS: dict[str, tuple[float, ...]] = {
    "age_years": (40, 60, 80),
    "frame_rate_hz": (30, 50, 80),
    "ef_percent": (35, 50),
}
"""Where numbers are cut; each band holds its lower end. Other columns are cut at tertiles."""
MOST_VALUES = 12
"""Distinct numbers that are shown one by one."""
SMALL = 30
"""Patients below which a part is flagged."""
UNKNOWN = "unknown"
DIGITS = 6
"""Behind the point of what is cut: sets of older versions hold 49.99999999999999 Hz."""


@dataclass(frozen=True)
class Part:
    """Rows that share a value, or a band, of a column."""

    column: str
    name: str
    rows: Flags
    clips: int
    patients: int

    @property
    def small(self) -> bool:
        """Whether there are too few patients for its figures to say much."""
        return self.patients < SMALL


def usual_columns(table: pd.DataFrame) -> list[str]:
    """Return the usual columns that a table has and that say something."""
    return [name for name in USUAL if name in table and table[name].notna().any()]


def parts_of(table: pd.DataFrame, column: str) -> list[Part]:
    """Divide rows by a column; the unknown come last.

    Args:
        table: Rows with ``patient_id`` and the column.
        column: Words, truth values or numbers.
    """
    values = table[column]
    unknown = values.isna().to_numpy()
    names = _names(column, values)
    ordered = dict.fromkeys(names)
    parts = [_part(table, column, name, names[name]) for name in ordered]
    if unknown.any():
        parts.append(_part(table, column, UNKNOWN, unknown))
    return parts


def subgroup_figures(
    table: pd.DataFrame,
    columns: Sequence[str],
    figures: Callable[[Flags], Mapping[str, Any] | None],
) -> dict[str, list[dict[str, Any]]]:
    """Return figures of every part of every column, as JSON.

    Args:
        table: Rows with ``patient_id`` and the columns.
        columns: By which to divide.
        figures: From flags of rows to their figures; ``None`` where they define none.

    Returns:
        For each column its parts: ``name, clips, patients, small, metrics``.
    """
    return {
        column: [
            {
                "name": part.name,
                "clips": part.clips,
                "patients": part.patients,
                "small": part.small,
                "metrics": figures(part.rows),
            }
            for part in parts_of(table, column)
        ]
        for column in columns
    }


def _part(table: pd.DataFrame, column: str, name: str, rows: Flags) -> Part:
    patients = int(table["patient_id"][rows].nunique())
    return Part(column, name, rows, int(rows.sum()), patients)


def _names(column: str, values: pd.Series) -> dict[str, Flags]:
    """Return the parts that are known, in their order, and which rows are in each."""
    known = values.notna().to_numpy()
    numbers = pd.to_numeric(values[known], errors="coerce")
    is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    cuts = BANDS.get(column, ())
    if is_number and not cuts and numbers.nunique() > MOST_VALUES:
        cuts = tuple(float(cut) for cut in np.unique(numbers.quantile([1 / 3, 2 / 3])))
    if is_number and cuts:
        band = np.full(len(values), -1)
        exact = numbers.to_numpy(float).round(DIGITS)
        band[known] = np.searchsorted(cuts, exact, side="right")
        named = _bands(cuts)
        return {named[i]: band == i for i in range(len(named)) if (band == i).any()}
    words = values.map(word_of).to_numpy(dtype=object)
    found = sorted(set(words[known]), key=_order)
    return {word: known & (words == word) for word in found}


def _bands(cuts: Sequence[float]) -> list[str]:
    inner = [f"{low:g} to <{high:g}" for low, high in pairwise(cuts)]
    return [f"<{cuts[0]:g}", *inner, f">={cuts[-1]:g}"]


def _order(word: str) -> tuple[float, str]:
    try:
        return float(word), ""
    except ValueError:
        return float("inf"), word
