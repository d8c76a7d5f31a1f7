"""What a clip set depends on beside its sources: written once, and compared ever after."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import echocli
from echocli.clips.progress import FILES_LOCK, STATE_FOLDER
from echocli.errors import EchoError, UsageError
from echocli.files import DAMAGED, read_json, write_json
from echocli.locks import locked

SCHEMA = "echocli.settings/1"
SETTINGS_FILE = "settings.json"


def keep_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings of a new set, or refuse to go on with an old one under others.

    Args:
        folder: The clip set.
        settings: What the user wants, by the names of the options.

    Raises:
        UsageError: With each difference.
    """
    file = folder / SETTINGS_FILE
    with locked(folder / STATE_FOLDER / FILES_LOCK, wait=True):
        if not file.exists():
            _refuse_older(folder)
            content = {"schema": SCHEMA, "echocli": echocli.__version__, "settings": settings}
            write_json(file, content)
            return
    differences = _differences(_read(file), settings)
    if differences:
        raise UsageError(
            f"{folder} was made with other settings: {', '.join(differences)}.",
            "Give the same ones again, add --overwrite to make it anew, or choose another "
            "place with -o.",
        )


def _read(file: Path) -> dict[str, Any]:
    try:
        content = read_json(file)
        if content["schema"] == SCHEMA:
            return dict(content["settings"])
    except DAMAGED:
        pass  # told below, with what mends it
    raise EchoError(
        f"{file} cannot be read.",
        "Copy the clip set again, or add --overwrite to make it anew.",
    )


def _refuse_older(folder: Path) -> None:
    if any((folder / "manifest").glob("part-*.parquet")):
        raise UsageError(
            f"{folder} was made by an older version, which did not note how.",
            "It can be read as it is. To add to it, make it anew with --overwrite.",
        )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return each setting that differs, with its old and its new value."""
    names = [name for name in now if before.get(name) != now[name]]
    return [f"{name} was {_word(before.get(name))}, now {_word(now[name])}" for name in names]


def _word(value: object) -> str:
    return "none" if value in (None, [], "") else json.dumps(value)
