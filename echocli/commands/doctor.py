"""``echocli doctor``: what this machine lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echocli.commands._options import JsonOption, QuietOption
from echocli.console import Console
from echocli.errors import ExitCode

SCHEMA = "echocli.doctor/1"


def command(
    folder: Annotated[
        Path, typer.Argument(help="Where results would go.", exists=True, file_okay=False)
    ] = Path(),
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Check the machine: what is missing, and the command that mends it.

    * `echocli doctor`: everything, for results in this folder

    * `echocli doctor /data/study`: the same with the disk of another folder

    * `echocli doctor --json > doctor.json`: for a bug report; it names no patient and no file

    One small picture is decoded in every DICOM transfer syntax and every video codec. Ends
    with 5 if something is missing that echocli needs. `--quiet` prints only what is not ok.
    """
    from echocli.api.doctor import State, doctor

    console = Console(quiet=quiet, as_json=json)
    result = doctor(folder, reporter=console)
    checks = [c for c in result.checks if not quiet or c.state is not State.OK]
    if json:
        rows = [
            {"name": c.name, "state": c.state, "found": c.found, "remedy": c.remedy}
            for c in checks
        ]
        payload = {"fit": result.is_fit, "seconds": result.seconds, "checks": rows}
        console.document(SCHEMA, payload)
    else:
        for check in checks:
            console.result(f"{check.state:4}  {check.name:32}  {check.found}")
            if check.remedy:
                console.result(f"      fix: {check.remedy}")
    if not result.is_fit:
        raise typer.Exit(int(ExitCode.MACHINE))
    console.say("echocli can work here.")
