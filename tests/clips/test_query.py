"""Choosing clips by a query: yes, no, and nobody knows."""

from __future__ import annotations

import pandas as pd
import pytest

from echocli.clips.query import rows_where
from echocli.errors import UsageError

MANIFEST = pd.DataFrame(
    {
        "normal": [True, False, None, True],
        "calibrated": [True, True, False, False],
        "split": ["train", "train", "train", "test"],
        "ef_percent": [60.0, 30.0, None, 55.0],
    }
)


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("normal", [0, 3]),
        (" normal ", [0, 3]),
        ("not normal", [1]),
        ("calibrated", [0, 1]),
        ("normal and split != 'test'", [0]),
        ("normal or ef_percent < 50", [0, 1, 3]),
        ("normal == True", [0, 3]),
        ("ef_percent < 50", [1]),
    ],
)
def test_a_label_that_is_unknown_meets_no_condition(query: str, rows: list[int]) -> None:
    assert rows_where(MANIFEST, query).tolist() == rows


def test_the_manifest_stays_as_it_was() -> None:
    before = MANIFEST.dtypes
    rows_where(MANIFEST, "normal")
    pd.testing.assert_series_equal(MANIFEST.dtypes, before)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("abnormal_", r"no column abnormal_"),
        ("ef_percent", "does not say yes or no"),
        ("not ef_percent", "not a query"),
        ("split =", "not a query"),
        ("split.startswith('t')", "not a query"),  # it is split.str.startswith
        ("ef_percent is None", "not a query"),
        ("ef_percent & 1", "not a query"),
        ("[x for x in split]", "not a query"),
        ("ef_percent" + " and ef_percent" * 500, "not a query"),
        ("1", "no condition"),
        ("ef_percent[0]", "no condition"),
        ("ef_percent + 1", "no condition"),
        ("split = 'train'", "no condition"),
        ("ef_percent.max() > 1", "no condition"),
    ],
)
def test_what_cannot_be_asked_is_refused(query: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        rows_where(MANIFEST, query)


def test_a_missing_label_is_answered_with_those_there_are() -> None:
    with pytest.raises(UsageError) as refused:
        rows_where(MANIFEST[["split", "ef_percent"]], "normal")
    assert refused.value.problem == "The manifest has no column normal."
    assert refused.value.remedy == "It has: split, ef_percent."
