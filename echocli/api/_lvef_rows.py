"""Rows of the ejection fraction task: which clips are labelled, what their prediction says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.api._heads import roles_by_head
from echocli.api._lvef_figures import check_ef
from echocli.clips.store import ClipSet
from echocli.errors import EchoError
from echocli.statistics.conformal import interval_half_width

LABEL = "ef_percent"


def labelled_clips(clips: ClipSet, folder: Path) -> ClipSet:
    """Return the clips that have an ejection fraction.

    Raises:
        EchoError: If there are none, or one is impossible.
    """
    manifest = clips.manifest
    known = (
        manifest[LABEL].notna().to_numpy()
        if LABEL in manifest
        else np.zeros(len(manifest), bool)
    )
    if not known.any():
        raise EchoError(
            f"No clip in {folder} has the label {LABEL}.",
            "Give a table with a column ef_percent: `echocli preprocess SOURCES --labels "
            "labels.csv --overwrite`.",
        )
    chosen = clips.subset(np.flatnonzero(known))
    check_ef(chosen.manifest[LABEL].to_numpy(np.float64), chosen.manifest["clip_id"].to_numpy())
    return chosen


def prediction_interval(
    measured: NDArray[np.float64],
    predicted: NDArray[np.float64],
    out_of_fold: NDArray[np.float64],
    numbers: NDArray[np.int64],
    splits: NDArray[np.str_],
    level: float,
) -> dict[str, Any]:
    """Return the half width of the prediction interval and where it comes from.

    Too few validation patients allow no interval at this level; then the errors of those
    training patients join in whose clips were predicted without them. A ridge probe has all of
    them out of fold: their errors are slightly larger than those of the final probe, which has
    seen more patients. An attentive probe has those by whom its best moment was chosen: their
    errors are slightly smaller.

    Args:
        measured: Measured ejection fractions, in percent.
        predicted: Predicted ones; those of training clips do not matter.
        out_of_fold: What training clips were predicted without their patients, else NaN.
        numbers: Of the patients.
        splits: Of the clips.
        level: Coverage.
    """
    val, train = splits == "val", np.isfinite(out_of_fold)
    residuals, patients, source = measured[val] - predicted[val], numbers[val], "validation"
    needed = math.ceil(1 / (1 - level) - 1e-9) - 1
    if len(set(patients)) < needed:
        residuals = np.r_[residuals, measured[train] - out_of_fold[train]]
        patients = np.r_[patients, numbers[train]]
        source = "validation and out of fold"
    half = interval_half_width(residuals, level, patients)
    return {
        "level": level,
        "half_width": half if math.isfinite(half) else None,
        "from": source,
        "patients": len(set(patients)),
    }


def prediction_table(
    manifest: pd.DataFrame, predicted: NDArray[np.float64], head_config: dict[str, Any]
) -> pd.DataFrame:
    """Return the rows of ``lvef.csv``.

    Args:
        manifest: The clips.
        predicted: Their ejection fractions, in percent.
        head_config: Of the head that predicted them.
    """
    half = head_config["interval"]["half_width"]
    around = math.inf if half is None else half
    table = pd.DataFrame(
        {
            "clip_id": manifest["clip_id"],
            "patient_id": manifest["patient_id"],
            "ef_percent": predicted,
            "lower": (predicted - around).clip(0),
            "upper": (predicted + around).clip(None, 100),
        }
    )
    if LABEL in manifest and manifest[LABEL].notna().any():
        table["measured_ef_percent"] = manifest[LABEL]
    table["split"] = roles_by_head(manifest["patient_id"], head_config["patients"])
    return table
