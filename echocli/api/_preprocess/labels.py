"""Joins a researcher's table of labels to the sources, in memory."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from echocli.api._preprocess.clip import Outcome, Task
from echocli.clips.record import Label
from echocli.datasets import labelled_folder
from echocli.datasets._tables import composed, decimal_point, delimiter, refuse_twice
from echocli.datasets.base import DatasetItem
from echocli.errors import EchoError, UsageError
from echocli.privacy.labels import COLUMNS, clean_row
from echocli.privacy.pseudonyms import Pseudonyms

FILE, PATIENT = "file", "patient"
"""Columns that say which source a row is about; either will do. They are never kept. Beside
``file``, ``patient`` says whose that file is."""
DIGITS = 16
"""Hexadecimal digits of the keyed hashes that are noted."""


@dataclass(frozen=True)
class LabelTable:
    """Label columns by source file or by patient."""

    by_position: dict[int, dict[str, Label]] = field(repr=False)
    by_patient: dict[str, dict[str, Label]] = field(repr=False)
    unused_columns: int
    unused_rows: int
    """Rows that name a file which is not among the sources."""
    columns: tuple[str, ...] = ()
    """The columns that are kept, in their order."""

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
        columns = tuple(name for name in table.columns if name in kept - {FILE, PATIENT})
        if FILE not in table:
            by_patient = _index(table[PATIENT].str.strip().tolist(), rows)
            return cls({}, by_patient, unused, 0, columns)
        if PATIENT in table:
            rows = [
                {**row, PATIENT: patient.strip()}
                for row, patient in zip(rows, table[PATIENT], strict=True)
            ]
        index = _index([_tidy(name) for name in table[FILE]], rows)
        by_position, used = _match(index, tasks)
        return cls(by_position, {}, unused, len(index) - used, columns)

    def with_patients(self, tasks: Sequence[Task]) -> list[Task]:
        """Return the tasks, those of which the table says whose they are read accordingly."""
        return [self._with_patient(task) for task in tasks]

    def _with_patient(self, task: Task) -> Task:
        patient = self.by_position.get(task.position, {}).get(PATIENT)
        if task.item is not None or not patient:
            return task
        item = DatasetItem(
            path=task.path,
            reader=labelled_folder.read,
            row=task.position,
            facts={"patient": patient},
        )
        return replace(task, item=item)

    def of(self, outcome: Outcome) -> dict[str, Label]:
        """Return the labels of a source, empty if no row tells any."""
        row = self.by_position.get(outcome.task.position)
        return row or self.by_patient.get(patient_of(outcome), {})


NO_LABELS = LabelTable({}, {}, 0, 0)


def patient_of(outcome: Outcome) -> str:
    """Return what a table would call the patient of a source: the bare DICOM Patient ID."""
    patient, *_ = outcome.patient_key.split("\n")  # its issuer may follow
    return patient


class LabelNotes:
    """What a table tells of each source, noted in keyed hashes to be compared when it changes.

    Args:
        table: The table.
        pseudonyms: The key.
    """

    def __init__(self, table: LabelTable, pseudonyms: Pseudonyms) -> None:
        self.table = table
        self.pseudonyms = pseudonyms
        rows = table.by_patient.items()
        self._by_patient = {self._hash("patient", patient): row for patient, row in rows}

    def note(self, outcome: Outcome) -> tuple[str, str]:
        """Return keyed hashes of the patient and of what is told about a source."""
        patient = patient_of(outcome)
        return self._hash("patient", patient), self._told(self.table.of(outcome))

    def check(self, task: Task, patient: str, told: str, *, same_place: bool) -> None:
        """Refuse a table that tells other things about a source than when it became a clip.

        Args:
            task: The source.
            patient: Keyed hash of its patient, from ``note``.
            told: Keyed hash of what was told then.
            same_place: Whether it is that file, and not a twin that may have no row.

        Raises:
            UsageError: If the labels have changed.
        """
        row = self.table.by_position.get(task.position) or self._by_patient.get(patient, {})
        now = self._told(row)
        if now == told or not (row or same_place or self.table == NO_LABELS):
            return
        before = "no labels" if not told else "labels"
        after = "none" if not row else "others" if told else "some"
        raise UsageError(
            f"File {task.position} became a clip with {before} and has {after} now.",
            "Give the same --labels (further rows may follow), or add --overwrite to make the "
            "set anew.",
        )

    def without_clip(self, patients: Iterable[str]) -> int:
        """Return of how many patients in a table of patients there is no clip.

        Args:
            patients: Keyed hashes, from ``note``, of the patients of whom there are clips.
        """
        return len(self._by_patient.keys() - set(patients))

    def _told(self, row: Mapping[str, Label]) -> str:
        known = sorted((name, value) for name, value in row.items() if value is not None)
        return self._hash("told", json.dumps(known)) if known else ""

    def _hash(self, kind: str, text: str) -> str:
        return self.pseudonyms.source(f"{kind}:{text}")[:DIGITS]


def _read_table(file: Path) -> pd.DataFrame:
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            first = text.readline()
        parted = delimiter(first)
        table = pd.read_csv(
            file, sep=parted, dtype=str, keep_default_na=False, encoding="utf-8-sig"
        )
    except UnicodeDecodeError:
        raise EchoError(
            "The labels are not in UTF-8.",
            "Save them anew, in Excel as `CSV UTF-8`: other letters than a to z would be lost.",
        ) from None
    except FileNotFoundError:
        raise EchoError(
            "There is no such table of labels.", "Name a file that exists with --labels."
        ) from None
    except (OSError, ValueError) as error:
        raise EchoError(
            f"The labels cannot be read ({type(error).__name__}).",
            "Give a comma-separated table in UTF-8 whose first line names the columns.",
        ) from None
    header = next(csv.reader([first], delimiter=parted), [])
    refuse_twice([name.strip() for name in header], "The table of labels")
    table.columns = table.columns.str.strip()
    table = table[(table != "").any(axis=1)]  # spreadsheets write empty lines below the last
    if parted == ";":
        table = table.map(decimal_point)
    if not {FILE, PATIENT} & set(table.columns):
        raise EchoError(
            f"The labels have neither a column `{FILE}` nor a column `{PATIENT}`.",
            f"Name the column with file names `{FILE}`, or the one with DICOM patient ids "
            f"`{PATIENT}`.",
        )
    return table


def _clean_rows(table: pd.DataFrame, named: Sequence[str]) -> list[dict[str, Label]]:
    rows = enumerate(table.to_dict("records"), start=2)
    return [
        clean_row(
            {str(key): value for key, value in row.items()},
            f"Line {number} of the labels",
            named,
        )
        for number, row in rows
    ]


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
    return composed(name.strip().replace("\\", "/").removeprefix("./"))


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
    return [composed(name) for name in (path.as_posix(), *tails, path.stem)]
