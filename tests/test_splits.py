"""Splits by patient do not move."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echocli.errors import EchoError
from echocli.splits import SHARES, check_patients_apart, split_of


@given(st.text())
def test_a_patient_has_one_split(patient: str) -> None:
    assert split_of(patient) == split_of(patient)
    assert split_of(patient) in SHARES


def test_shares_are_kept() -> None:
    counts = dict.fromkeys(SHARES, 0)
    for number in range(20_000):
        counts[split_of(f"patient {number}")] += 1
    for name, share in SHARES.items():
        assert counts[name] / 20_000 == pytest.approx(share, abs=0.01)


def test_splits_stay_the_same_in_every_release() -> None:
    assert [split_of(f"p{i}") for i in range(6)] == GOLDEN


GOLDEN = ["train", "train", "train", "test", "train", "test"]


def test_another_salt_draws_again() -> None:
    assert any(split_of(f"p{i}") != split_of(f"p{i}", salt="v2") for i in range(50))


def test_shares_that_do_not_sum_to_one_are_refused() -> None:
    with pytest.raises(ValueError, match="sum"):
        split_of("p", {"train": 0.5, "test": 0.6})


def test_a_patient_on_two_sides_is_refused() -> None:
    check_patients_apart(["a", "b", "a"], ["train", "test", None])
    with pytest.raises(EchoError, match="more than one split"):
        check_patients_apart(["a", "b", "a"], ["train", "test", "test"])
