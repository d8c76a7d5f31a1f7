"""What an ejection fraction says of treatment: limits, and the classes between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echocli.statistics.bootstrap import as_json, bootstrap_intervals
from echocli.statistics.classification import classification
from echocli.statistics.kappa import QUADRATIC, kappa
from echocli.statistics.multiclass import confusion

CUTS: dict[str, tuple[float, bool]] = {
    "below_35": (35, False),
    "at_most_40": (40, True),
    "below_50": (50, False),
}
"""Ejection fractions that change treatment (a defibrillator, heart failure with reduced, with
mildly reduced ejection fraction), and whether the limit itself counts."""
CLASSES = ("reduced, at most 40", "mildly reduced, below 50", "50 and more")
"""Of heart failure by its ejection fraction (Bozkurt et al. 2021, Eur J Heart Fail 23:352)."""

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def reduced(ef_percent: Floats, name: str) -> Flags:
    """Return which ejection fractions lie below one of ``CUTS``."""
    cut, included = CUTS[name]
    return np.asarray(ef_percent <= cut if included else ef_percent < cut)


def cut_figures(
    measured: Floats, predicted: Floats, patients: NDArray[np.str_], how: Mapping[str, int]
) -> dict[str, dict[str, Any]]:
    """Return how well being below each of ``CUTS`` is told, with patient-bootstrap intervals.

    Args:
        measured: Measured ejection fractions, in percent.
        predicted: Predicted ones: called are those that lie below the cut themselves.
        patients: Patient of each row.
        how: ``seed`` and ``draws``.

    Returns:
        ``auroc``, with its number of rows below the cut, where there are rows on both sides;
        ``cuts``: sensitivity and specificity, each with the rows and the patients that it is
        of.
    """
    aurocs: dict[str, Any] = {}
    cuts: dict[str, Any] = {}
    for name in CUTS:
        low = reduced(measured, name)
        found = as_json(
            classification(low, -predicted, reduced(predicted, name), patients, **how)
        )
        if 0 < low.sum() < len(low):
            aurocs[name] = {**found["auroc"], "positive": int(low.sum())}
        cuts[name] = {
            figure: {**found[figure], **_counts(rows, patients)}
            for figure, rows in (("sensitivity", low), ("specificity", ~low))
            if rows.any()
        }
    return {"auroc": aurocs, "cuts": cuts}


def class_agreement(
    measured: Floats, predicted: Floats, patients: NDArray[np.str_], how: Mapping[str, int]
) -> dict[str, Any]:
    """Return how well the classes of heart failure agree beyond chance, as JSON.

    Args:
        measured: Measured ejection fractions, in percent.
        predicted: Predicted ones.
        patients: Patient of each row.
        how: ``seed`` and ``draws``.
    """
    truth, called = _classes(measured), _classes(predicted)
    count = len(CLASSES)
    found = bootstrap_intervals(
        {
            "kappa": lambda w: kappa(truth, called, count, w),
            "kappa_quadratic": lambda w: kappa(truth, called, count, w, QUADRATIC),
        },
        patients,
        **how,
    )
    return {
        "classes": list(CLASSES),
        "confusion": confusion(truth, called, count),
        **as_json(found),
    }


def _classes(ef_percent: Floats) -> NDArray[np.int64]:
    low, middle = reduced(ef_percent, "at_most_40"), reduced(ef_percent, "below_50")
    return np.where(low, 0, np.where(middle, 1, 2))


def _counts(rows: Flags, patients: NDArray[np.str_]) -> dict[str, int]:
    return {"rows": int(rows.sum()), "patients": len(set(patients[rows].tolist()))}
