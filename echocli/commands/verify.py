"""``echocli verify``."""

from pathlib import Path
from typing import Annotated

import typer

from echocli.commands._options import JsonOption, QuietOption
from echocli.console import Console
from echocli.errors import ExitCode


def command(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="[PATH]",
            help="An output, or a study folder; here if left out.",
            show_default=False,
        ),
    ] = Path(),
    quick: Annotated[
        bool, typer.Option("--quick", help="Compare sizes and counts; do not hash.")
    ] = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check that outputs are whole: hashes, rows, nothing missing, nothing extra.

    * `echocli verify`: every output of this study, and whether they belong together

    * `echocli verify clips`: every byte of a clip set, before it is trained on or passed on

    * `echocli verify clips --quick`: seconds, even for a large set: sizes, rows, parts

    * `echocli verify -q || echo not whole`: in scripts; prints only what is not whole

    Results in this study of clips that were made anew, or had other labels, are not whole
    either, nor are heads whose patients had other labels.

    Nothing is changed. The exit code is 0 if all is whole and 3 if something is damaged or was
    never finished; each problem stands beside the command that mends it.
    """
    from echocli.api._verify.files import as_document
    from echocli.api.verify import verify

    console = Console(quiet=quiet or as_json, as_json=as_json)
    result = verify(path, quick=quick, reporter=console)
    if as_json:
        outputs = [as_document(output) for output in result.outputs]
        content = {"whole": result.whole, "quick": quick, "outputs": outputs}
        console.document("echocli.verify/1", content)
    elif quiet:
        for output in result.damaged:
            console.result(str(output.path))
    else:
        rows = []
        for output in result.outputs:
            start = [output.path, output.kind]
            if output.whole:
                rows.append([*start, "whole", output.looked_at, ""])
            rows += [[*start, "not whole", p.found, p.remedy] for p in output.problems]
        console.table("Outputs", ["output", "kind", "state", "found", "fix"], rows)
        damaged = len(result.damaged)
        told = f"{damaged} of them not whole" if damaged else "all whole"
        console.say(f"{len(result.outputs)} output(s), {told}")
    if not result.whole:
        raise typer.Exit(ExitCode.INPUT)
