"""What an export writes down about itself, so that it can go on and be checked."""

from __future__ import annotations

from typing import Any

from echocli.api._export.sheet import PER_PAGE, page_name

SCHEMA = "echocli.export/1"
RECORD = "export.json"


def exported_names(record: dict[str, Any]) -> list[str]:
    """Return the names of the files that an export of this record holds."""
    settings, clips = record["settings"], record["clips"]
    if settings["sheet"]:
        return [page_name(number) for number in range(-(-len(clips) // PER_PAGE))]
    return [f"{name}.{settings['form']}" for name in clips]
