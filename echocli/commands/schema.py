"""``echocli schema``: the forms of what ``--json`` prints."""

from __future__ import annotations

from typing import Annotated

import typer

from echocli.commands._options import JsonOption, QuietOption
from echocli.commands._words import among
from echocli.console import Console


def _names() -> list[str]:
    from echocli.api.schema import schema_names

    return schema_names()


def command(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Such as score-1; all are listed if left out.",
            **among(_names),
        ),
    ] = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show the form of what a command prints with --json, as a JSON Schema.

    * `echocli schema`: the names of all, and what each is of

    * `echocli schema score-1 > score.json`: one, for a validator

    The field `schema` of a document names its form: echocli.score/1 is score-1. A form of a
    number never loses a field; new fields may come.
    """
    from echocli.api.schema import schema, schema_names

    console = Console(quiet=quiet or as_json, as_json=as_json)
    if name is not None:
        import json

        console.result(json.dumps(schema(name).schema, indent=2))
        return
    found = [schema(one) for one in schema_names()]
    if as_json:
        rows = [{"name": one.name, "title": one.schema["title"]} for one in found]
        console.document("echocli.schema/1", {"schemas": rows})
    elif quiet:
        for one in found:
            console.result(one.name)
    else:
        rows_shown = [[one.name, one.schema["title"]] for one in found]
        console.table("schemas", ["name", "what it is of"], rows_shown)
