"""Which split each row of a table belongs to."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.errors import EchoError, UsageError
from echocli.splits import check_patients_apart, split_of

NAMES = ("train", "val", "test")


def splits_of(table: pd.DataFrame) -> NDArray[np.str_]:
    """Return the split of each row: as the table says, else by the patient's pseudonym.

    Args:
        table: Rows with ``patient_id`` and, perhaps, ``split``.

    Raises:
        EchoError: If a split has another name, or a patient stands in two.
    """
    said = table["split"] if "split" in table else pd.Series([None] * len(table), dtype=object)
    known = said.dropna().astype(str)
    strange = sorted(set(known) - set(NAMES))
    if strange:
        raise EchoError(
            f"The column split holds {strange[0]!r}; it may hold train, val and test.",
            "Mend the labels and run `echocli preprocess` again.",
        )
    patients = [str(patient) for patient in table["patient_id"]]
    # A patient of whom only some clips are marked belongs where those are.
    marked = dict(zip(table.loc[known.index, "patient_id"].astype(str), known, strict=True))
    splits = [
        str(own) if pd.notna(own) else marked.get(patient) or split_of(patient)
        for own, patient in zip(said, patients, strict=True)
    ]
    check_patients_apart(patients, splits)
    return np.array(splits, dtype=np.str_)


def patient_numbers(patients: pd.Series) -> NDArray[np.int64]:
    """Return a number for each row's patient, from 0, in the order of their pseudonyms."""
    return np.unique(patients.astype(str), return_inverse=True)[1].astype(np.int64)


def check_fraction(share: float) -> None:
    """Refuse a share of patients that is none.

    Raises:
        UsageError: If it is not above 0 and up to 1.
    """
    if not 0 < share <= 1:
        raise UsageError(f"--label-fraction is {share:g}.", "Give a share above 0, up to 1.")


def without_spare(
    patients: NDArray[np.str_], splits: NDArray[np.str_], share: float, seed: int
) -> NDArray[np.bool_]:
    """Return which rows stay if only a share of the training patients is to be used.

    Args:
        patients: Patient of each row.
        splits: Split of each row; those that are not of the training all stay.
        share: See ``share_of_patients``.
        seed: See there.
    """
    train = splits == "train"
    used = share_of_patients(patients[train].tolist(), share, seed)
    return np.asarray(~train | np.isin(patients, sorted(used)))


def share_of_patients(patients: Iterable[str], share: float, seed: int) -> set[str]:
    """Return some patients, at least one; those of a smaller share are among them.

    The order is that of hashes, so one patient more or less changes nobody else's place.

    Args:
        patients: Pseudonyms; each patient counts once.
        share: How many of them, above 0 to 1.
        seed: Another one gives other patients.
    """
    names = set(patients)
    ranked = sorted(names, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())
    return set(ranked[: math.ceil(share * len(names))])
