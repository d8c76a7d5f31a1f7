"""What the user named: paths typed, or a list of them on standard input."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from echocli.errors import UsageError

STANDARD = Path("-")
"""Standard input or output, where a path is asked for."""


def expand(named: Sequence[Path], *, null: bool) -> list[Path]:
    """Return the paths, with ``-`` replaced by those listed on standard input.

    Args:
        named: What was typed.
        null: Listed paths end with NUL, as ``find -print0`` writes them, not with a newline.

    Raises:
        UsageError: If nothing is listed that could end so.
    """
    if null and STANDARD not in named:
        raise UsageError(
            "--null is for a list on standard input.", "Name it with -, or leave --null out."
        )
    paths: list[Path] = []
    for path in named:
        paths += _listed(null) if path == STANDARD else [path]
    return paths


def _listed(null: bool) -> list[Path]:
    # Names are bytes: one that is no UTF-8 must reach the file system unchanged.
    text = sys.stdin.buffer.read().decode(sys.getfilesystemencoding(), "surrogateescape")
    names = text.split("\0") if null else text.replace(os.linesep, "\n").split("\n")
    return [Path(name) for name in names if name]
