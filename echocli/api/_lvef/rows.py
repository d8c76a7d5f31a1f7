"""Rows of the ejection fraction task: which clips are labelled, what their prediction says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.api._lvef.figures import Floats, check_ef
from echocli.api._units import Units
from echocli.clips.store import ClipSet
from echocli.console import Reporter
from echocli.errors import EchoError
from echocli.statistics.conformal import interval_half_width

LABEL = "ef_percent"
SAME = 0.01
"""Points by which clips of one study may differ in their label without a word."""


def known_ef(clips: ClipSet) -> NDArray[np.bool_]:
    """Return which clips have a measured ejection fraction.

    Raises:
        EchoError: If one is impossible.
    """
    manifest = clips.manifest
    if LABEL not in manifest:
        return np.zeros(len(manifest), dtype=np.bool_)
    known = manifest[LABEL].notna().to_numpy()
    check_ef(
        manifest.loc[known, LABEL].to_numpy(np.float64),
        manifest.loc[known, "clip_id"].to_numpy(),
    )
    return known


def labelled_clips(clips: ClipSet, folder: Path, *, studies: bool) -> ClipSet:
    """Return the clips that have an ejection fraction.

    Args:
        clips: All of them.
        folder: Where they are.
        studies: Whether a clip's label is that of its study.

    Raises:
        EchoError: If there are none, or one is impossible.
    """
    known = pd.Series(known_ef(clips))
    if not known.any():
        raise EchoError(
            f"No clip in {folder} has the label {LABEL}.",
            "Give a table with a column ef_percent: `echocli preprocess SOURCES --labels "
            "labels.csv --overwrite`.",
        )
    if studies:
        manifest = clips.manifest
        known = known.groupby([manifest["patient_id"], manifest["study_id"]]).transform("any")
    return clips.subset(np.flatnonzero(known))


def measured_of(clips: ClipSet, units: Units, reporter: Reporter) -> Floats:
    """Return the measured ejection fraction of each clip or study; NaN where it is unknown.

    Args:
        clips: The clips.
        units: What they are.
        reporter: Is told where clips of one study have several.
    """
    manifest = clips.manifest
    if LABEL not in manifest:
        return np.full(len(units), np.nan)
    of_clips = manifest[LABEL].to_numpy(np.float64)
    found = units.mean_of(of_clips)
    apart = units.mean_of(np.abs(of_clips - units.back_to_clips(found, len(clips))))
    if (apart > SAME).any():
        reporter.say(
            f"clips of {int((apart > SAME).sum())} study(ies) differ in {LABEL}; their mean is "
            "what counts"
        )
    return found


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
    units: Units,
    predicted: Floats,
    measured: Floats,
    roles: NDArray[np.str_],
    head_config: dict[str, Any],
) -> pd.DataFrame:
    """Return the rows of ``lvef.csv``.

    Args:
        units: The clips, or studies.
        predicted: Their ejection fractions, in percent.
        measured: What was measured; NaN where it is unknown.
        roles: What each one's patient was to the head.
        head_config: Of the head that predicted them.
    """
    half = head_config["interval"]["half_width"]
    around = math.inf if half is None else half
    table = units.ids.assign(
        ef_percent=predicted,
        lower=(predicted - around).clip(0),
        upper=(predicted + around).clip(None, 100),
    )
    if np.isfinite(measured).any():
        table["measured_ef_percent"] = measured
    table["split"] = roles
    return table
