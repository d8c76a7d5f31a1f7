"""Figures with their intervals, as a reader wants to see them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

NAMES = {
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "r2": "R2",
    "pearson": "Pearson's r",
    "icc": "intraclass correlation ICC(A,1)",
    "calibration_slope": "calibration slope",
    "calibration_intercept": "calibration intercept",
    "kappa": "Cohen's kappa",
    "kappa_linear": "weighted kappa, linear",
    "kappa_quadratic": "weighted kappa, quadratic",
    "bias": "bias (predicted - measured)",
    "limit_low": "lower limit of agreement",
    "limit_high": "upper limit of agreement",
    "auroc": "AUROC",
    "auprc": "average precision",
    "average_precision": "average precision",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ece": "expected calibration error",
    "brier": "Brier score (over classes, 0 to 2)",
    "false_positive_rate": "false-positive rate",
    "lv_cavity": "left-ventricular cavity",
    "lv_myocardium": "left-ventricular myocardium",
    "lv_epicardium": "left ventricle with its wall",
    "left_atrium": "left atrium",
    "frame_rate_hz": "frames a second",
    "frame_rate": "frames a second",
    "frames": "frames a clip",
    "row_mm": "mm a pixel",
    "age_years": "age, years",
    "ef_percent": "EF, %",
    "low_ef": "low EF",
    "m_mode": "M-mode",
    "colour_doppler": "colour Doppler",
    "spectral_doppler": "spectral Doppler",
    "tissue_doppler": "tissue Doppler",
}
INTERVALS = (
    "In brackets: 95 % intervals from a bootstrap that draws patients ({draws} draws, seed "
    "{seed}); a figure that is the same in every draw has none."
)
FEW_PATIENTS = 30
FEW = (
    "So few test patients make an exercise: one patient more or less changes every figure, and "
    "intervals from a bootstrap are then too narrow."
)


def plain(name: str) -> str:
    """Return a name in words."""
    return NAMES.get(name, name.replace("_", " "))


def number(value: Any, decimals: int | None = None) -> str:  # noqa: ANN401
    """Return a number in few digits; a dash if it is none.

    Args:
        value: The number.
        decimals: Digits after the point; chosen by the size of the number if left out.
    """
    if value is None or isinstance(value, str) or not math.isfinite(value):
        return "-"
    if decimals is None:
        whole = float(value).is_integer()
        decimals = 0 if whole else _decimals(abs(value))
    return f"{value:.{decimals}f}"


def _decimals(size: float) -> int:
    return next((n for limit, n in ((1, 3), (10, 2), (100, 1)) if size <= limit), 0)


def duration(seconds: float) -> str:
    """Return a time in seconds, minutes or hours, whichever reads best."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def is_interval(content: object) -> bool:
    """Return whether this is a figure with its interval."""
    return isinstance(content, Mapping) and {"value", "low", "high"} <= set(content)


def interval(content: Mapping[str, Any] | None) -> str:
    """Return a figure with its interval in brackets, all to the same decimals.

    Three right calls of three are 1.000 in every draw: certainty that nobody has.
    """
    if not content or content.get("value") is None:
        return "-"
    ends = [content.get("low"), content.get("high")]
    largest = max(abs(n) for n in (content["value"], *ends) if n is not None)
    decimals = _decimals(largest)
    value = number(content["value"], decimals)
    if None in ends or ends[0] == ends[1]:
        return f"{value} (no interval)"
    low, high = (number(end, decimals) for end in ends)
    return f"{value} ({low} to {high})"


def interval_rows(content: object, path: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Return every figure with an interval anywhere inside, with the way to it as its name."""
    if not isinstance(content, Mapping):
        return []
    if is_interval(content):
        return [(", ".join(plain(step) for step in path), interval(content))]
    return [row for key, inner in content.items() for row in interval_rows(inner, (*path, key))]


def interval_note(summary: Mapping[str, object]) -> str:
    """Say how intervals were made, and what they are worth with so few patients."""
    made, patients = part(summary, "intervals"), part(summary, "test").get("patients") or 0
    note = INTERVALS.format(draws=made.get("draws", "?"), seed=made.get("seed", "?"))
    return f"{note} {FEW}" if patients < FEW_PATIENTS else note


def part(summary: Mapping[str, object], name: str) -> dict[str, Any]:
    """Return an inner table of a summary, empty if it is not there."""
    found = summary.get(name)
    return found if isinstance(found, dict) else {}
