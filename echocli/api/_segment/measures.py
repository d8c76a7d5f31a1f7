"""Areas and volumes of segmented clips."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from echocli.clips.record import STRUCTURES
from echocli.statistics.volumes import (
    CAVITY,
    CUBIC_MM_A_ML,
    LongAxis,
    cavity_volume_mm3,
    ejection_fraction_percent,
    end_frames,
    foreshortened,
    smooth_curve,
)

AREA_COLUMNS = ["clip_id", "frame", "time_s", "structure", "pixels", "mm2"]
VOLUME_COLUMNS = [
    "clip_id",
    "patient_id",
    "ef_percent",
    "edv_ml",
    "esv_ml",
    "ed_frame",
    "es_frame",
    "length_mm",
    "flicker",
    "flags",
]
CURVE_COLUMNS = ["clip_id", "frame", "time_s", "volume_ml", "smooth_ml", "share_of_largest"]
EDGE_SHARE = 0.05
"""Share of the cavity's outline that may lie on the sector's edge before it is cut off."""
PLAUSIBLE_EF = (5, 90)
"""Ejection fractions, in percent, beyond which a mask is wrong more often than a heart rare."""
LARGEST = 0.9
"""Share of the largest volume that a frame known as end-diastole must hold."""
APICAL = ("A2C", "A4C")
"""Views that show the whole long axis, and hence all the same length of it."""

Labels = NDArray[np.uint8]
Spacing = tuple[float, float] | None


def area_rows(
    clip_id: str,
    labels: Labels,
    times_s: NDArray[np.float64] | None,
    spacing_mm: Spacing,
    structures: Collection[int],
) -> list[dict[str, Any]]:
    """Return the size of some structures in every frame.

    Args:
        clip_id: Pseudonym of the clip.
        labels: ``(frames, height, width)``.
        times_s: Time of each frame, if known.
        spacing_mm: Height and width of a pixel, if known; else there are no square millimetres.
        structures: Values of those that are looked for.
    """
    rows = []
    for value in sorted(structures):
        for frame, pixels in enumerate((labels == value).sum(axis=(1, 2)).tolist()):
            rows.append(
                {
                    "clip_id": clip_id,
                    "frame": frame,
                    "time_s": None if times_s is None else float(times_s[frame]),
                    "structure": STRUCTURES[value],
                    "pixels": pixels,
                    "mm2": None if spacing_mm is None else pixels * float(np.prod(spacing_mm)),
                }
            )
    return sorted(rows, key=lambda row: row["frame"])


class VolumeCurve(NamedTuple):
    """Volume of the cavity in every frame."""

    volumes: NDArray[np.float64]
    """In cubic millimetres, or pixels; NaN where there is no cavity."""
    smooth: NDArray[np.float64]
    """The same without the flicker of single masks; see ``smooth_curve``."""
    axes: list[LongAxis | None]


def volume_curve(
    labels: Labels, times_s: NDArray[np.float64] | None, spacing_mm: Spacing
) -> VolumeCurve:
    """Return the volume of the cavity in every frame.

    Args:
        labels: ``(frames, height, width)``.
        times_s: Time of each frame, if known.
        spacing_mm: Height and width of a pixel; square pixels are assumed if it is unknown.
    """
    found = [cavity_volume_mm3(frame, spacing_mm or (1.0, 1.0)) for frame in labels]
    volumes = np.array([np.nan if one is None else one[0] for one in found])
    axes = [None if one is None else one[1] for one in found]
    return VolumeCurve(volumes, smooth_curve(volumes, times_s), axes)


def curve_rows(
    clip_id: str,
    curve: VolumeCurve,
    times_s: NDArray[np.float64] | None,
    spacing_mm: Spacing,
) -> Iterator[list[Any]]:
    """Yield the rows of ``curves.csv``; no millilitres without a scale.

    Args:
        clip_id: Pseudonym of the clip.
        curve: Volumes of its frames.
        times_s: Time of each frame, if known.
        spacing_mm: Height and width of a pixel, if known.
    """
    known = curve.smooth[np.isfinite(curve.smooth)]
    largest = known.max() if len(known) else np.nan
    for frame, (volume, smooth) in enumerate(zip(curve.volumes, curve.smooth, strict=True)):
        ml = [volume / CUBIC_MM_A_ML, smooth / CUBIC_MM_A_ML]
        numbers = [*(ml if spacing_mm is not None else [np.nan] * 2), smooth / largest]
        time = None if times_s is None else float(times_s[frame])
        shown = [float(number) if np.isfinite(number) else None for number in numbers]
        yield [clip_id, frame, time, *shown]


def flicker(areas: NDArray[np.integer]) -> float | None:
    """Return how unsteady a curve of areas is, one a frame.

    The mean absolute second difference over the range: a heart's beat bends slowly, masks that
    jump from frame to frame do not. ``None`` where the area never changes.
    """
    values = areas.astype(np.float64)
    reach = float(np.ptp(values))
    if len(values) < 3 or not reach:
        return None
    return float(np.abs(np.diff(values, n=2)).mean() / reach)


def volume_row(
    labels: Labels,
    sector: NDArray[np.bool_],
    curve: VolumeCurve,
    spacing_mm: Spacing,
    known_ed: int | None = None,
) -> dict[str, Any]:
    """Return ejection fraction, volumes, their frames and what to be wary of.

    Volumes are those of the smoothed curve, see ``smooth_curve``.

    Flags: ``single_plane`` always, for one view cannot see an oval cavity;
    ``uncalibrated`` (no millilitres), ``no_cavity``, ``cavity_missing_in_frames``,
    ``axis_from_shape`` (no atrium met the cavity), ``cavity_at_sector_edge`` (cut off, there
    or at the frame), ``end_systole_longer`` (the axis is longer when the heart is contracted:
    foreshortened), ``end_diastole_not_largest`` (the frame known as end-diastole is not),
    ``ef_implausible`` (below 5 or above 90 percent). What other views tell is added by
    ``flag_foreshortened``.

    Args:
        labels: ``(frames, height, width)``.
        sector: Where the scan is.
        curve: Volumes of the frames.
        spacing_mm: Height and width of a pixel, if known.
        known_ed: Frame that a reader called end-diastole, if any.
    """
    flags = ["single_plane"] + (["uncalibrated"] if spacing_mm is None else [])
    volumes, smooth, axes_found = curve
    row: dict[str, Any] = dict.fromkeys(VOLUME_COLUMNS[2:-1])
    row["flicker"] = flicker((labels == CAVITY).sum(axis=(1, 2)))
    if not np.isfinite(volumes).any():
        return {**row, "flags": ";".join([*flags, "no_cavity"])}
    end_diastole, end_systole = end_frames(smooth)
    edv, esv = float(smooth[end_diastole]), float(smooth[end_systole])
    row |= {
        "ef_percent": ejection_fraction_percent(edv, esv),
        "ed_frame": end_diastole,
        "es_frame": end_systole,
    }
    if spacing_mm is not None:
        row |= {"edv_ml": edv / CUBIC_MM_A_ML, "esv_ml": esv / CUBIC_MM_A_ML}
    if np.isnan(volumes).any():
        flags.append("cavity_missing_in_frames")
    if not PLAUSIBLE_EF[0] <= row["ef_percent"] <= PLAUSIBLE_EF[1]:
        flags.append("ef_implausible")
    if known_ed is not None and (smooth[known_ed : known_ed + 1] < LARGEST * edv).any():
        flags.append("end_diastole_not_largest")
    ends = (axes_found[end_diastole], axes_found[end_systole])
    axes = [axis for axis in ends if axis is not None]
    if spacing_mm is not None:
        row["length_mm"] = axes[0].length_mm
    flags += _axis_flags(axes) + _edge_flags(labels[end_diastole], sector)
    return {**row, "flags": ";".join(flags)}


def flag_foreshortened(table: pd.DataFrame, studies: list[str], views: list[Any]) -> None:
    """Add ``shorter_than_other_view`` to apical clips that show too little of the long axis.

    Args:
        table: Rows of volumes; their flags are changed.
        studies: Study of each.
        views: View of each, if it is known.
    """
    lengths = table["length_mm"].astype(float).where(np.isin(views, APICAL))
    short = lengths.groupby(np.array(studies)).transform(
        lambda of: foreshortened(of.to_numpy())
    )
    rows = short.to_numpy(dtype=np.bool_)
    table.loc[rows, "flags"] = table.loc[rows, "flags"] + ";shorter_than_other_view"


def _axis_flags(axes: list[LongAxis]) -> list[str]:
    flags = [] if all(axis.from_atrium for axis in axes) else ["axis_from_shape"]
    if axes[-1].length_mm > axes[0].length_mm:
        flags.append("end_systole_longer")
    return flags


def _edge_flags(labels: Labels, sector: NDArray[np.bool_]) -> list[str]:
    inner = ndimage.binary_erosion(sector, border_value=0)
    cavity = labels == CAVITY
    outline = cavity & ~ndimage.binary_erosion(cavity)
    touching = int((outline & ~inner).sum())
    return ["cavity_at_sector_edge"] if touching > EDGE_SHARE * outline.sum() else []
