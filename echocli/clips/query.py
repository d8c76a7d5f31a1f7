"""Choosing clips by what the manifest says of them: ``--where``."""

from __future__ import annotations

import tokenize
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.errors import UsageError

EXAMPLE = "Write it like: normal and view == 'A4C' and ef_percent > 50"
NOT_UNDERSTOOD = (
    *(SyntaxError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError),
    *(RuntimeError, tokenize.TokenError),
)
"""What pandas raises of a query that it cannot read or compute: something else of each part of
Python's grammar."""


def rows_where(manifest: pd.DataFrame, query: str) -> NDArray[np.intp]:
    """Return the rows for which a pandas query holds.

    The bare name of a column that says yes or no is one: ``normal`` holds where it says yes,
    ``not normal`` where it says no, and neither where it says nothing.

    Raises:
        UsageError: If the query cannot be understood, or names no column.
    """
    table = _answers(manifest)
    column = query.strip()
    if column in table and not pd.api.types.is_bool_dtype(table[column]):
        raise UsageError(
            f"--where {column}: the column {column} does not say yes or no.",
            EXAMPLE,
        )
    try:
        holds: Any = table.eval(query, engine="python")
    except pd.errors.UndefinedVariableError as error:
        name = str(error).split("'")[1]
        near = get_close_matches(name, manifest.columns, 1)
        hint = f"Did you mean {near[0]}?" if near else f"It has: {', '.join(manifest.columns)}."
        raise UsageError(f"The manifest has no column {name}.", hint) from None
    except NOT_UNDERSTOOD:
        raise UsageError(
            f"--where {query!r} is not a query that pandas understands.",
            EXAMPLE,
        ) from None
    if np.shape(holds) != (len(table),) or not pd.api.types.is_bool_dtype(holds):
        raise UsageError(
            f"--where {query!r} is no condition: it does not say yes or no of each clip.",
            EXAMPLE,
        )
    return np.flatnonzero(pd.Series(holds).fillna(value=False).to_numpy(np.bool_))


def _answers(manifest: pd.DataFrame) -> pd.DataFrame:
    """Let columns of yes, no and nothing be asked; pandas refuses them as they are read."""
    mixed = [name for name in manifest if manifest[name].dtype == object]
    answers = [n for n in mixed if pd.api.types.infer_dtype(manifest[n]) == "boolean"]
    return manifest.astype(dict.fromkeys(answers, "boolean"))
