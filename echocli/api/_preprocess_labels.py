"""Joins a researcher's table of labels to the sources, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from echocli.api._preprocess_clip import Outcome, Task
from echocli.clips.record import Label
from echocli.errors import EchoError
from echocli.privacy.labels import COLUMNS, clean

FILE, PATIENT = "file", "patient"
"""Columns that say which source a row is about; either will do. They are never kept."""


@dataclass(frozen=True)
class LabelTable:
    """Label columns by source file or by patient."""

    by_position: dict[int, dict[str, Label]]
    by_patient: dict[str, dict[str, Label]] = field(repr=False)
    unused_columns: int
    unused_rows: int
    """Rows that name a file which is not among the sources."""

    @classmethod
    def read(cls, file: Path, tasks: Sequence[Task], named: Sequence[str]) -> LabelTable:
        """Read a CSV file and match its rows to the sources.

        Args:
            file: Table with a column ``file`` (name or relative path) or ``patient`` (the DICOM
                Patient ID).
            tasks: The sources.
            named: Columns to let through beside the known ones.

        Raises:
            EchoError: If the table cannot be read, has neither column, lacks a named column,
                tells two things about one source, or holds a value that its column cannot.
        """
        table = _read_table(file)
        absent = sorted(set(named) - set(table.columns))
        if absent:
            raise EchoError(
                "The labels have no column that --label-column names.",
                "Look at the table's first line; names must match letter by letter.",
            )
        rows = _clean_rows(table, named)
        kept = {FILE, PATIENT, *COLUMNS, *named}
        unused = sum(column not in kept for column in table.columns)
        if FILE not in table:
            return cls({}, _index(table[PATIENT].tolist(), rows), unused, 0)
        index = _index([_tidy(name) for name in table[FILE]], rows)
        by_position, used = _match(index, tasks)
        return cls(by_position, {}, unused, len(index) - used)

    def of(self, outcome: Outcome) -> dict[str, Label]:
        """Return the labels of a source, empty if no row tells any."""
        row = self.by_position.get(outcome.task.position)
        patient, *_ = outcome.patient_key.split("\n")  # its issuer may follow
        return row or self.by_patient.get(patient, {})


NO_LABELS = LabelTable({}, {}, 0, 0)


def _read_table(file: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise EchoError(
            f"The labels cannot be read ({type(error).__name__}).",
            "Give a comma-separated table in UTF-8 whose first line names the columns.",
        ) from None
    if not {FILE, PATIENT} & set(table.columns):
        raise EchoError(
            f"The labels have neither a column `{FILE}` nor a column `{PATIENT}`.",
            f"Name the column with file names `{FILE}`, or the one with DICOM patient ids "
            f"`{PATIENT}`.",
        )
    return table


def _clean_rows(table: pd.DataFrame, named: Sequence[str]) -> list[dict[str, Label]]:
    rows = []
    for number, row in enumerate(table.to_dict("records"), start=2):
        try:
            rows.append(clean({str(key): value for key, value in row.items()}, named))
        except ValueError as error:
            raise EchoError(
                f"Line {number} of the labels holds something else than `{error}` can hold.",
                "Correct it, or leave the cell empty.",
            ) from None
    return rows


def _index(
    keys: Sequence[str], rows: Sequence[dict[str, Label]]
) -> dict[str, dict[str, Label]]:
    index: dict[str, dict[str, Label]] = {}
    for number, (key, row) in enumerate(zip(keys, rows, strict=True), start=2):
        if index.setdefault(key, row) != row:
            raise EchoError(
                f"Line {number} of the labels contradicts an earlier one about its source.",
                "Keep one line for each.",
            )
    return index


def _tidy(name: str) -> str:
    return name.strip().replace("\\", "/").removeprefix("./")


def _match(
    index: dict[str, dict[str, Label]], tasks: Sequence[Task]
) -> tuple[dict[int, dict[str, Label]], int]:
    """Find the row of each source by its path, the longest part that a row names first."""
    matched: dict[int, dict[str, Label]] = {}
    claimed: dict[str, int] = {}
    for task in tasks:
        name = next((name for name in _names(task.path) if name in index), None)
        if name is None:
            continue
        if name in claimed:
            raise EchoError(
                f"One line of the labels fits file {claimed[name]} and file {task.position} "
                "alike, because they have the same name in different folders.",
                "Write paths relative to the folder of sources, not bare names.",
            )
        claimed[name] = task.position
        matched[task.position] = index[name]
    return matched, len(claimed)


def _names(path: Path) -> list[str]:
    """Return what a table may call a file, most exact first."""
    parts = path.parts
    tails = ["/".join(parts[start:]) for start in range(len(parts))]
    return [path.as_posix(), *tails, path.stem]
