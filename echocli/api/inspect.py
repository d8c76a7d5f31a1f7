"""Says what each file is and whether it can become a clip, by its header alone."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from echocli.console import SILENT, Reporter
from echocli.files import atomic_path
from echocli.intake.read import FileDescription, describe
from echocli.intake.reasons import Reason
from echocli.intake.sources import find_sources

COLUMNS = (
    "file",
    "kind",
    "vendor",
    "frames",
    "rows",
    "columns",
    "rate_hz",
    "time_source",
    "row_mm",
    "column_mm",
    "spacing_source",
    "transfer_syntax",
    "decodable",
    "verdict",
    "reason",
    "detail",
)
"""Columns of the table, the CSV file and each entry of the JSON document."""


@dataclass(frozen=True, kw_only=True)
class InspectedFile:
    """One file, called by its place in the sorted list, because its name may name a patient."""

    position: int
    """1 for the first file; ``preprocess`` counts the same way."""
    description: FileDescription

    def row(self) -> dict[str, str | int | float | bool | None]:
        """Return the values of ``COLUMNS``."""
        said = self.description
        row_mm, column_mm = said.spacing_mm or (None, None)
        return {
            "file": self.position,
            "kind": said.kind.value,
            "vendor": said.vendor,
            "frames": said.frames,
            "rows": said.rows,
            "columns": said.columns,
            "rate_hz": None if said.rate_hz is None else round(said.rate_hz, 3),
            "time_source": said.time_source,
            "row_mm": None if row_mm is None else round(row_mm, 6),
            "column_mm": None if column_mm is None else round(column_mm, 6),
            "spacing_source": said.spacing_source,
            "transfer_syntax": said.transfer_syntax,
            "decodable": said.decodable,
            "verdict": "use" if said.usable else "refuse",
            "reason": None if said.reason is None else said.reason.value,
            "detail": said.detail or None,
        }


@dataclass(frozen=True, kw_only=True)
class InspectResult:
    """What all files are."""

    files: tuple[InspectedFile, ...]

    @property
    def n_usable(self) -> int:
        """Files whose headers speak for a clip."""
        return sum(file.description.usable for file in self.files)

    @property
    def reasons(self) -> dict[Reason, int]:
        """How many files are refused for which reason, the most frequent first."""
        counts = Counter(f.description.reason for f in self.files if f.description.reason)
        return dict(counts.most_common())


def inspect(sources: Iterable[Path], *, reporter: Reporter = SILENT) -> InspectResult:
    """Describe files by their headers, without reading pixels.

    The pixels have the last word: ``preprocess`` still refuses what only they give away, such
    as colour Doppler under an innocent header.

    Args:
        sources: Files and folders.
        reporter: Who watches.

    Raises:
        EchoError: If a path does not exist, or there is no file at all.
    """
    paths = find_sources(sources)
    files = []
    with reporter.progress("inspecting", len(paths)) as advance:
        for position, path in enumerate(paths, start=1):
            files.append(InspectedFile(position=position, description=describe(path)))
            advance(1)
    return InspectResult(files=tuple(files))


def write_csv(result: InspectResult, path: Path) -> None:
    """Write one row a file, whole or not at all."""
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as out,
    ):
        write_rows(result, out)


def write_rows(result: InspectResult, out: TextIO) -> None:
    """Write one CSV row a file to an open text file."""
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(file.row() for file in result.files)
