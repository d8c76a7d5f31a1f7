"""Rows of the classification task: of clips, and of their patients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.api._classes import Classes, Words
from echocli.api._classify.figures import PREFIX, Codes, Floats, Reading, by_patient


def prediction_table(
    ids: pd.DataFrame,
    probabilities: Floats,
    words: Words,
    classes: Classes,
    reading: Reading,
    roles: NDArray[np.str_],
) -> pd.DataFrame:
    """Return the rows of ``classify.csv``.

    Args:
        ids: What names each clip, or study.
        probabilities: ``(clips, classes)``.
        words: What each clip truly is, where it is known.
        classes: What is told apart.
        reading: How calls are made.
        roles: What each clip's patient was to the head.
    """
    table = ids.reset_index(drop=True)
    for code, name in enumerate(classes.names):
        table[f"{PREFIX}{name}"] = probabilities[:, code]
    called = reading.calls(probabilities, classes.positive, patient=False)
    table["predicted"] = [classes.names[code] for code in called]
    if any(word is not None for word in words):
        table["label"] = words
    table["split"] = roles
    return table


def patient_rows(
    probabilities: Floats,
    codes: Codes,
    patients: NDArray[np.str_],
    classes: Classes,
    reading: Reading,
    roles: NDArray[np.str_],
) -> list[dict[str, Any]]:
    """Return one row a patient, as JSON: the mean over the clips and what it is called.

    Args:
        probabilities: ``(clips, classes)``.
        codes: Class of each clip; -1 where it is unknown.
        patients: Patient of each clip.
        classes: What is told apart.
        reading: How calls are made.
        roles: What each clip's patient was to the head.
    """
    found = by_patient(probabilities, codes, patients)
    called = reading.calls(found.probabilities, classes.positive, patient=True)
    role_of = dict(zip(patients.tolist(), roles.tolist(), strict=True))
    return [
        {
            "patient_id": str(name),
            "clips": int(found.clips[row]),
            **{
                f"{PREFIX}{c}": float(p)
                for c, p in zip(classes.names, found.probabilities[row], strict=True)
            },
            "predicted": classes.names[called[row]],
            "label": classes.names[found.codes[row]] if found.codes[row] >= 0 else None,
            "split": role_of[str(name)],
        }
        for row, name in enumerate(found.names)
    ]


def class_counts(
    splits: NDArray[np.str_], codes: Codes, patients: NDArray[np.str_], classes: Classes
) -> dict[str, Any]:
    """Return clips, patients and clips of each class in each split."""
    return {
        split: {
            "clips": int((splits == split).sum()),
            "patients": len(set(patients[splits == split].tolist())),
            "clips_of": classes.counts(codes[splits == split]),
        }
        for split in ("train", "val", "test")
    }
