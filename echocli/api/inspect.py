"""Says what each file is and whether it can become a clip, by its header alone."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from echocli.api._pool import Job, Limits, Note, choose_workers, run
from echocli.console import SILENT, Reporter
from echocli.files import atomic_path, private_text
from echocli.intake.kind import Kind
from echocli.intake.read import FileDescription, describe
from echocli.intake.reasons import Reason, Refused
from echocli.intake.sources import find_sources

Value = str | int | float | bool | None

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
    "missing",
    "notes",
    "verdict",
    "reason",
    "detail",
)
"""Columns of the table, the CSV file and each entry of the JSON document."""

LIMITS = Limits(seconds=30.0, memory_bytes=1 << 30)
"""A header that costs more is hostile, or its disk is gone."""


@dataclass(frozen=True, kw_only=True)
class InspectedFile:
    """One file, called by its place in the sorted list, because its name may name a patient."""

    position: int
    """1 for the first file; ``preprocess`` counts the same way."""
    path: Path = field(repr=False)
    """Only for ``--linkage``: it identifies people."""
    description: FileDescription

    @property
    def verdict(self) -> str:
        """``use``, or ``refuse`` if the header speaks against it."""
        return "use" if self.description.usable else "refuse"

    def row(self) -> dict[str, Value]:
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
            "missing": said.missing or None,
            "notes": " ".join(said.notes) or None,
            "verdict": self.verdict,
            "reason": None if said.reason is None else said.reason.value,
            "detail": said.detail or None,
        }


@dataclass
class InspectSummary:
    """How many files are what; it stays small however many there are."""

    n_files: int = 0
    n_usable: int = 0
    n_undecided: int = 0
    """Usable ones of which the header leaves open whether they are colour Doppler."""
    kinds: Counter[Kind] = field(default_factory=Counter)
    reasons: Counter[Reason] = field(default_factory=Counter)
    """Why files are refused."""
    missing: Counter[str] = field(default_factory=Counter)
    """Packages to install, and for how many files that would help."""

    def add(self, file: InspectedFile) -> None:
        """Count one more file."""
        said = file.description
        self.n_files += 1
        self.n_usable += said.usable
        self.n_undecided += said.usable and bool(said.detail)
        self.kinds[said.kind] += 1
        if said.reason is not None:
            self.reasons[said.reason] += 1
        if said.reason is Reason.NO_DECODER and said.missing:
            self.missing[said.missing] += 1


@dataclass(frozen=True, kw_only=True)
class InspectResult:
    """What all files are."""

    files: tuple[InspectedFile, ...]
    summary: InspectSummary


@dataclass(frozen=True)
class _Source:
    position: int
    path: Path = field(repr=False)


def inspect(
    sources: Iterable[Path], *, workers: int | None = None, reporter: Reporter = SILENT
) -> InspectResult:
    """Describe files by their headers, without reading pixels.

    The pixels have the last word: ``preprocess`` still refuses what only they give away. Of a
    loop in colours whose header tells no mode, ``detail`` says that it may be colour Doppler.

    Args:
        sources: Files and folders.
        workers: Processes; chosen by itself if left out.
        reporter: Who watches.

    Raises:
        EchoError: If a path does not exist, or there is no file at all.
    """
    summary = InspectSummary()
    files = tuple(inspect_each(sources, summary, workers=workers, reporter=reporter))
    return InspectResult(files=files, summary=summary)


def inspect_each(
    sources: Iterable[Path],
    summary: InspectSummary,
    *,
    workers: int | None = None,
    reporter: Reporter = SILENT,
) -> Iterator[InspectedFile]:
    """Yield what ``inspect`` returns, one file after another, and keep none.

    Headers are parsed in worker processes, so that a hostile one costs itself alone.

    Args:
        sources: Files and folders.
        summary: Counts what is yielded.
        workers: Processes; chosen by itself if left out.
        reporter: Who watches.

    Raises:
        EchoError: If a path does not exist, or there is no file at all.
    """
    paths = find_sources(sources)
    with (
        reporter.progress("inspecting", len(paths)) as advance,
        closing(_described(paths, choose_workers(workers, len(paths)))) as described,
    ):
        for position, (path, said) in enumerate(zip(paths, described, strict=True), start=1):
            file = InspectedFile(position=position, path=path, description=said)
            summary.add(file)
            yield file
            advance(1)


def _described(paths: Iterable[Path], workers: int) -> Generator[FileDescription, None, None]:
    job: Job[_Source, FileDescription] = Job(_work, _lost)
    sources = (_Source(position, path) for position, path in enumerate(paths, start=1))
    return run(job, sources, workers, LIMITS)


def _work(source: _Source, note: Note) -> FileDescription:
    return describe(source.path)


def _lost(source: _Source, note: str, refused: Refused) -> FileDescription:
    return FileDescription(kind=Kind.OTHER, reason=refused.reason, detail=refused.detail)


Sink = Callable[[InspectedFile], None]
"""Takes one file after another."""


def csv_sink(out: TextIO) -> Sink:
    """Write the head of a CSV table, and return what writes a row."""
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    return lambda file: writer.writerow(file.row())


@contextmanager
def csv_file(path: Path) -> Iterator[Sink]:
    """Yield a sink whose CSV file stands there, whole, when the block has succeeded."""
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as out,
    ):
        yield csv_sink(out)


@contextmanager
def linkage_file(path: Path) -> Iterator[Sink]:
    """Yield a sink that says which file is which, readable by its owner only.

    The CSV file identifies people: it stands there, whole, when the block has succeeded.
    """
    with private_text(path) as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("source", "file", "verdict", "reason"))
        yield lambda file: writer.writerow(
            (file.path, file.position, file.verdict, file.description.reason or "")
        )
