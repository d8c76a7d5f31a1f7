"""The ejection fraction from masks beside the measured one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from echocli.api._lvef.figures import figures
from echocli.clips.store import ClipSet


def ef_from_masks(
    volumes: pd.DataFrame, head_config: dict[str, Any], draws: int
) -> dict[str, Any] | None:
    """Return how well the ejection fraction from masks agrees with the measured one.

    Args:
        volumes: Rows of ``volumes.csv``; those of patients that the head never saw count.
        head_config: Of the head.
        draws: Bootstrap samples.

    Returns:
        The figures of ``lvef``, ``None`` if nothing was measured.
    """
    mean = head_config["mean_ef_percent"]
    if mean is None or "measured_ef_percent" not in volumes:
        return None
    columns = ["ef_percent", "measured_ef_percent"]
    known = volumes[volumes["split"] == "test"].dropna(subset=columns)
    if known.empty:
        return None
    predicted, measured = (known[name].to_numpy(np.float64) for name in columns)
    return figures(
        measured,
        predicted,
        known["patient_id"].to_numpy(dtype=np.str_),
        mean_ef_percent=mean,
        half_width=math.inf,
        seed=head_config["seed"],
        draws=draws,
    )


def mean_ef(clips: ClipSet, rows: Sequence[int]) -> float | None:
    """Return the mean ejection fraction of some clips: the baseline of the one from masks."""
    if "ef_percent" not in clips.manifest:
        return None
    known = clips.manifest["ef_percent"].iloc[list(rows)].dropna()
    return float(known.mean()) if len(known) else None
