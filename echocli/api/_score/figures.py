"""How well scores tell abnormal from normal, by clip and by patient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.statistics.bootstrap import as_json
from echocli.statistics.classification import classification


def evaluation(
    rows: pd.DataFrame,
    patients: pd.DataFrame,
    limits: tuple[float, float],
    *,
    seed: int,
    draws: int,
) -> dict[str, Any]:
    """Return the figures on labelled test rows of patients that judge nobody.

    Args:
        rows: patient_id, score, abnormal; one row a clip, or whatever was scored.
        patients: The same with one row a patient.
        limits: Score above which a row, and a patient, is called; infinite for none.
        seed: Start of the bootstrap's random numbers.
        draws: Bootstrap samples.
    """
    abnormal = rows["abnormal"].to_numpy(bool)
    result: dict[str, Any] = {
        "test": {
            "clips": len(rows),
            "patients": len(patients),
            "abnormal_clips": int(abnormal.sum()),
            "abnormal_patients": int(patients["abnormal"].sum()),
        },
        "metrics": None,
        "patient_metrics": None,
    }
    if abnormal.all() or not abnormal.any():
        return result
    result["metrics"] = _figures(rows, limits[0], seed, draws)
    result["patient_metrics"] = _figures(patients, limits[1], seed, draws)
    result["prevalence"] = float(abnormal.mean())
    result["intervals"] = {"level": 0.95, "draws": draws, "seed": seed}
    return result


def _figures(
    rows: pd.DataFrame, limit: float, seed: int, draws: int
) -> dict[str, dict[str, float | None]]:
    scores = rows["score"].to_numpy(float)
    called = scores > limit if math.isfinite(limit) else None
    found = classification(
        rows["abnormal"].to_numpy(bool), scores, called, names(rows), seed=seed, draws=draws
    )
    return as_json(found)


def names(rows: pd.DataFrame) -> NDArray[np.str_]:
    """Return the patient of each row."""
    return rows["patient_id"].astype(str).to_numpy(dtype=np.str_)
