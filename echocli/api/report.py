"""One self-contained page about a study, a run or a head."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import echocli
from echocli.api._output import refuse_to_replace
from echocli.api._relabelled import clips_relabelled, head_relabelled
from echocli.console import SILENT, Reporter
from echocli.files import write_text
from echocli.reports.checklist import checklist_section
from echocli.reports.flow import flow_section
from echocli.reports.page import Section, page
from echocli.reports.scope import read_target, target_of
from echocli.reports.sections_anomaly import anomaly_section
from echocli.reports.sections_cards import cards_section
from echocli.reports.sections_classes import classes_section
from echocli.reports.sections_data import clips_section
from echocli.reports.sections_embedding import embedding_section
from echocli.reports.sections_end import lead, limits_section
from echocli.reports.sections_learning import training_section
from echocli.reports.sections_lvef import lvef_section
from echocli.reports.sections_repeat import numbers_section, repeat_section
from echocli.reports.sections_segment import segment_section
from echocli.reports.sections_splits import splits_section
from echocli.reports.sections_subgroups import subgroups_section
from echocli.reports.study_reader import Results, head_of, of_other_clips, tables_of

PARTS: tuple[tuple[Callable[[Results], Section], Callable[[Results], bool]], ...] = (
    (flow_section, lambda found: True),
    (clips_section, lambda found: found.clips is not None),
    (splits_section, lambda found: found.clips is not None),
    (training_section, lambda found: bool(found.runs)),
    (embedding_section, lambda found: found.embeddings is not None),
    (anomaly_section, lambda found: found.scores is not None),
    (lvef_section, lambda found: found.lvef is not None or bool(head_of(found, "lvef"))),
    (
        segment_section,
        lambda found: found.volumes is not None or bool(head_of(found, "segment")),
    ),
    (
        classes_section,
        lambda found: found.classes is not None or bool(head_of(found, "classify")),
    ),
    (subgroups_section, lambda found: found.clips is not None),
    (cards_section, lambda found: True),
    (checklist_section, lambda found: True),
    (repeat_section, lambda found: True),
    (numbers_section, lambda found: True),
    (limits_section, lambda found: True),
)
"""Sections of the page in their order, and whether there is anything to show in them."""
OPTIONAL = (classes_section,)
"""What a study need not have: it is no gap if it has none."""


@dataclass(frozen=True)
class ReportResult:
    """A written report."""

    out: Path
    sections: tuple[str, ...]
    """Titles of its parts."""
    megabytes: float
    unreadable: tuple[str, ...]
    """Parts of the study that are there but cannot be read."""
    of_other_clips: tuple[str, ...] = ()
    """Results of clips that the study's clip set does not hold."""
    of_other_labels: tuple[str, ...] = ()
    """Results made with other labels than the clips have now."""


def report(
    target: Path = Path(),
    out: Path | None = None,
    *,
    overwrite: bool = False,
    reporter: Reporter = SILENT,
) -> ReportResult:
    """Write a page about a study, a run or a head.

    Parts that a study lacks are named together with the command that makes them; the page of
    a run or a head holds what belongs to it.

    Args:
        target: Folder of a study, a run or a head.
        out: HTML file; if left out ``report.html`` in the study folder, or there
            ``report-run-NAME.html`` or ``report-head-NAME.html``.
        overwrite: Replace what stands at ``out``.
        reporter: Who watches.

    Raises:
        EchoError: If the folder holds nothing that a command of ours has written.
        UsageError: If ``out`` exists and ``overwrite`` is off.
    """
    about = target_of(target)
    out = out or about.out
    refuse_to_replace(out, overwrite=overwrite)
    results = read_target(about)
    results.of_other_labels = _of_other_labels(results)
    whole = about.kind == "study"
    parts = [
        part
        for part, is_there in PARTS
        if is_there(results) or (whole and part not in OPTIONAL)
    ]
    sections = []
    with reporter.progress("report", len(parts)) as done:
        for part in parts:
            sections.append(part(results))
            done(1)
    told = f"Written by echocli {echocli.__version__} from what its commands left behind."
    html = page(about.title, told, lead(results), sections)
    write_text(out, html)
    for name in results.unreadable:
        reporter.warn(f"{name} cannot be read and is left out of the report.")
    others = tuple(of_other_clips(results))
    if others:
        reporter.warn(
            f"of other clips than those in clips/: {', '.join(others)}. Make them again, with "
            "--overwrite."
        )
    relabelled = tuple(results.of_other_labels)
    if relabelled:
        reporter.warn(
            f"made with other labels than the clips have now: {', '.join(relabelled)}. Embed "
            "and fit again, then score and predict again, with --overwrite."
        )
    titles = tuple(section.title for section in sections)
    unreadable = tuple(results.unreadable)
    return ReportResult(out, titles, len(html) / 1e6, unreadable, others, relabelled)


def _of_other_labels(results: Results) -> list[str]:
    """Return which results tell other labels of the study's clips than these have now."""
    if results.clips is None:
        return []
    manifest = results.clips.manifest
    tables = tables_of(results).items()
    found = [name for name, (rows, told) in tables if clips_relabelled(rows, told, manifest)]
    heads = results.heads.items()
    return found + [f"heads/{name}" for name, head in heads if head_relabelled(head, manifest)]
