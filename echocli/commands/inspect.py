"""``echocli inspect``."""

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echocli.commands._options import JsonOption, NullOption, OverwriteOption, QuietOption
from echocli.console import Console
from echocli.errors import EchoError
from echocli.study import Study

if TYPE_CHECKING:
    from echocli.api.inspect import InspectedFile, InspectSummary
    from echocli.intake.kind import Kind
    from echocli.intake.reasons import Reason

SHOWN = ("file", "kind", "frames", "size", "frames a second", "mm a pixel", "verdict")
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
        typer.Option("--out", "-o", "--csv", help="CSV file to write; - for standard output."),
    ] = None,
    linkage: Annotated[
        Path | None,
        typer.Option("--linkage", help="Write which file stands where: identifying!"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes; as many as help.")
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
    never by its name, which may name a patient; --linkage tells which is which. With -q only
    the places of usable files are printed. The exit code is 3 if not one file can be used.
    """
    from echocli.api.inspect import (
        InspectSummary,
        Sink,
        csv_file,
        csv_sink,
        inspect_each,
        linkage_file,
    )
    from echocli.commands._paths import STANDARD, expand
    from echocli.files import new_file

    console = Console(quiet=quiet or as_json, as_json=as_json)
    summary = InspectSummary()
    shown_at_end: list[InspectedFile] = []
    sinks: list[Sink] = [shown_at_end.append]
    if out == STANDARD:
        sinks = [csv_sink(sys.stdout)]
    elif quiet and not as_json:
        sinks = [lambda file: _print_place(console, file)]
    with ExitStack() as files:
        for path, opened in ((out, csv_file), (linkage, linkage_file)):
            if path is not None and path != STANDARD:
                sinks.append(files.enter_context(opened(new_file(path, overwrite=overwrite))))
        named = expand(sources, null=null) if sources else Study().sources()
        for file in inspect_each(named, summary, workers=workers, reporter=console):
            for take in sinks:
                take(file)
    if as_json and shown_at_end:
        console.document("echocli.inspect/1", _document(summary, shown_at_end))
    elif shown_at_end:
        console.table("Files", SHOWN, [_cells(file) for file in shown_at_end])
    if linkage:
        console.warn("The linkage file says who is who: keep it where patient data belong.")
    _summarise(console, summary)
    if not summary.n_usable:
        raise EchoError(
            f"None of {summary.n_files} file(s) can be used: {_counted(summary.reasons)}.",
            "Name DICOM cine loops of two-dimensional grey ultrasound, or videos.",
        )


def _print_place(console: Console, file: "InspectedFile") -> None:
    if file.description.usable:
        console.result(str(file.position))


def _cells(file: "InspectedFile") -> list[object]:
    """Return the row of the drawn table: time and scale with their sources, why not."""
    row: dict[str, Any] = dict(file.row())
    rate, height, width = row["rate_hz"], row["row_mm"], row["column_mm"]
    scale = "" if height is None else f"{height:.3g}"
    if height != width:
        scale += f" x {width:.3g}"
    return [
        row["file"],
        row["kind"],
        row["frames"],
        f"{row['rows']}x{row['columns']}" if row["rows"] else None,
        f"{rate:.4g} {row['time_source']}" if rate else None,
        f"{scale} {row['spacing_source']}" if height else None,
        row["detail"] or row["verdict"],
    ]


def _document(summary: "InspectSummary", files: "Sequence[InspectedFile]") -> dict[str, object]:
    return {
        "n_files": summary.n_files,
        "n_usable": summary.n_usable,
        "n_undecided": summary.n_undecided,
        "kinds": {kind.value: n for kind, n in summary.kinds.most_common()},
        "reasons": {reason.value: n for reason, n in summary.reasons.most_common()},
        "missing": dict(summary.missing.most_common()),
        "files": [file.row() for file in files],
    }


def _summarise(console: Console, summary: "InspectSummary") -> None:
    from echocli.intake.reasons import MEANINGS

    console.say(
        f"{summary.n_usable} of {summary.n_files} file(s) can be used: "
        f"{_counted(summary.kinds)}"
    )
    if summary.n_undecided:
        console.say(
            f"{summary.n_undecided} of them may be colour Doppler, which is refused: they have "
            "colours, their headers tell no mode, and only their pixels will"
        )
    for reason, count in summary.reasons.most_common():
        console.say(f"  {count:>5} {reason.value}: {MEANINGS[reason]}")
    for package, count in summary.missing.most_common():
        console.say(f"for {count} file(s) a decoder is missing: pip install {package}")


def _counted(counts: "Counter[Kind] | Counter[Reason]") -> str:
    return ", ".join(f"{n} {what.value}" for what, n in counts.most_common())
