"""How predicted masks agree with known ones: by structure, view, phase and any column.

Every figure is a mean over labelled frames, with an interval by bootstrap over patients.
Distances are in millimetres, so frames of unknown scale have none: they are left out of those
means and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.clips.store import ClipSet
from echocli.statistics.bootstrap import DRAWS, LEVEL, bootstrap_intervals, weighted_mean
from echocli.statistics.overlap import REGIONS, overlap, overlaps, region_masks
from echocli.statistics.subgroups import parts_of
from echocli.statistics.surface import Spacing, distances

FAILED = 0.7
"""Dice below which a structure of a frame counts as failed."""
IN_PIXELS = ("dice", "jaccard", "precision", "recall", "failure_rate")
IN_MM = ("hd95_mm", "hausdorff_mm", "assd_mm")
PHASES = {"ed_frame": "ED", "es_frame": "ES"}
"""Columns that name a frame, and its phase of the heart."""
BETWEEN = "between"
"""Phase of frames that are neither, where both are known."""
ALWAYS = ("view", "phase", "view_phase")
"""Columns by which figures are always divided, where they are known."""

NO_FIGURES: dict[str, Any] = {"test": {"frames": 0, "patients": 0}, "metrics": None}
"""What stands in the place of ``figures`` where no test patient has masks."""

Figures = dict[str, dict[str, dict[str, float | None]]]
"""Figure, region, and there value, low and high."""
Labels = NDArray[np.uint8]
Flags = NDArray[np.bool_]


class Tested(NamedTuple):
    """A labelled frame and how well it was predicted."""

    row: int
    """Its clip, in the manifest."""
    frame: int
    regions: dict[str, dict[str, float]]
    """Figures of every region; NaN where there is none."""
    mean_map: dict[str, float]
    """Dice that the mean of the training masks reaches: a head that has not learnt where this
    heart lies is no better."""


def measure(
    row: int,
    frame: int,
    predicted: Labels,
    truth: Labels,
    baseline: Labels,
    spacing_mm: Spacing | None,
) -> Tested:
    """Measure a labelled frame.

    Args:
        row: Its clip, in the manifest.
        frame: Which of the clip's.
        predicted: Label map.
        truth: Label map.
        baseline: What the mean of the training masks says.
        spacing_mm: Height and width of a pixel, if known.
    """
    regions = {
        name: _measures(ours, theirs, spacing_mm)
        for name, ours, theirs in region_masks(predicted, truth)
    }
    means = overlaps(baseline, truth)
    return Tested(row, frame, regions, {name: one.dice for name, one in means.items()})


def figures(
    clips: ClipSet,
    frames: Sequence[Tested],
    columns: Sequence[str] = (),
    *,
    seed: int,
    draws: int = DRAWS,
) -> dict[str, Any]:
    """Return the figures of labelled frames, of all and of parts.

    Args:
        clips: The clips that they are of.
        frames: What was measured.
        columns: Of the manifest, by which to divide beside view and phase.
        seed: Start of the bootstrap's random numbers.
        draws: Bootstrap samples.
    """
    if not frames:
        return NO_FIGURES
    table, how = _table(clips, frames), {"seed": seed, "draws": draws}
    everyone = np.ones(len(frames), dtype=np.bool_)
    patients = table["patient_id"].to_numpy(dtype=np.str_)
    means = {
        region: _mean(np.array([one.mean_map[region] for one in frames]), patients, **how)
        for region in REGIONS
    }
    scaled = np.array([clips.spacing_mm(one.row) is not None for one in frames])
    divide_by = [name for name in ALWAYS if table[name].notna().any()]
    return {
        "test": {"frames": len(frames), "patients": len(set(patients.tolist()))},
        "calibrated": {
            "frames": int(scaled.sum()),
            "patients": len(set(patients[scaled].tolist())),
            "left_out_of_mm": int((~scaled).sum()),
        },
        "metrics": _metrics(frames, patients, everyone, **how),
        "mean_map": {"dice": means},
        "failure_below_dice": FAILED,
        "subgroups": {
            column: [
                {
                    "name": part.name,
                    "frames": part.clips,
                    "clips": int(table["clip_id"][part.rows].nunique()),
                    "patients": part.patients,
                    "small": part.small,
                    "metrics": _metrics(frames, patients, part.rows, **how),
                }
                for part in parts_of(table, column)
            ]
            for column in dict.fromkeys([*divide_by, *columns])
        },
        "intervals": {"level": LEVEL, **how},
    }


def flicker_figure(volumes: pd.DataFrame, *, seed: int, draws: int) -> dict[str, float | None]:
    """Return the mean over clips of how unsteady the cavity's area is; see ``flicker``.

    Args:
        volumes: Rows of ``volumes.csv``.
        seed: Start of the bootstrap's random numbers.
        draws: Bootstrap samples.
    """
    values = volumes["flicker"].to_numpy(dtype=np.float64)
    patients = volumes["patient_id"].to_numpy(dtype=np.str_)
    return _mean(values, patients, seed=seed, draws=draws)


def _measures(predicted: Flags, truth: Flags, spacing_mm: Spacing | None) -> dict[str, float]:
    found = overlap(predicted, truth)
    failed = float(found.dice < FAILED) if np.isfinite(found.dice) else np.nan
    far = (np.nan,) * 3 if spacing_mm is None else distances(predicted, truth, spacing_mm)
    return {
        **dict(zip(IN_PIXELS, (*found, failed), strict=True)),
        **dict(zip(IN_MM, far, strict=True)),
    }


def _table(clips: ClipSet, frames: Sequence[Tested]) -> pd.DataFrame:
    """Return a row of the manifest for each frame, with its phase."""
    table = clips.manifest.iloc[[one.row for one in frames]].reset_index(drop=True)
    numbers = pd.Series([one.frame for one in frames])
    phase = pd.Series(None, index=table.index, dtype=object)
    if set(PHASES) <= set(table):
        phase[table[[*PHASES]].notna().all(axis=1)] = BETWEEN
    for column, name in PHASES.items():
        if column in table:
            phase[(table[column] == numbers).fillna(value=False)] = name
    view = table.get("view", pd.Series(None, index=table.index, dtype=object))
    words = view.astype("string") + " " + phase.astype("string")  # unknown if either is
    both = words if view.nunique() > 1 else None
    return table.assign(view=view, phase=phase, view_phase=both)


def _metrics(
    frames: Sequence[Tested], patients: NDArray[np.str_], rows: Flags, *, seed: int, draws: int
) -> Figures:
    chosen = [one for one, wanted in zip(frames, rows, strict=True) if wanted]
    return {
        name: {
            region: _mean(
                np.array([one.regions[region][name] for one in chosen]),
                patients[rows],
                seed=seed,
                draws=draws,
            )
            for region in REGIONS
        }
        for name in (*IN_PIXELS, *IN_MM)
    }


def _mean(
    values: NDArray[np.float64], patients: NDArray[np.str_], *, seed: int, draws: int
) -> dict[str, float | None]:
    """Return the mean over the frames that define a value."""
    known = np.isfinite(values)
    if not known.any():
        return {"value": None, "low": None, "high": None}
    found = bootstrap_intervals(
        {"mean": lambda w: weighted_mean(values[known], w)},
        patients[known],
        seed=seed,
        draws=draws,
    )
    return found["mean"].as_json()
