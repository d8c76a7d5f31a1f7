"""One self-contained page about a study: what was done, how it went, how to repeat it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import echocli
from echocli.api._output import refuse_to_replace
from echocli.console import SILENT, Reporter
from echocli.errors import EchoError
from echocli.files import write_text
from echocli.reports.page import page
from echocli.reports.sections_classes import classes_section
from echocli.reports.sections_data import clips_section, sources_section
from echocli.reports.sections_end import lead, limits_section, repeat_section
from echocli.reports.sections_learning import embedding_section, training_section
from echocli.reports.sections_results import anomaly_section, lvef_section, segment_section
from echocli.reports.study_reader import read_study
from echocli.study import Study

TITLE = "Echocardiography study"


@dataclass(frozen=True)
class ReportResult:
    """A written report."""

    out: Path
    sections: tuple[str, ...]
    """Titles of its parts."""
    megabytes: float
    unreadable: tuple[str, ...]
    """Parts of the study that are there but cannot be read."""


def report(
    target: Path = Path(),
    out: Path | None = None,
    *,
    overwrite: bool = False,
    reporter: Reporter = SILENT,
) -> ReportResult:
    """Write a page about a study folder.

    Parts that are missing are named together with the command that makes them.

    Args:
        target: Study folder, or a run, head or clip set inside one.
        out: HTML file; ``report.html`` in the study folder if left out.
        overwrite: Replace what stands at ``out``.
        reporter: Who watches.

    Raises:
        EchoError: If the folder holds nothing that a command of ours has written.
        UsageError: If ``out`` exists and ``overwrite`` is off.
    """
    root = study_of(target)
    out = out or Study(root).report
    refuse_to_replace(out, overwrite=overwrite)
    results = read_study(root)
    parts = (
        sources_section,
        clips_section,
        training_section,
        embedding_section,
        anomaly_section,
        lvef_section,
        segment_section,
        *([classes_section] if results.classes is not None else []),
        repeat_section,
    )
    sections = []
    with reporter.progress("report", len(parts)) as done:
        for part in parts:
            sections.append(part(results))
            done(1)
    sections.append(limits_section())
    told = f"Written by echocli {echocli.__version__} from what its commands left behind."
    html = page(TITLE, told, lead(results), sections)
    write_text(out, html)
    for name in results.unreadable:
        reporter.warn(f"{name} cannot be read and is left out of the report.")
    titles = tuple(section.title for section in sections)
    return ReportResult(out, titles, len(html) / 1e6, tuple(results.unreadable))


def study_of(target: Path) -> Path:
    """Return the study folder that something belongs to.

    Raises:
        EchoError: If the folder does not exist.
    """
    if not target.is_dir():
        raise EchoError(
            "There is no such study folder.", "Name a folder that commands of echocli wrote to."
        )
    whole = target.resolve()
    for folder, inside in (("runs", 2), ("heads", 2), ("clips", 1), ("predictions", 1)):
        parents = [whole, *whole.parents]
        if len(parents) > inside and parents[inside - 1].name == folder:
            return parents[inside]
    return target
