"""``echocli config show``: settings and where they come from."""

from __future__ import annotations

from typing import Annotated

import typer

from echocli.commands._options import (
    ConfigOption,
    JsonOption,
    MethodOption,
    PresetOption,
    QuietOption,
    SetOption,
)
from echocli.console import Console

SCHEMA = "echocli.config/1"

app = typer.Typer(
    help="""Settings of a pretraining, and where each comes from.

    * `echocli config show`: what `echocli pretrain` would be set to

    * `echocli config show --preset laptop > mine.toml`: a file to change, for --config

    The later wins: defaults, preset, --config FILE, ECHOCLI_SECTION__KEY=VALUE in the
    environment, options, --set. Only `pretrain` has settings beside its options.
    """,
    no_args_is_help=True,
)


@app.command()
def show(
    method: MethodOption = None,
    preset: PresetOption = None,
    changes: SetOption = None,
    file: ConfigOption = None,
    only_changed: Annotated[
        bool, typer.Option("--changed", help="Leave out what is a default.")
    ] = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show every setting of a pretraining with the layer that it comes from.

    * `echocli config show`: as TOML, the source behind each value

    * `echocli config show --preset small --set optim.lr=3e-4 --changed`: what is no default

    * `echocli config show --config runs/latest/config.json --json`: of a run, as JSON

    What it prints can be given to --config again. With -q the sources are left out.
    """
    from dataclasses import asdict

    from echocli.api.config import config
    from echocli.config import to_toml

    console = Console(quiet=quiet or as_json, as_json=as_json)
    result = config(method=method, preset=preset, file=file, changes=changes or [])
    if only_changed:
        result = result.changed()
    if as_json:
        console.document(SCHEMA, {"command": "pretrain", **asdict(result)})
    else:
        sources = {} if quiet else result.sources
        console.result(to_toml(result.settings, sources).rstrip("\n"))
