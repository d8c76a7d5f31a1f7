"""How two heads are compared on the command line, whatever their task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from echocli.commands._desks import EvaluateDesk
from echocli.commands._tasks import bounded, doubt, number

AgainstOption = Annotated[
    Path | None,
    typer.Option(
        "--against",
        metavar="HEAD",
        help="Compare with another head, on the same clips of patients that neither has seen.",
    ),
]
COLUMNS = [
    *("figure", "of", "this", "other", "difference (95 %)"),
    *("p", "p Wilcoxon", "rows", "patients"),
]
P_DIGITS = 4


def show_comparison(desk: EvaluateDesk, summary: Mapping[str, Any], digits: int) -> None:
    """Show how a head differs from another: as a table, or all figures as they are.

    Args:
        desk: The command.
        summary: Its ``against`` holds the other head, of how many it is (``test``), and
            ``metrics``: figure, of what, comparison; see ``api/_compare.py``.
        digits: Shown of a figure.
    """
    against = summary["against"]
    rows = [
        [figure, of, *_cells(found, digits)]
        for figure, parts in against["metrics"].items()
        for of, found in parts.items()
        if found["rows"]
    ]
    counts = ", ".join(f"{count} {what}" for what, count in against["test"].items())
    counts += doubt(against["test"]["patients"])
    title = f"{summary['head']} against {against['head']}: {counts}"
    desk.evaluated(summary, title, COLUMNS, rows)


def _cells(found: Mapping[str, Any], digits: int) -> list[str]:
    """Return a comparison as text, without the names of figure and part."""
    return [
        *(number(found[key], digits) for key in ("value", "other")),
        bounded(found["difference"], digits),
        *(number(found[key], P_DIGITS) for key in ("p_value", "wilcoxon_p_value")),
        *(str(found[key]) for key in ("rows", "patients")),
    ]
