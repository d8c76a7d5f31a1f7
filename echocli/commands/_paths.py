"""What the user named: paths typed, or a list of them on standard input."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from echocli.errors import UsageError
from echocli.study import HEAD, WEIGHTS

STANDARD = Path("-")
"""Standard input or output, where a path is asked for."""


def expand(named: Sequence[Path], *, null: bool) -> list[Path]:
    """Return the paths, with ``-`` replaced by those listed on standard input.

    Args:
        named: What was typed.
        null: Listed paths end with NUL, as ``find -print0`` writes them, not with a newline.

    Raises:
        UsageError: If nothing is listed that could end so, or a result of ours is named where
            recordings are read.
    """
    if null and STANDARD not in named:
        raise UsageError(
            "--null is for a list on standard input.", "Name it with -, or leave --null out."
        )
    paths: list[Path] = []
    for path in named:
        paths += _listed(null) if path == STANDARD else [path]
    refuse_results(paths)
    return paths


def refuse_results(paths: Sequence[Path]) -> None:
    """Refuse what we wrote ourselves where clips or recordings are read.

    Args:
        paths: What shall be read.

    Raises:
        UsageError: If one is a head, a run or model, or a table of embeddings.
    """
    for number, path in enumerate(paths, start=1):
        if (path / HEAD).is_file():
            kind = "a head"
        elif (path / WEIGHTS).is_file() or _is_run(path):
            kind = "a run or a model"
        elif path.suffix == ".parquet" and path.is_file():
            kind = "a table of embeddings"
        else:
            continue
        raise UsageError(
            f"Path {number} of {len(paths)} is {kind}; clips or recordings are read here.",
            "Name a clip set, files or folders. Heads are named with --head, models with "
            "--model, and embeddings are read by `echocli score`.",
        )


def _is_run(path: Path) -> bool:
    has = ((path / "model" / WEIGHTS).is_file(), (path / "checkpoints").is_dir())
    return (path / "config.json").is_file() and any(has)


def _listed(null: bool) -> list[Path]:
    # Names are bytes: one that is no UTF-8 must reach the file system unchanged.
    text = sys.stdin.buffer.read().decode(sys.getfilesystemencoding(), "surrogateescape")
    names = text.split("\0") if null else text.replace(os.linesep, "\n").split("\n")
    return [Path(name) for name in names if name]
