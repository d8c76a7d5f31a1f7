"""What the user named, as a list of tasks in a fixed order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from echocli.api._preprocess_clip import Task
from echocli.datasets import base
from echocli.datasets.base import DatasetItem
from echocli.errors import EchoError
from echocli.intake.sources import find_sources
from echocli.privacy.pseudonyms import is_inside


def find_tasks(sources: Sequence[Path], *, apart_from: Path) -> list[Task]:
    """Return one task for each loop that the sources may hold.

    Args:
        sources: Files, folders, and roots of known data sets.
        apart_from: A folder whose files are no sources: the output.

    Raises:
        EchoError: If there is nothing.
    """
    roots = [source for source in sources if base.recognise(source)]
    plain = [source for source in sources if source not in roots]
    found: list[tuple[Path, DatasetItem | None]] = []
    if plain or not roots:
        files = find_sources(plain)
        found += [(path, None) for path in files if not is_inside(path, apart_from)]
    found += [(item.path, item) for root in roots for item in base.loops(root)]
    if not found:
        raise EchoError(
            "There is no file in the sources.", "Name files or folders that hold some."
        )
    return [Task(number, path, item) for number, (path, item) in enumerate(found, start=1)]
