"""``echocli report``: one page about a study, a run or a head."""

from pathlib import Path
from typing import Annotated

import typer

from echocli.commands._options import JsonOption, OverwriteOption, QuietOption
from echocli.console import Console

SCHEMA = "echocli.report/1"


def command(
    study: Annotated[
        Path,
        typer.Argument(help="Folder of a study, a run or a head.", show_default=False),
    ] = Path(),
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="HTML file; report.html in the study if left out."),
    ] = None,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write one HTML page about a study, a run or a head: figures, tables, how to repeat it.

    * `echocli report`: report.html about the study in this folder

    * `echocli report echo-demo -o page.html`: about another study

    * `echocli report heads/lvef`: about one head; a run likewise

    * `echocli report --overwrite`: again, after more commands have run

    The page needs no network and no other file, holds every number as CSV, and says of each
    part that a study lacks which command makes it. Reporting checklists are filled in as far
    as the files can tell.
    """
    from echocli.api.report import report

    console = Console(quiet=quiet or as_json, as_json=as_json)
    result = report(study, out, overwrite=overwrite, reporter=console)
    if as_json:
        console.document(
            SCHEMA,
            {
                "out": str(result.out),
                "sections": list(result.sections),
                "megabytes": round(result.megabytes, 3),
                "unreadable": list(result.unreadable),
                "of_other_clips": list(result.of_other_clips),
                "of_other_labels": list(result.of_other_labels),
            },
        )
        return
    console.say(f"{result.megabytes:.1f} MB; open it in a browser")
    console.result(str(result.out))
