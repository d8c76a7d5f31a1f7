"""Figures of a predicted ejection fraction, beside what predicting the mean would reach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.api._lvef.cuts import class_agreement, cut_figures
from echocli.errors import EchoError
from echocli.statistics.agreement import agreement, mae, rmse
from echocli.statistics.bootstrap import DRAWS, LEVEL, as_json, bootstrap_intervals
from echocli.statistics.subgroups import subgroup_figures

NO_FIGURES: dict[str, Any] = {"test": {"clips": 0, "patients": 0}, "metrics": None}
"""What stands in the place of ``figures`` where no test patient is labelled."""

Floats = NDArray[np.float64]


def check_ef(ef_percent: Floats, clip_ids: NDArray[np.object_]) -> None:
    """Refuse ejection fractions that no heart has.

    Raises:
        EchoError: If one is not between 0 and 100, or all look like fractions of 1.
    """
    wrong = ~((ef_percent > 0) & (ef_percent < 100))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise EchoError(
            f"{wrong.sum()} clip(s) have an ef_percent outside 0 to 100, first clip "
            f"{clip_ids[first]} with {ef_percent[first]:g}.",
            "Mend the labels and run `echocli preprocess` again.",
        )
    if len(ef_percent) and ef_percent.max() <= 1:
        raise EchoError(
            "Every ef_percent is 1 or less: these are fractions, not percent.",
            "Multiply them by 100 and run `echocli preprocess` again.",
        )


def figures(
    measured: Floats,
    predicted: Floats,
    patients: NDArray[np.str_],
    *,
    mean_ef_percent: float,
    half_width: float,
    seed: int,
    draws: int = DRAWS,
) -> dict[str, Any]:
    """Return error, agreement and discrimination with patient-bootstrap intervals.

    Args:
        measured: Measured ejection fractions, in percent.
        predicted: Predicted ones.
        patients: Patient of each row.
        mean_ef_percent: Mean of the training patients: the baseline.
        half_width: Of the prediction interval; infinite if there is none.
        seed: Start of the bootstrap's random numbers.
        draws: Bootstrap samples.
    """
    how = {"seed": seed, "draws": draws}
    baseline = np.full(len(measured), mean_ef_percent)
    of_mean = bootstrap_intervals(
        {
            "mae": lambda w: mae(measured, baseline, w),
            "rmse": lambda w: rmse(measured, baseline, w),
        },
        patients,
        **how,
    )
    inside = np.abs(predicted - measured) <= half_width
    return {
        "test": {
            "clips": len(measured),
            "patients": len(set(patients)),
            "sd_ef_percent": float(measured.std(ddof=1)) if len(measured) > 1 else None,
        },
        "metrics": as_json(agreement(measured, predicted, patients, **how)),
        "predict_the_mean": as_json(of_mean),
        **cut_figures(measured, predicted, patients, how),
        "ef_classes": class_agreement(measured, predicted, patients, how),
        "interval_coverage": float(inside.mean()) if np.isfinite(half_width) else None,
        "intervals": {"level": LEVEL, **how},
    }


SHOWN_OF_PARTS = ("mae", "rmse", "bias", "limit_low", "limit_high")


def subgroups(
    table: pd.DataFrame,
    columns: Sequence[str],
    measured: Floats,
    predicted: Floats,
    *,
    seed: int,
    draws: int = DRAWS,
) -> dict[str, list[dict[str, Any]]]:
    """Return error and agreement in parts of the clips, as JSON; see ``subgroup_figures``.

    Args:
        table: Their rows of the manifest.
        columns: By which to divide.
        measured: Measured ejection fractions, in percent.
        predicted: Predicted ones.
        seed: Start of the bootstrap's random numbers.
        draws: Bootstrap samples.
    """
    owners = table["patient_id"].astype(str).to_numpy(dtype=np.str_)

    def of(rows: NDArray[np.bool_]) -> dict[str, Any]:
        found = agreement(measured[rows], predicted[rows], owners[rows], seed=seed, draws=draws)
        return as_json({name: found[name] for name in SHOWN_OF_PARTS})

    return subgroup_figures(table, columns, of)
