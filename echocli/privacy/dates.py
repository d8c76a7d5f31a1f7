"""Dates of a patient, all moved by the same secret number of days."""

from __future__ import annotations

import re
from datetime import date, timedelta

from echocli.privacy.pseudonyms import Pseudonyms

SHORTEST_SHIFT_DAYS = 366
LONGEST_SHIFT_DAYS = 3652
"""One to ten years back: far enough that no calendar of the ward betrays the true day, and
never into the future, where a viewer would call the date a mistake."""
EARLIEST_YEAR = 1960
"""No ultrasound picture is older; a date before is dirt, such as 18581117."""

_WRITTEN = re.compile(r"(\d{4})(\d{2})(\d{2})(\d{2,6}(\.\d{1,6})?)?([+-]\d{4})?", re.ASCII)
"""DA or DT of PS3.5 6.2, at least to the day."""


def shift_days(patient_key: str, pseudonyms: Pseudonyms) -> int:
    """Return how many days a patient's dates move back, the same for all of them.

    Returns:
        At least one year, at most ten; without the key nobody can tell it.
    """
    spread = LONGEST_SHIFT_DAYS - SHORTEST_SHIFT_DAYS + 1
    return SHORTEST_SHIFT_DAYS + pseudonyms.number("dates", patient_key) % spread


def shifted(date_text: str, patient_key: str, pseudonyms: Pseudonyms) -> str | None:
    """Return a date moved by the patient's shift.

    Intervals between two examinations of a patient stay what they are (PS3.15 E.3.6, Retain
    Longitudinal Temporal Information With Modified Dates). The time of day is dropped.

    Args:
        date_text: DICOM date or date-time, ``YYYYMMDD...``.
        patient_key: Raw identifier of the patient.
        pseudonyms: Holder of the key.

    Returns:
        ``YYYY-MM-DD``, or ``None`` for anything that is no date: what cannot be shifted is
        dropped, never kept.
    """
    found = _WRITTEN.fullmatch(date_text.strip(" \0"))
    if not found:
        return None
    try:
        true = date(*map(int, found.group(1, 2, 3)))
    except ValueError:
        return None
    if true.year < EARLIEST_YEAR:
        return None
    return (true - timedelta(days=shift_days(patient_key, pseudonyms))).isoformat()
