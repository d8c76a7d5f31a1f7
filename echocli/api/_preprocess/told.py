"""What is said of sources, labels and patients while a clip set is made."""

from __future__ import annotations

from pathlib import Path

from echocli.api._preprocess.labels import LabelTable
from echocli.api._preprocess.ledger import Ledger
from echocli.api._preprocess.rules import tell_datasets
from echocli.api._preprocess.run import Run
from echocli.api._preprocess.sources import Found
from echocli.clips.progress import unfinished
from echocli.console import Reporter


def tell_found(found: Found, labels: Path | None, reporter: Reporter) -> None:
    """Say what lies among the sources beside recordings."""
    tell_datasets(found.datasets, reporter)
    if found.passed_over:
        reporter.say(
            f"{found.passed_over} file(s) passed over: tables, notes, hidden files and links"
        )
    if found.unread_tables and labels is None:
        reporter.warn(
            f"{found.unread_tables} labels.csv among the sources is not used: without a column "
            "`file` that names files beside it; --labels FILE takes it for all sources."
        )


def tell_labels(
    table: LabelTable, labels: Path | None, sources: int, reporter: Reporter
) -> None:
    """Say what a table of labels told, and what of it fits nothing."""
    if labels is None:
        return
    rows, patients = len(table.by_position), len(table.by_patient)
    found = f"{patients} patient(s)" if patients else f"{rows} of {sources} source(s)"
    if table.columns:
        reporter.say(f"labels of {found}: {', '.join(table.columns)}")
    else:
        reporter.warn(
            "No column of the labels has a name that echocli knows, such as ef_percent, normal "
            "or sex: rename what shall be kept, or name it with --label-column."
        )
    if table.unused_rows:
        reporter.warn(f"{table.unused_rows} row(s) of the labels fit no source.")
    if table.unused_columns:
        reporter.say(
            f"labels: {table.unused_columns} column(s) left out; --label-column keeps one "
            "that holds numbers or classes"
        )


def tell_moved(run: Run, reporter: Reporter) -> None:
    """Say that sources were known again at other places."""
    if run.moved:
        reporter.say(
            f"{run.moved} source(s) stand at other places than before: known by their content, "
            "they are not made again"
        )


def tell_patients(run: Run, ledger: Ledger, reporter: Reporter, *, in_place: bool) -> None:
    """Warn of patients without a clip, and of clips without a patient.

    Args:
        run: What was done.
        ledger: What the set holds.
        reporter: Is warned.
        in_place: Whether the clips are for one result alone: no split of theirs can part what
            is of one patient, so that a sentence is enough.
    """
    told = (
        f"{run.nameless} clip(s) do not tell whose they are, and each counts as a patient of "
        "its own"
    )
    if run.nameless and in_place:
        reporter.say(told)
    elif run.nameless:
        reporter.warn(
            f"{told}. If some are of one patient, say so in labels.csv, in a column `patient`, "
            "before clips are made: a split could part them."
        )
    missed = run.notes.without_clip(source.patient for source in ledger.sources.values())
    if missed and not unfinished(run.folder):
        reporter.warn(
            f"{missed} of {len(run.table.by_patient)} patient(s) in the labels have no clip: "
            "see that the ids are written as in the files, with all their zeros."
        )
