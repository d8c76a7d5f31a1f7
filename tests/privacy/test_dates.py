"""Dates move together, never stay, and what is no date is dropped."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echocli.privacy.dates import (
    LONGEST_SHIFT_DAYS,
    SHORTEST_SHIFT_DAYS,
    shift_days,
    shifted,
)
from echocli.privacy.pseudonyms import Pseudonyms

PSEUDONYMS = Pseudonyms(bytes(range(32)))
DAYS = st.dates(date(1960, 1, 1), date(2099, 12, 31))


@given(DAYS, DAYS, st.text(min_size=1))
def test_a_patients_dates_keep_their_distance_and_none_stays(
    one: date, other: date, patient: str
) -> None:
    moved = [
        date.fromisoformat(shifted(day.strftime("%Y%m%d"), patient, PSEUDONYMS) or "")
        for day in (one, other)
    ]
    assert moved[0] - moved[1] == one - other
    back = (one - moved[0]).days
    assert SHORTEST_SHIFT_DAYS <= back <= LONGEST_SHIFT_DAYS
    assert timedelta(days=shift_days(patient, PSEUDONYMS)) == one - moved[0]


def test_shifts_differ_by_patient_and_key_and_spread_over_the_range() -> None:
    shifts = [shift_days(f"patient {n}", PSEUDONYMS) for n in range(3000)]
    other = [shift_days(f"patient {n}", Pseudonyms(bytes(32))) for n in range(3000)]
    assert len(set(shifts)) > 1500
    assert sum(a == b for a, b in zip(shifts, other, strict=True)) < 10
    spread = LONGEST_SHIFT_DAYS - SHORTEST_SHIFT_DAYS
    assert min(shifts) < SHORTEST_SHIFT_DAYS + 0.01 * spread
    assert max(shifts) > LONGEST_SHIFT_DAYS - 0.01 * spread
    middle = (LONGEST_SHIFT_DAYS + SHORTEST_SHIFT_DAYS) / 2
    assert abs(sum(shifts) / 3000 - middle) < 0.05 * spread


def test_the_time_of_day_is_dropped() -> None:
    moved = shifted("20240229", "p", PSEUDONYMS)
    assert moved is not None
    for written in ("20240229121314", "20240229121314.123456", "20240229121314.5+0100"):
        assert shifted(written, "p", PSEUDONYMS) == moved


@pytest.mark.parametrize(
    "dirt",
    ["", "--", "1994.01.30", "00000000", "20230230", "20241301", "2024", "202401", "18581117",
     "01011994", "30.01.1994", "1994-01-30", "Invented^Person", "\uff12\uff10240101",
     "20240101 19940130", "20240101\\19940130"],
)  # fmt: skip
def test_what_is_no_date_is_dropped_and_never_kept(dirt: str) -> None:
    assert shifted(dirt, "p", PSEUDONYMS) is None
