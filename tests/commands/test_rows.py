"""Rows are told the same as CSV and as JSON, to the last digit."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest

from echocli.commands._rows import as_records, print_rows


def test_rows_keep_every_digit_and_say_what_is_unknown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = pd.DataFrame(
        {
            "clip_id": ["007", "008"],
            "p_value": [0.1 + 0.2, 1e-17],
            "score": np.array([0.1, np.nan], np.float64),
            "normal": pd.array([True, None], dtype="boolean"),
            "ed_frame": pd.array([None, 3], dtype="Int64"),
            "view": ["A4C", None],
            "anomalous": [True, False],
        }
    )
    records = json.loads(json.dumps(as_records(table), allow_nan=False))
    assert records == [
        {
            **{"clip_id": "007", "p_value": 0.1 + 0.2, "score": 0.1, "normal": True},
            **{"ed_frame": None, "view": "A4C", "anomalous": True},
        },
        {
            **{"clip_id": "008", "p_value": 1e-17, "score": None, "normal": None},
            **{"ed_frame": 3, "view": None, "anomalous": False},
        },
    ]
    print_rows(table)
    again = pd.read_csv(io.StringIO(capsys.readouterr().out), dtype={"clip_id": str})
    assert again["p_value"].tolist() == table["p_value"].tolist()
    assert again["clip_id"].tolist() == ["007", "008"]
