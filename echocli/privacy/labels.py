"""Label columns that may leave the hospital, and the check that no value names a person."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping

from echocli.clips.record import Label
from echocli.errors import EchoError, PrivacyError

OLDEST_YEARS = 89.0
"""Ages above are identifying (HIPAA Safe Harbor, 45 CFR 164.514(b)(2)(i)(C)): cut off."""
MOST_VALUES = 64
"""Distinct texts in a column of classes, at most: more are no classes but free text."""
LONGEST_TEXT = 40
"""Characters of a class name, at most."""
TELLING_LENGTH = 6
"""Shorter identifiers (patient 2010) stand in texts and numbers by chance; only a text that is
nothing else counts."""
MOST = 2**31 - 1
"""Largest whole number, as the columns of a clip set hold them."""
FORMULA = re.compile(r"[=@\t\r]|[+-].*[(!|]")
"""What begins so is run by a spreadsheet that opens a table of results."""
DATE = re.compile(
    r"(?<!\d)((19|20)\d\d[-./]?(0[1-9]|1[0-2])[-./]?(0[1-9]|[12]\d|3[01])"
    r"|\d{1,2}([-./])\d{1,2}\5(\d\d){1,2})(?!\d)"
)
"""A day: the year first, or last."""
AGE, MOST_YEARS = "age_years", 130.0
"""No patient is older: it would be a year of birth, or months."""

PERCENTS = ("ef_percent", "rvef_percent")
"""Columns from 1 to 100 in a user's table: what lies below is a fraction, such as 0.55."""

_TRUE = {"1", "1.0", "true", "yes", "y", "normal"}
_FALSE = {"0", "0.0", "false", "no", "n", "abnormal"}


def _number(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _whole(text: str) -> int | None:
    number = float(text)
    if not abs(number) <= MOST:
        raise ValueError
    return round(number)


def _truth(text: str) -> bool | None:
    word = text.lower()
    if word not in _TRUE | _FALSE:
        raise ValueError
    return word in _TRUE


def _age(text: str) -> float | None:
    age = _number(text)
    return None if age is None else min(age, OLDEST_YEARS)


def _split(text: str) -> str:
    word = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}
    split = word.get(text.lower(), text.lower())
    if split not in ("train", "val", "test"):
        raise ValueError
    return split


COLUMNS: dict[str, Callable[[str], Label]] = {
    "ef_percent": _number,
    "edv_ml": _number,
    "esv_ml": _number,
    "normal": _truth,
    "abnormality": str,
    "split": _split,
    "view": str,
    "ed_frame": _whole,
    "es_frame": _whole,
    "quality": str,
    "sex": str,
    "age_years": _age,
    "weight_kg": _number,
    "height_cm": _number,
    "scanner": str,
    "centre": str,
    "dataset": str,
    "diagnosis": str,
    "mi_segments": _whole,
    "fold": _whole,
    "split_fold0": _split,
    "split_fold1": _split,
    "split_fold2": _split,
    "rvef_percent": _number,
    "rvedv_ml": _number,
    "rvesv_ml": _number,
    "ivsd_cm": _number,
    "lvidd_cm": _number,
    "lvpwd_cm": _number,
    "lvids_cm": _number,
}
"""Label columns that are let through, and how their text is read. All others stay behind."""


def clean(raw: Mapping[str, Label], named: Iterable[str] = ()) -> dict[str, Label]:
    """Return the labels that may be kept, read as what they are.

    Args:
        raw: Columns as they came.
        named: Further columns that the user let through by name.

    Raises:
        ValueError: With the column's name, if a value is not what its column holds.
    """
    kept: dict[str, Label] = {}
    for column, value in raw.items():
        read = COLUMNS.get(column) or (_guess if column in named else None)
        if read is None:
            continue
        text = "" if value is None else str(value).strip()
        try:
            kept[column] = read(text) if text and text.lower() != "nan" else None
        except ValueError:
            raise ValueError(column) from None
    return kept


def clean_row(
    raw: Mapping[str, Label], row: str, named: Iterable[str] = ()
) -> dict[str, Label]:
    """Return what a row of a user's table tells, as ``clean`` does.

    Args:
        raw: Columns as they came.
        row: What messages call it.
        named: Further columns that the user let through by name.

    Raises:
        EchoError: If a value is not what its column holds, or a percentage is none.
    """
    try:
        kept = clean(raw, named)
        for column in PERCENTS:
            value = kept.get(column)
            if isinstance(value, float) and not 1 <= value <= 100:
                raise ValueError(column)
        if kept.get(AGE) is not None and not 0 <= float(str(raw[AGE])) <= MOST_YEARS:
            raise ValueError(AGE)
    except ValueError as error:
        raise EchoError(
            f"{row} holds something else than `{error}` can hold.",
            f"`{error}` is {_held(str(error))}. Correct the cell, or leave it empty.",
        ) from None
    return kept


def _held(column: str) -> str:
    """Return in words what a column of labels holds."""
    if column in PERCENTS:
        return "a number from 1 to 100, such as 55.5: with a point, without %"
    if column == AGE:
        return f"a number of years from 0 to {MOST_YEARS:.0f}"
    if COLUMNS[column] is _truth:
        return "true or false, yes or no, 1 or 0, normal or abnormal"
    if COLUMNS[column] is _split:
        return "train, val or test"
    return "a number, such as 55.5: with a point, without a unit"


def check_values(column: str, values: Iterable[Label], identifiers: Iterable[str]) -> None:
    """Refuse a column of labels that may name a person.

    Args:
        column: Its name.
        values: All its values.
        identifiers: Raw identifiers of the sources; no text may hold one, no number be one.

    Raises:
        PrivacyError: If a text equals or holds an identifier or a date, is longer than a
            class name or begins as a formula, or if there are more different texts than
            classes.
    """
    values = list(values)
    texts = {value.casefold() for value in values if isinstance(value, str)}
    numbers = {f"{v:.0f}" for v in values if isinstance(v, (int, float)) and v % 1 == 0}
    remedy = f"Remove the column `{column}` from the labels, or replace its texts by classes."
    if len(texts) > MOST_VALUES or any(len(text) > LONGEST_TEXT for text in texts):
        raise PrivacyError(f"The label column `{column}` holds free text, not classes.", remedy)
    if any(FORMULA.match(text) for text in texts):
        raise PrivacyError(
            f"The label column `{column}` holds what a spreadsheet takes for a formula.", remedy
        )
    if any(DATE.search(word) for word in texts | numbers):
        raise PrivacyError(f"The label column `{column}` holds dates.", remedy)
    raw = {identifier.casefold() for identifier in identifiers}
    telling = {name for name in raw if len(name) >= TELLING_LENGTH}
    held = any(name in text for text in texts for name in telling)
    if held or texts & raw or numbers & telling:
        raise PrivacyError(f"The label column `{column}` holds an identifier.", remedy)


def _guess(text: str) -> Label:
    """Read a column that the user named: a number if it is one, else a class."""
    try:
        return _number(text)
    except ValueError:
        return text
