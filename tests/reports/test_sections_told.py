"""Sections say what was done, and draw whatever clips there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from micro import micro_clip, write_clips

from echocli.reports.sections_anomaly import anomaly_section
from echocli.reports.sections_data import clips_section
from echocli.reports.sections_learning import training_section
from echocli.reports.sections_lvef import lvef_section
from echocli.reports.study_reader import Results, RunRecord, Table


@pytest.mark.parametrize(
    "labels",
    [
        ({"split": "train"}, {"ef_percent": 50.0}),  # EF is known where the split is not
        ({"split": "fold1", "ef_percent": 50.0}, {"split": "fold2", "ef_percent": 40.0}),
        ({"split": "train", "ef_percent": 50.0}, {"ef_percent": 40.0}),
    ],
)
def test_clips_of_no_split_or_another_are_drawn(
    tmp_path: Path, labels: tuple[dict[str, Any], ...]
) -> None:
    clips = [micro_clip(i, labels=labels[i % 2]) for i in range(8)]
    body = clips_section(Results(clips=write_clips(tmp_path / "clips", clips))).body
    assert 'aria-label="ef histogram"' in body
    assert 'aria-label="frame rate histogram"' in body


@pytest.mark.parametrize(
    ("distance", "words"),
    [
        ("cosine", "the mean cosine distance from a clip to its nearest 7 normal clips"),
        ("whitened", "the mean whitened distance from a clip to its nearest 7 normal clips"),
        ("mahalanobis", "the Mahalanobis distance from a clip to the mean of normal clips:"),
    ],
)
def test_a_score_is_told_as_it_was_made(distance: str, words: str) -> None:
    rows = pd.DataFrame({"clip_id": ["a", "b"], "score": [0.1, 0.2], "p_value": [0.5, 0.5]})
    summary = {"distance": distance, "k": 7, "bank": {"clips": 5, "patients": 3}}
    assert words in anomaly_section(Results(scores=Table(rows, summary))).body


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        ({}, "set on 25 validation patients to hold"),  # older results do not tell
        ({"from": "validation"}, "set on 25 validation patients to hold"),
        ({"from": "validation and out of fold"}, "validation patients, and on training"),
    ],
)
def test_a_prediction_interval_names_all_whom_it_was_set_on(
    origin: dict[str, str], words: str
) -> None:
    interval = {"level": 0.9, "half_width": 8.0, "patients": 25, **origin}
    rows = pd.DataFrame(
        {
            "clip_id": ["a", "b", "c"],
            "patient_id": ["p", "q", "r"],
            "ef_percent": [50.0, 60.0, 40.0],
            "measured_ef_percent": [55.0, 58.0, 43.0],
            "split": "test",
        }
    )
    summary = {"interval": interval, "interval_coverage": 0.9}
    assert words in lvef_section(Results(lvef=Table(rows, summary))).body


@pytest.mark.parametrize(
    ("score", "words"),
    [([0.6, 0.7], "AUROC of a probe"), ([0.1, 0.2], "error of a probe")],
)
def test_the_axis_of_a_probe_says_what_it_measures(score: list[float], words: str) -> None:
    metrics = pd.DataFrame(
        {"step": [0, 1], "probe": [0.6, 0.7], "probe_guess": [0.5, 0.5], "probe_score": score}
    )
    run = RunRecord("one", {}, metrics, has_model=True)
    assert words in training_section(Results(runs=[run])).body
