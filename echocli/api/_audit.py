"""What a reviewer asks of any task: who is in more than one split, and what metadata tell."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.clips.store import ClipSet
from echocli.console import Reporter
from echocli.errors import UsageError
from echocli.statistics.leakage import audit, fingerprint
from echocli.statistics.subgroups import usual_columns


def leakage_of(
    clips: ClipSet, splits: NDArray[np.str_], reporter: Reporter, *, pixels: bool = True
) -> dict[str, Any]:
    """Return what the splits of a clip set share, and warn of it.

    Args:
        clips: The clips.
        splits: Split of each.
        reporter: Is warned of each finding.
        pixels: Read every clip to look for others that are almost the same.
    """
    prints = None
    if pixels:
        with reporter.progress("look for near duplicates", len(clips)) as done:
            found = []
            for row in range(len(clips)):
                found.append(fingerprint(clips.frames(row)))
                done(1)
        clips.forget()
        prints = np.stack(found)
    result = audit(clips.manifest, splits, prints)
    for finding in result["findings"]:
        reporter.warn(finding)
    return result


def columns_to_divide_by(table: pd.DataFrame, asked: Sequence[str] | None) -> list[str]:
    """Return the columns whose parts are shown one by one: those asked for, else the usual.

    Args:
        table: Rows with label columns.
        asked: Names; ``None`` for the usual ones that are there.

    Raises:
        UsageError: If there is no such column.
    """
    if asked is None:
        return usual_columns(table)
    for name in asked:
        if name not in table:
            near = get_close_matches(name, [str(column) for column in table.columns], 1)
            hint = f"Did you mean {near[0]}?" if near else "Leave --by out for the usual ones."
            raise UsageError(f"There is no column {name} to divide by.", hint)
    return list(asked)
