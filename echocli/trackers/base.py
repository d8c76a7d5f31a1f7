"""What every tracker is; a file in this folder is one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from echocli.errors import MachineError, UsageError


class Tracker(Protocol):
    """Where the figures of a run go, on this machine: nothing is ever sent anywhere."""

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Take the figures of a step; they may wait in memory until ``flush``."""

    def flush(self) -> None:
        """Write what was taken, so that others see it."""

    def close(self) -> None:
        """Write everything and let go."""


@runtime_checkable
class TrackerModule(Protocol):
    """What a file in this folder offers."""

    NEEDS: tuple[str, ...]
    """Packages that must be there to be imported."""
    INSTALL: str
    """The command that installs them."""

    def open_tracker(
        self, folder: Path, name: str, settings: Mapping[str, Any], start: int
    ) -> Tracker:
        """Begin, or go on.

        Args:
            folder: Of the run; the tracker writes inside, in a folder or file of its own name.
            name: Of the run.
            settings: Of the run, plain values in sections.
            start: The first step that is to come; figures of this and later ones that were
                logged before are forgotten, or stand beside the new ones.
        """


def available() -> list[str]:
    """Return the names of the trackers: the files in this folder."""
    package = importlib.import_module(__package__)
    names = (found.name for found in pkgutil.iter_modules(package.__path__))
    return sorted(name for name in names if name != "base" and not name.startswith("_"))


def load(name: str) -> TrackerModule:
    """Return a tracker's module.

    Raises:
        UsageError: If there is no such tracker.
        MachineError: If a package that it needs is not installed.
    """
    if name not in available():
        raise UsageError(
            f"There is no tracker {name}.",
            f"Trackers are {', '.join(available())}: --set 'watch.trackers=[...]'.",
        )
    module = cast(TrackerModule, importlib.import_module(f"{__package__}.{name}"))
    missing = [package for package in module.NEEDS if find_spec(package) is None]
    if missing:
        raise MachineError(
            f"The tracker {name} needs {' and '.join(missing)}, which this Python lacks.",
            f"Install it with `{module.INSTALL}`, or leave the tracker out of watch.trackers.",
        )
    return module
