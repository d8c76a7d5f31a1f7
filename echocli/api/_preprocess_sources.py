"""What the user named, as a list of tasks in a fixed order."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import echocli.datasets
from echocli.api._preprocess_clip import Item, Task
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
    modules = list(dataset_modules())
    plain: list[Path] = []
    items: list[Item] = []
    for source in sources:
        module = next((m for m in modules if source.is_dir() and m.recognise(source)), None)
        if module:
            items.extend(module.loops(source))
        else:
            plain.append(source)
    files = [path for path in _files(plain) if not is_inside(path, apart_from)]
    found: list[tuple[Path, Item | None]] = [(path, None) for path in files]
    found += [(item.path, item) for item in items]
    if not found:
        raise EchoError(
            "There is no file in the sources.", "Name files or folders that hold some."
        )
    return [Task(number, path, item) for number, (path, item) in enumerate(found, start=1)]


def dataset_modules() -> Iterator[ModuleType]:
    """Yield the data sets that can be found by looking at a folder."""
    for entry in pkgutil.iter_modules(echocli.datasets.__path__):
        module = importlib.import_module(f"echocli.datasets.{entry.name}")
        if hasattr(module, "recognise") and hasattr(module, "loops"):
            yield module


def _files(sources: Iterable[Path]) -> list[Path]:
    sources = list(sources)
    return list(find_sources(sources)) if sources else []
