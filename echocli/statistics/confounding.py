"""What a label owes to the site and the scanner: how well metadata alone predict it.

An encoder can tell one machine from another. Where the sick were scanned on other machines than
the healthy, it needs to know nothing else. Patients are counted, not clips.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.statistics.bootstrap import DRAWS, Interval, Values, bootstrap_intervals
from echocli.statistics.classification import auroc
from echocli.statistics.multiclass import macro

METADATA = ("scanner", "centre", "dataset", "frame_rate_hz", "frames", "row_mm", "height")
"""Columns that say how, where and with what a clip was taken, and nothing of the heart."""
FOLDS = 5
STRONG_V = 0.3
"""Cramer's V from which an association is called out (medium for two rows; Cohen 1988, 7.2)."""
OTHERS = "other"
RARE = 5
"""Patients below which a value joins the others."""


def cramers_v(first: Sequence[object], second: Sequence[object]) -> float:
    """Return how strongly two classifications go together: 0 not at all, 1 wholly.

    Corrected for chance, which makes small tables look associated; NaN where either does not
    vary.

    Source:
        Bergsma 2013, J Korean Stat Soc 42:323, equations 4 to 6.
    """
    table = pd.crosstab(np.asarray(first, str), np.asarray(second, str)).to_numpy(float)
    rows, columns = table.shape
    n = table.sum()
    if min(rows, columns) < 2 or n < 2:
        return float("nan")
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / n
    phi2 = ((table - expected) ** 2 / expected).sum() / n
    corrected = max(0.0, phi2 - (rows - 1) * (columns - 1) / (n - 1))
    r, c = rows - (rows - 1) ** 2 / (n - 1), columns - (columns - 1) ** 2 / (n - 1)
    least = min(r, c) - 1
    return float(np.sqrt(corrected / least)) if least > 0 else float("nan")


def confounding(
    table: pd.DataFrame,
    label: NDArray[np.integer],
    *,
    seed: int,
    columns: Sequence[str] = METADATA,
    draws: int = DRAWS,
) -> dict[str, Any]:
    """Return how well a label is told by metadata, as JSON.

    Args:
        table: Rows with ``patient_id`` and, of the columns, those that it has.
        label: Class of each row, from 0.
        seed: Start of the random numbers.
        columns: Metadata.
        draws: Bootstrap samples.

    Returns:
        ``cramers_v`` of each column (numbers in quarters), the ``auroc`` of a logistic
        regression on all of them for patients that it has not seen (mean over classes), the
        ``columns`` used, ``patients``, and ``findings`` in words.
    """
    first = ~table["patient_id"].astype(str).duplicated().to_numpy()
    patients, truth = table[first], np.asarray(label)[first]
    used = [c for c in columns if c in table and patients[c].nunique(dropna=False) > 1]
    strength = {
        column: _finite(cramers_v(truth.tolist(), _as_words(patients[column])))
        for column in used
    }
    area = _told_by(patients[used], truth, seed, draws) if used else None
    findings = [
        f"the column {column} goes with the label (Cramer's V {v:.2f})"
        for column, v in strength.items()
        if v is not None and v >= STRONG_V
    ]
    if area is not None and area.low > 0.5:
        findings.append(
            f"metadata alone predict the label with AUROC {area.value:.2f} "
            f"({area.low:.2f} to {area.high:.2f})"
        )
    return {
        "patients": int(first.sum()),
        "columns": used,
        "cramers_v": strength,
        "auroc_of_metadata": None if area is None else area.as_json(),
        "findings": findings,
    }


def _told_by(
    table: pd.DataFrame, truth: NDArray[np.integer], seed: int, draws: int
) -> Interval | None:
    """Return the area of a logistic regression by cross-validation; one row a patient."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    classes, codes = np.unique(truth, return_inverse=True)
    least = int(np.bincount(codes).min())
    if len(classes) < 2 or least < 2:
        return None
    folds = StratifiedKFold(min(FOLDS, least), shuffle=True, random_state=seed)
    model = LogisticRegression(max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what it has predicts well enough
        said = cross_val_predict(
            model, _numbers(table), codes, cv=folds, method="predict_proba"
        )
    probabilities: Values = np.asarray(said, np.float64)
    metrics = {"auroc": lambda w: macro(auroc, codes, probabilities, w)}
    owners = np.arange(len(codes))
    return bootstrap_intervals(metrics, owners, seed=seed, draws=draws)["auroc"]


def _numbers(table: pd.DataFrame) -> NDArray[np.float64]:
    """Return columns of numbers standardised and unknown ones marked, words as indicators."""
    parts = []
    for name in table:
        column = table[name]
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            values = column.to_numpy(float)
            known = np.isfinite(values)
            mean, sd = values[known].mean(), values[known].std()
            parts.append(np.where(known, (values - mean) / (sd or 1.0), 0.0)[:, None])
            parts.append(known[:, None].astype(float))
        else:
            parts.append(pd.get_dummies(pd.Series(_as_words(column))).to_numpy(float))
    return np.concatenate(parts, axis=1)


def _as_words(column: pd.Series) -> list[str]:
    """Return a column as classes: numbers in quarters, rare words together."""
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        if column.nunique() > FOLDS:
            return [str(v) for v in pd.qcut(column, 4, duplicates="drop").astype(str)]
        return [str(v) for v in column]
    words = column.astype(str)
    counts = words.map(words.value_counts())
    return [str(word) for word in words.where(counts >= RARE, OTHERS)]


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
