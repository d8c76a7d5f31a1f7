"""The forms of the JSON documents that commands print, as JSON Schemas."""

from __future__ import annotations

import json
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from typing import Any

from echocli.errors import UsageError

ENDING = ".json"


@dataclass(frozen=True)
class SchemaResult:
    """A JSON Schema (draft 2020-12) that comes with echocli."""

    name: str
    """Such as ``score-1``: of documents whose ``schema`` is ``echocli.score/1``."""
    schema: dict[str, Any]


def schema_names() -> list[str]:
    """Return the names of all schemas."""
    folder = resources.files("echocli").joinpath("schemas")
    files = (item.name for item in folder.iterdir())
    return sorted(name.removesuffix(ENDING) for name in files if name.endswith(ENDING))


def schema(name: str) -> SchemaResult:
    """Read a schema.

    Args:
        name: Such as ``score-1``, or as a document says it: ``echocli.score/1``.

    Raises:
        UsageError: If there is none of that name; the nearest is named.
    """
    plain = name.removeprefix("echocli.").replace("/", "-")
    names = schema_names()
    if plain not in names:
        near = get_close_matches(plain, names, 1, 0.4)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"There is no schema {name}.", f"{hint}`echocli schema` lists all of them."
        )
    file = resources.files("echocli").joinpath("schemas", f"{plain}{ENDING}")
    return SchemaResult(plain, json.loads(file.read_text(encoding="utf-8")))
