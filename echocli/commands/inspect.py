"""``echocli inspect``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echocli.commands._options import JsonOption, NullOption, OverwriteOption, QuietOption
from echocli.console import Console
from echocli.errors import EchoError
from echocli.study import Study

if TYPE_CHECKING:
    from echocli.api.inspect import InspectResult

SHOWN = {
    "file": "file",
    "kind": "kind",
    "vendor": "vendor",
    "frames": "frames",
    "size": "size",
    "rate_hz": "Hz",
    "time_source": "time from",
    "mm": "mm/pixel",
    "spacing_source": "scale from",
    "transfer_syntax": "compression",
    "verdict": "verdict",
    "detail": "why not",
}
"""Columns of the drawn table; CSV and JSON have all."""


def command(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="SRC...", help="Files or folders, or - for a list on standard input."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="CSV file to write, too; - for standard output."),
    ] = None,
    null: NullOption = False,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say what each file is and whether it can become a clip, by its header alone.

    * `echocli inspect`: the files of this study folder

    * `echocli inspect /archive/echo -o files.csv`: every file below a folder, as a table

    * `find /archive -name '*.dcm' | echocli inspect -`: a list of files

    * `echocli inspect dicom/ --json | jq '.files[] | select(.verdict == "use")'`

    Nothing is decoded and nothing is changed. A file is called by its place in the sorted list,
    never by its name, which may name a patient. With -q only the places of usable files are
    printed. The exit code is 3 if not one file can be used.
    """
    from echocli.api.inspect import inspect, write_csv, write_rows
    from echocli.commands._paths import STANDARD, expand
    from echocli.files import new_file

    console = Console(quiet=quiet or as_json, as_json=as_json)
    streams = out == STANDARD
    if out is not None and not streams:
        new_file(out, overwrite=overwrite)
    named = expand(sources, null=null) if sources else Study().sources()
    result = inspect(named, reporter=console)
    if out is not None and not streams:
        write_csv(result, out)
    if streams:
        write_rows(result, sys.stdout)
    elif as_json:
        console.document(
            "echocli.inspect/1",
            {
                "n_files": len(result.files),
                "n_usable": result.n_usable,
                "reasons": {reason.value: n for reason, n in result.reasons.items()},
                "files": [file.row() for file in result.files],
            },
        )
    elif quiet:
        for file in result.files:
            if file.description.usable:
                console.result(str(file.position))
    else:
        _draw(console, result)
    if not result.n_usable:
        raise EchoError(
            f"None of {len(result.files)} file(s) can be used: {_count(result)}.",
            "Name DICOM cine loops of two-dimensional grey ultrasound, or videos.",
        )


def _draw(console: Console, result: "InspectResult") -> None:
    rows = []
    for file in result.files:
        row = file.row()
        if row["rows"]:
            row["size"] = f"{row['rows']}x{row['columns']}"
        if row["row_mm"]:
            row["mm"] = f"{row['row_mm']:.4g} x {row['column_mm']:.4g}"
        if isinstance(row["rate_hz"], float):
            row["rate_hz"] = f"{row['rate_hz']:.4g}"
        rows.append([row.get(column) for column in SHOWN])
    console.table("Files", list(SHOWN.values()), rows)
    refused = f"; refused: {_count(result)}" if result.reasons else ""
    console.say(f"{result.n_usable} of {len(result.files)} file(s) can be used{refused}")


def _count(result: "InspectResult") -> str:
    return ", ".join(f"{n} {reason.value}" for reason, n in result.reasons.items())
