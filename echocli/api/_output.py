"""Results that are either whole or absent: folders, and tables with their figures."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from echocli.errors import UsageError
from echocli.files import (
    DAMAGED,
    atomic_path,
    check_place,
    claimed,
    read_json,
    sha256_of,
    take_place,
    temporary_beside,
    write_json,
)
from echocli.study import HEAD, SUMS, WEIGHTS

MARKS = (SUMS, WEIGHTS, HEAD, "segment.json", "volumes.csv", "robustness.json")
"""One of these stands in each folder that ``whole_folder`` ever made, even in a damaged one."""


@contextmanager
def whole_folder(folder: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of ``folder`` when the block succeeds.

    What stood there before stays until then.

    Args:
        folder: Where the whole result shall stand.
        overwrite: Replace what is there.

    Raises:
        UsageError: As ``refuse_to_replace_folder``.
    """
    refuse_to_replace_folder(folder, overwrite=overwrite)
    with folder_beside(folder) as temporary:
        yield temporary
        # Somebody else may have been faster.
        refuse_to_replace_folder(folder, overwrite=overwrite)
        take_place(temporary, folder)


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """Yield a hidden folder beside a path that is gone after the block.

    Whoever writes to the path next removes it if this process is killed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    temporary.mkdir()
    try:
        with claimed(temporary):
            yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_to_replace(path: Path, *, overwrite: bool) -> None:
    """Check, before long work, that an output may be written.

    Raises:
        UsageError: If something is there and ``overwrite`` is off, or the system refuses.
    """
    check_place(path)
    taken = path.is_file() or (path.is_dir() and any(path.iterdir()))
    if taken and not overwrite:
        raise UsageError(
            f"{path} already exists.",
            "Choose another place with -o, or add --overwrite to replace it.",
        )


def refuse_to_replace_folder(folder: Path, *, overwrite: bool) -> None:
    """Check, before long work, that a folder of results may be written.

    What stands there goes as a whole. A slip of the finger, such as ``heads`` for
    ``heads/lvef``, must not take with it what echocli did not write there.

    Raises:
        UsageError: If something is there and ``overwrite`` is off, if it is no such folder, or
            if the system refuses.
    """
    check_place(folder)
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if folder.is_file() or (names and not set(MARKS).intersection(names)):
        raise UsageError(
            f"{folder} already exists, is no result of this kind and is not replaced.",
            "Choose another place with -o.",
        )
    refuse_to_replace(folder, overwrite=overwrite)


def refuse_to_replace_table(out: Path | None, *, overwrite: bool) -> None:
    """Check, before long work, that a table and the figures beside it may be written.

    Args:
        out: The table; nothing is checked if there is to be none.
        overwrite: Replace what is there.

    Raises:
        UsageError: If something is there and ``overwrite`` is off, or the system refuses.
    """
    if out is None:
        return
    refuse_to_replace(out, overwrite=overwrite)
    # Figures without their table are what a crash leaves, if they are of this very table.
    if _promised(out) is None:
        refuse_to_replace(out.with_suffix(".json"), overwrite=overwrite)


def write_table(
    out: Path, table: pd.DataFrame, summary: Mapping[str, Any], *, overwrite: bool
) -> None:
    """Write a table as CSV and its figures beside it as JSON, each whole or not at all.

    The figures come first and hold the hash of the table: a table that stands there is whole,
    and one that is missing is missed.

    Args:
        out: The table; the figures have its name and end in ``.json``.
        table: The rows.
        summary: The figures, with a schema.
        overwrite: Replace what is there.

    Raises:
        UsageError: If somebody else has written there meanwhile, or figures of another table
            stand there, and ``overwrite`` is off.
    """
    with atomic_path(out) as temporary:
        table.to_csv(temporary, index=False)
        digest = sha256_of(temporary)
        refuse_to_replace(out, overwrite=overwrite)
        if _promised(out) != digest:
            refuse_to_replace(out.with_suffix(".json"), overwrite=overwrite)
        write_json(out.with_suffix(".json"), {**summary, "sha256": {out.name: digest}})


def _promised(out: Path) -> str | None:
    """Return the hash of a table that the figures beside it tell; ``None`` if they do not."""
    try:
        return str(read_json(out.with_suffix(".json"))["sha256"][out.name])
    except (OSError, *DAMAGED):
        return None
