"""Files that are read for one result alone: no clip set holds its rows, and it says so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from echocli.clips.store import ClipSet
from echocli.errors import UsageError
from echocli.tables import IN_PLACE


def read_in_place(clips: ClipSet, source: Path | Sequence[Path]) -> bool:
    """Return whether files were read, and no clip set.

    Args:
        clips: What ``open_clips`` gave.
        source: What it was asked for.
    """
    return clips.folder not in ([source] if isinstance(source, Path) else source)


def told_in_place(in_place: bool) -> dict[str, bool]:
    """Return what a result of files says of itself; nothing if it is of a clip set."""
    return {IN_PLACE: True} if in_place else {}


def refuse_labels(labels: Path | None) -> None:
    """Refuse a table of labels for a clip set, which would not read it.

    Args:
        labels: What was given.

    Raises:
        UsageError: If anything was.
    """
    if labels is not None:
        raise UsageError(
            "--labels is for files that are no clip set: a clip set has labels of its own.",
            "Leave it out, or make the clips anew: `echocli preprocess SOURCES --labels "
            "labels.csv --overwrite`.",
        )
