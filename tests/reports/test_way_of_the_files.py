"""The diagram of what was done names heads and encoders, and whose predictions there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from echocli.reports.flow import flow_section
from echocli.reports.study_reader import Results, RunRecord, Table, read_head
from echocli.study import HEAD, SUMS

RUN_SHA, OTHER_SHA, HEAD_SHA = "a" * 64, "b" * 64, "c" * 64


def boxes_of(results: Results) -> dict[str, str]:
    """Return the words of each box, by its title."""
    html = str(flow_section(results).body)
    found = re.findall(r'<div class="box"><b>(.*?)</b>(.*?)</div>', html)
    return {title: re.sub(r"<[^>]+>", "|", words) for title, words in found}


def head(**more: Any) -> dict[str, Any]:
    return {"task": "classify", "probe": "linear", "label": "view", **more}


def test_each_head_tells_its_name_label_and_encoder_and_only_its_own_predictions() -> None:
    run = RunRecord("mine", {}, pd.DataFrame(), True, RUN_SHA)
    made = Table(pd.DataFrame({"clip_id": ["a", "b"]}), {"head": "heads/views"})
    results = Results(
        runs=[run],
        classes=made,
        heads={
            "views": head(model_sha256=RUN_SHA, model="../../runs/mine/model", sha256=HEAD_SHA),
            "tuned": head(model_sha256=OTHER_SHA, model="encoder"),
            "elsewhere": head(model_sha256=OTHER_SHA, model="../../gone"),
        },
    )
    boxes = boxes_of(results)
    views, tuned = boxes["Classes: head views"], boxes["Classes: head tuned"]
    assert f"linear probe of view, {HEAD_SHA[:12]}" in views
    assert f"encoder mine, {RUN_SHA[:12]}" in views
    assert "predicted for 2 clips" in views
    assert "predicted" not in tuned
    assert f"encoder trained with it, {OTHER_SHA[:12]}" in tuned
    assert f"encoder {OTHER_SHA[:12]}" in boxes["Classes: head elsewhere"]


def test_scores_name_the_encoder() -> None:
    scores = Table(pd.DataFrame(), {"model_sha256": RUN_SHA})
    run = RunRecord("mine", {}, pd.DataFrame(), True, RUN_SHA)
    told = boxes_of(Results(runs=[run], scores=scores))["Anomaly scores"]
    assert f"encoder mine, {RUN_SHA[:12]}" in told


def test_the_hash_of_a_head_is_that_which_was_written_with_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"task": "lvef"}')
    assert read_head(tmp_path) == {"task": "lvef", "sha256": ""}
    (tmp_path / SUMS).write_text(f'{{"{HEAD}": "{HEAD_SHA}"}}')
    assert read_head(tmp_path)["sha256"] == HEAD_SHA
