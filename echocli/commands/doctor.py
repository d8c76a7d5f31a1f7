"""``echocli doctor``: what this machine lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from echocli.commands._options import JsonOption, OverwriteOption, QuietOption
from echocli.console import Console
from echocli.errors import ExitCode


def command(
    folder: Annotated[Path, typer.Argument(help="Where results would go.")] = Path(),
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle", metavar="FILE", help="Write the same as a zip, to send with a question."
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Check the machine: what is missing, and the command that mends it.

    * `echocli doctor`: everything, for results in this folder

    * `echocli doctor /data/study`: the same with the disk of another folder

    * `echocli doctor --json > doctor.json`: for programs

    * `echocli doctor --bundle doctor.zip`: for a report of a problem

    One small picture is decoded in every DICOM transfer syntax and every kind of video.
    Neither the document nor the bundle names a user, a machine, a folder, a file or a
    patient. Ends with 5 if something is missing that echocli needs. `--quiet` prints only
    what is not ok.
    """
    from echocli.api.doctor import SCHEMA, doctor, write_bundle
    from echocli.files import new_file

    console = Console(quiet=quiet or json, as_json=json)
    if bundle is not None:
        new_file(bundle, overwrite=overwrite)
    result = doctor(folder, reporter=console)
    if json:
        console.document(SCHEMA, result.document())
    else:
        for check in result.checks:
            if not quiet or check.remedy:
                console.result(f"{check.state:4}  {check.name:32}  {check.found}")
                if check.remedy:
                    console.result(f"      fix: {check.remedy}")
    if bundle is not None:
        write_bundle(result, bundle)
        console.say(f"{bundle} holds the same; it names no user, machine, folder or patient.")
    if not result.is_fit:
        raise typer.Exit(int(ExitCode.MACHINE))
    console.say("echocli can work here.")
