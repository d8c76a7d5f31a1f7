"""How figures of an evaluation are shown: on a terminal in full, then parts side by side."""

from __future__ import annotations

from collections.abc import Sequence

from echocli.console import Console

Rows = Sequence[Sequence[object]]
NONE = "-"
PARTS = "Parts; * fewer than 30 patients. Piped, or with --json: all figures, with intervals"


def show(
    console: Console,
    title: str,
    columns: Sequence[str],
    rows: Rows,
    parts: Rows,
    spare: Sequence[str],
) -> None:
    """Write figures on standard output.

    Args:
        console: Where.
        title: Of whom they are.
        columns: Header: part, figure, value, what else there is, count, patients, note.
        rows: Of everyone.
        parts: Of parts, a row for each of their figures.
        spare: Columns, and figures of parts, that a terminal is too narrow for.
    """
    if not (console.draws and parts):
        console.table(title, columns, [*rows, *parts])
        return
    console.table(title, *in_full(columns, rows, spare))
    console.table(PARTS, *side_by_side(columns, parts, spare))


def in_full(
    columns: Sequence[str], rows: Rows, spare: Sequence[str]
) -> tuple[list[str], list[list[object]]]:
    """Leave out what can be spared, and columns that say the same in every row."""
    kept = [
        at
        for at, name in enumerate(columns)
        if name not in spare and (len(rows) == 1 or len({row[at] for row in rows}) > 1)
    ]
    return [columns[at] for at in kept], [[row[at] for at in kept] for row in rows]


def side_by_side(
    columns: Sequence[str], parts: Rows, spare: Sequence[str]
) -> tuple[list[str], list[list[object]]]:
    """Put the figures of a part into one row, without their intervals."""
    found: dict[object, dict[object, str]] = {}
    ends: dict[object, list[object]] = {}
    for part, figure, value, *_, count, patients, note in parts:
        found.setdefault(part, {})[figure] = str(value).partition(" ")[0]
        ends[part] = [count, f"{patients} *" if note else patients]
    figures = dict.fromkeys(
        figure
        for values in found.values()
        for figure, value in values.items()
        if value != NONE and figure not in spare
    )
    header = [columns[0], *(str(figure) for figure in figures), *columns[-3:-1]]
    return header, [
        [part, *(values.get(figure, NONE) for figure in figures), *ends[part]]
        for part, values in found.items()
    ]
