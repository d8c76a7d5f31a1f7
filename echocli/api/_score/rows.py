"""Scored rows: the result's columns, by clip or by patient."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from echocli.api._score.figures import names
from echocli.statistics.conformal import p_values, threshold

ROLES = ("bank", "calibration", "scored")
"""In the order of the alphabet: a patient with clips in several has the first of these."""


@dataclass(frozen=True)
class Judged:
    """Rows with their scores, and the scores of those that calibrate."""

    rows: pd.DataFrame
    """clip_id (of clips), patient_id, score, split, role, nearest, known, abnormal."""
    calibration: pd.DataFrame
    """patient_id and score."""

    def limit(self, rate: float) -> float:
        """Return the score above which a row is called; infinite if too few calibrate."""
        scores = self.calibration["score"].to_numpy(float)
        return threshold(scores, rate, names(self.calibration))

    def by_patient(self, aggregate: str) -> Judged:
        """Return the same with one row a patient."""
        strangest = self.rows.sort_values("score", kind="stable").groupby("patient_id").tail(1)
        kept = ["patient_id", "split", "nearest"]
        groups = self.rows.groupby("patient_id", sort=False)
        rows = groups.agg(
            clips=("score", "size"),
            score=("score", aggregate),
            known=("known", "any"),
            abnormal=("abnormal", "any"),
            role=("role", "min"),
        ).reset_index()
        calibration = self.calibration.groupby("patient_id", sort=False)["score"]
        return Judged(
            rows.merge(strangest[kept], on="patient_id", validate="one_to_one"),
            calibration.agg(aggregate).reset_index(),
        )


def table_of(judged: Judged, limit: float) -> pd.DataFrame:
    """Return the rows of the result."""
    rows, calibration = judged.rows, judged.calibration
    scores = rows["score"].to_numpy(float)
    surprise = p_values(calibration["score"].to_numpy(float), scores, names(calibration))
    normal = pd.Series(~rows["abnormal"].to_numpy(bool), dtype="boolean").where(
        rows["known"].to_numpy(bool)
    )
    columns = {
        **{name: rows[name] for name in ("clip_id", "patient_id", "clips") if name in rows},
        "score": scores,
        "p_value": surprise,
        "anomalous": scores > limit,
        **({"normal": normal} if rows["known"].any() else {}),
        **{name: rows[name] for name in ("split", "role", "nearest")},
    }
    return pd.DataFrame(columns)


def tested(judged: Judged, judges: set[str]) -> pd.DataFrame:
    """Return labelled test rows of patients that judge nobody."""
    rows = judged.rows
    mine = rows["known"] & (rows["split"] == "test") & ~rows["patient_id"].isin(judges)
    return rows.loc[mine, ["patient_id", "score", "abnormal"]]
