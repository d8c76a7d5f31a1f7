"""Files that are read for one result alone: several may be named, and the result says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from contract import LIGHT, call

from echocli.errors import ExitCode


def test_results_of_files_are_whole_beside_clips_that_they_are_not_of(study: Path) -> None:
    files = sorted(str(path) for path in (study / "dicom").rglob("*.dcm"))
    assert len(files) > 1
    made = call(study, "embed", *files, "-o", "place/e.parquet", "--windows", "1", *LIGHT)
    assert made.code == 0, made.err
    assert f"{len(files)} row(s)" in made.err
    for words in (
        ("lvef", "dicom", "-o", "place/ef.csv"),
        ("segment", "dicom", "-o", "place/masks", "--overlays", "0"),
    ):
        assert call(study, *words, *LIGHT).code == 0
    assert call(study, "embed", "-o", "normals.parquet", "--windows", "1", *LIGHT).code == 0
    score = ("score", "--anomaly", "place/e.parquet", "--normals", "normals.parquet")
    scored = call(study, *score, "-o", "place/scores.csv")
    assert scored.code == 0, scored.err

    for form in (
        "lvef-predict-1",
        "segment-predict-1",
        "classify-predict-1",
        "score-1",
        "vote-1",
    ):
        assert "read_in_place" in json.loads(call(study, "schema", form).out)["properties"]
    for name in ("ef", "masks/segment", "scores"):
        assert json.loads((study / f"place/{name}.json").read_text())["read_in_place"] is True
    found = json.loads(call(study, "verify", "--json").out)["outputs"]
    here = {row["path"]: row for row in found if row["path"].startswith("place")}
    assert len(here) == 4
    assert all(row["whole"] and row["looked_at"].endswith("of files") for row in here.values())


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        ("begun", "a run or a model"),
        ("runs/first/model", "a run or a model"),
        ("heads/lvef", "a head"),
        ("embeddings.parquet", "a table of embeddings"),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        "embed",
        "export",
        "inspect",
        "lvef",
        "lvef evaluate",
        "preprocess",
        "pretrain",
        "segment",
    ],
)
def test_a_result_that_is_named_as_clips_is_called_what_it_is(
    study: Path, command: str, result: str, kind: str
) -> None:
    (study / "begun" / "checkpoints").mkdir(parents=True, exist_ok=True)
    (study / "begun" / "config.json").write_text("{}")
    said = call(study, *command.split(), result)
    assert said.code == ExitCode.USAGE
    assert f"is {kind}; clips or recordings are read here." in said.err
    assert "named with --head, models with --model" in " ".join(said.err.split())
    assert result not in said.err, "what was typed is not repeated"
