from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from echocli.statistics.subgroups import parts_of, subgroup_figures, usual_columns


def table(n: int = 90) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "patient_id": [f"p{i // 2}" for i in range(n)],
            "sex": [("F", "M", None)[i // 2 % 3] for i in range(n)],
            "age_years": np.where(np.arange(n) < 6, np.nan, 30.0 + np.arange(n) // 2),
            "frame_rate_hz": rng.uniform(20, 90, n),
            "normal": [(True, False, None)[i % 3] for i in range(n)],
            "empty": [None] * n,
            "depth": rng.normal(size=n),
            "fold": np.arange(n) % 4,
        }
    )


@pytest.mark.parametrize(
    "column", ["sex", "age_years", "frame_rate_hz", "normal", "depth", "fold"]
)
def test_every_row_is_in_one_part_and_the_unknown_are_shown_last(column: str) -> None:
    rows = table()
    parts = parts_of(rows, column)
    assert (np.sum([part.rows for part in parts], axis=0) == 1).all()
    assert [part.clips for part in parts] == [int(part.rows.sum()) for part in parts]
    for part in parts:
        assert part.patients == rows["patient_id"][part.rows].nunique()
        assert part.small == (part.patients < 30)
    unknown = int(rows[column].isna().sum())
    assert (parts[-1].name == "unknown") == (unknown > 0)
    if unknown:
        assert parts[-1].clips == unknown


def test_bands_hold_their_lower_end() -> None:
    rows = table()
    names = {part.name: part for part in parts_of(rows, "age_years")}
    assert list(names) == ["<40", "40 to <60", "60 to <80", "unknown"]
    ages = rows["age_years"][names["40 to <60"].rows]
    assert (ages.min(), ages.max()) == (40, 59)


def test_a_rate_that_was_summed_up_is_in_the_band_of_the_rate_that_is_meant() -> None:
    rows = table()
    rows["frame_rate_hz"] = np.where(rows.index % 2 == 0, 50.0, 49.99999999999999)
    assert [part.name for part in parts_of(rows, "frame_rate_hz")] == ["50 to <80"]


def test_other_numbers_are_cut_at_tertiles_and_few_ones_shown_one_by_one() -> None:
    rows = table()
    assert [part.clips for part in parts_of(rows, "depth")] == [30, 30, 30]
    assert [part.name for part in parts_of(rows, "fold")] == ["0", "1", "2", "3"]
    assert [part.name for part in parts_of(rows, "normal")] == ["false", "true", "unknown"]


def test_usual_columns_are_those_that_say_something() -> None:
    rows = table().assign(quality=None)
    assert usual_columns(rows) == ["sex", "age_years", "frame_rate_hz"]


def test_figures_are_of_their_own_rows() -> None:
    rows = table()
    found = subgroup_figures(
        rows, ["sex"], lambda chosen: {"age": float(rows["age_years"][chosen].mean())}
    )
    for part in found["sex"]:
        own = rows["age_years"][rows["sex"].fillna("unknown") == part["name"]]
        assert part["metrics"] == {"age": pytest.approx(own.mean())}
        assert part["small"] is True
