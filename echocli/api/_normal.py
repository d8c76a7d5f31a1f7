"""What counts as a normal clip, and which normals judge the others."""

from __future__ import annotations

import hashlib
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.errors import EchoError, UsageError

Flags = NDArray[np.bool_]

THREE_WAYS = (
    "Say it in one of three ways: a label column `normal` (`echocli preprocess SOURCES "
    "--labels labels.csv --overwrite`, then embed again); `--normals FILE` with the embeddings "
    "of normal clips; or a rule on a label column, such as `--normal-rule 'ef_percent>=55'`."
)
ALIASES = {"ef": "ef_percent", "lvef": "ef_percent", "edv": "edv_ml", "esv": "esv_ml"}
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}
CONDITION = re.compile(r"\s*(\w+)\s*(>=|<=|==|!=|>|<|=)\s*(\S+)\s*")


@dataclass(frozen=True)
class Normality:
    """Which rows are known to be normal, and which known not to be."""

    known: Flags
    normal: Flags
    source: str
    """What said so, in words: clips are normal according to it."""


def normality(table: pd.DataFrame, rule: str | None) -> Normality:
    """Return what a rule or the column ``normal`` says about each row.

    Args:
        table: Rows with label columns.
        rule: Conditions such as ``ef_percent>=55``, joined by ``and``; the column if left out.

    Raises:
        UsageError: If nothing says what is normal, or the rule cannot be applied.
    """
    if rule is not None:
        return _by_rule(table, rule)
    if "normal" not in table or table["normal"].isna().all():
        raise UsageError("Nothing says which clips are normal.", THREE_WAYS)
    column = table["normal"]
    known = column.notna().to_numpy()
    return Normality(known, _truth(column) & known, "the label column normal")


def _truth(column: pd.Series) -> Flags:
    words = column.astype(str).str.strip().str.lower()
    true, false = (
        words.isin(["true", "1", "1.0", "yes"]),
        words.isin(["false", "0", "0.0", "no"]),
    )
    if not (true | false | column.isna()).all():
        raise UsageError(
            "The column normal holds something other than true and false.",
            "Use true and false, or give a rule with --normal-rule.",
        )
    return true.to_numpy()


def _by_rule(table: pd.DataFrame, rule: str) -> Normality:
    known, normal = np.ones(len(table), np.bool_), np.ones(len(table), np.bool_)
    for part in re.split(r"\s+and\s+", rule.strip()):
        match = CONDITION.fullmatch(part)
        if match is None:
            raise UsageError(
                f"--normal-rule {part!r} is not a condition.",
                "Write a column, a comparison and a value: 'ef_percent>=55'; several are "
                "joined by and: 'ef_percent>=55 and sex==F'.",
            )
        name, sign, value = match.groups()
        column = _column(table, name)
        present = column.notna().to_numpy()
        known &= present
        holds = np.zeros(len(table), np.bool_)
        holds[present] = _compare(column[present], sign, value)
        normal &= holds
    if not known.any():
        raise UsageError(f"No clip has what --normal-rule {rule!r} asks for.", THREE_WAYS)
    return Normality(known, normal & known, f"the rule {rule}")


def absent_from(table: pd.DataFrame, rule: str) -> list[str]:
    """Return the columns that a rule asks for and a table lacks."""
    parts = [CONDITION.fullmatch(part) for part in re.split(r"\s+and\s+", rule.strip())]
    return [part[1] for part in parts if part and _called(table, part[1]) not in table]


def _called(table: pd.DataFrame, name: str) -> str:
    """Return what the table calls what somebody calls so: EF is ef_percent."""
    return name if name in table else ALIASES.get(name.lower(), name)


def _column(table: pd.DataFrame, name: str) -> pd.Series:
    name = _called(table, name)
    if name not in table:
        near = get_close_matches(name, [str(column) for column in table.columns], 1)
        hint = f"Did you mean {near[0]}?" if near else THREE_WAYS
        raise UsageError(f"The embeddings have no label column {name}.", hint)
    return table[name]


def _compare(column: pd.Series, sign: str, value: str) -> Flags:
    numbers = pd.to_numeric(column, errors="coerce")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if numbers.notna().all() and math.isfinite(number):
        return np.asarray(OPERATORS[sign](numbers.to_numpy(float), number), np.bool_)
    if sign not in ("==", "=", "!="):
        raise UsageError(
            f"{column.name} {sign} {value} compares words by size.",
            "Use == or != for words, and numbers for the others.",
        )
    words = column.astype(str).str.lower()
    return np.asarray(OPERATORS[sign](words, value.strip("'\"").lower()), np.bool_)


@dataclass(frozen=True)
class Roles:
    """Rows of normal clips with a part in judging the others."""

    bank: Flags
    calibration: Flags


LEAST_BANK = 2
"""Patients in the bank: one of the bank is compared with the others, never with itself."""


def choose_roles(
    normal: Flags, splits: NDArray[np.str_], patients: NDArray[np.str_], rate: float
) -> Roles:
    """Divide the normal clips that are not for testing into bank and calibration, by patient.

    The bank is the training split, the calibration the validation split. A false-positive rate
    of 5 % needs 19 calibration patients; where the validation split has fewer, patients of
    the training split are added, in an order that depends on their pseudonyms alone, at most
    until half of the normal patients calibrate.

    Args:
        normal: Whether each row is known to be normal.
        splits: Split of each row.
        patients: Patient of each row.
        rate: The false-positive rate to be held.

    Raises:
        EchoError: If fewer than three patients are left.
    """
    train = _in_hash_order(patients[normal & (splits == "train")])
    held_out = _in_hash_order(patients[normal & (splits == "val")])
    count = len(train) + len(held_out)
    if count < LEAST_BANK + 1:
        raise EchoError(
            f"{count} patient(s) outside the test split are normal; at least three are needed, "
            "two to compare with and one to calibrate on.",
            "Bring more normal patients, or give their embeddings with --normals.",
        )
    if not train:
        train, held_out = held_out[count // 2 :], held_out[: count // 2]
    more = max(0, min(patients_needed(rate), count // 2) - len(held_out))
    bank, calibration = train[more:], [*held_out, *train[:more]]
    lacking = max(0, LEAST_BANK - len(bank))
    bank, calibration = [*bank, *calibration[:lacking]], calibration[lacking:]
    return Roles(normal & np.isin(patients, bank), normal & np.isin(patients, calibration))


def _in_hash_order(patients: NDArray[np.str_]) -> list[str]:
    names = {str(patient) for patient in patients}
    return sorted(names, key=lambda p: hashlib.sha256(f"calibration/{p}".encode()).digest())


def patients_needed(rate: float) -> int:
    """Return how many calibration patients a false-positive rate needs: 1 / rate - 1."""
    return math.ceil(1 / rate - 1e-9) - 1
