from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from exits import code_of

from echocli.tables import Embeddings, write_embeddings

TENTH = ["--false-positive-rate", "0.1"]


def embeddings() -> Embeddings:
    generator = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "clip_id": [f"c{i:02d}" for i in range(90)],
            "patient_id": [f"p{i:02d}" for i in range(90)],
            "study_id": "s",
            "source_sha256": "h",
            "normal": [i % 3 > 0 for i in range(90)],
            "split": ["train", "val", "test"] * 10 + ["train"] * 30 + ["test"] * 30,
        }
    )
    vectors = generator.normal(0, 0.5, (90, 6)) + np.eye(6)[0] * 5
    vectors[~table["normal"].to_numpy()] += np.eye(6)[1] * 3
    meta = {"schema": "echocli.embeddings/1", "model_sha256": "a", "pool": "mean", "data": {}}
    return Embeddings(table, vectors.astype(np.float32), meta)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_embeddings(tmp_path / "embeddings.parquet", embeddings())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_in_a_study_folder_no_arguments_are_needed(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(["score", "--anomaly"]) == 0
    output = capsys.readouterr()
    assert output.out == "scores.csv\n"
    assert "AUROC" in output.err
    assert len(pd.read_csv(study / "scores.csv")) == 90
    assert json.loads((study / "scores.json").read_text())["schema"] == "echocli.score/1"


def test_without_anomaly_it_explains_and_writes_nothing(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(["score"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert "--anomaly" in output.err
    assert not (study / "scores.csv").exists()


def test_three_ways_are_told_where_nothing_says_what_is_normal(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = embeddings()
    del bare.table["normal"]
    write_embeddings(study / "bare.parquet", bare)
    assert code_of(["score", "--anomaly", "bare.parquet"]) == 2
    told = capsys.readouterr().err
    for way in ("`normal`", "--normals", "--normal-rule"):
        assert way in told
    assert not (study / "scores.csv").exists()


def test_json_is_one_document_and_quiet_is_one_path(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(["score", "--anomaly", "--json"]) == 0
    output = capsys.readouterr()
    document = json.loads(output.out)
    assert document["schema"] == "echocli.score/1"
    assert len(document["rows"]) == 90
    assert document["metrics"]["auroc"]["value"] > 0.8
    assert not (study / "scores.csv").exists()
    assert code_of(["score", "--anomaly", "-q", "-o", "s.csv", *TENTH]) == 0
    output = capsys.readouterr()
    assert (output.out, output.err) == ("s.csv\n", "")


def test_votes_patients_and_distances_at_the_command_line(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(["score", "--vote"]) == 0
    output = capsys.readouterr()
    assert output.out == "votes.csv\n"
    assert "macro-F1" in output.err
    assert json.loads((study / "votes.json").read_text())["schema"] == "echocli.vote/1"
    assert not (study / "scores.csv").exists()
    words = ["--distance", "whitened", "--per", "patient", "--aggregate", "max", "--json"]
    assert code_of(["score", "--anomaly", *words]) == 0
    document = json.loads(capsys.readouterr().out)
    told = [document[name] for name in ("distance", "per", "aggregate")]
    assert told == ["whitened", "patient", "max"]
    assert 0 < document["shrinkage"] < 1
    assert code_of(["score", "--anomaly", "--vote"]) == 2
    assert "--vote" in capsys.readouterr().err


def test_what_is_said_of_the_test_is_of_what_was_judged(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Patients of two clips each: figures of patients are not those of clips.
    pairs = embeddings()
    pairs.table["patient_id"] = pairs.table["patient_id"].map(lambda p: f"p{int(p[1:]) // 6}")
    pairs.table["normal"] = pairs.table["patient_id"].map(lambda p: int(p[1:]) % 3 > 0)
    pairs.table["split"] = pairs.table["patient_id"].map(
        lambda p: "test" if int(p[1:]) > 5 else "train"
    )
    write_embeddings(study / "pairs.parquet", pairs)
    words = ["score", "--anomaly", "pairs.parquet", "--false-positive-rate", "0.5"]
    for per in ("clip", "patient"):
        assert code_of([*words, "--per", per, "-o", f"{per}.csv"]) == 0
        said = capsys.readouterr().err
        figures = json.loads((study / f"{per}.json").read_text())
        auroc = figures["metrics" if per == "clip" else "patient_metrics"]["auroc"]
        assert f"AUROC {auroc['value']:.3f} (" in said
        counts = "54 clip(s) of 9 patient(s), 18" if per == "clip" else "on 9 patient(s), 3"
        assert f"{counts} abnormal" in said


def test_embeddings_of_patients_are_called_patients(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = embeddings()
    kept = whole.table.drop_duplicates("patient_id")
    table = kept.drop(columns=["clip_id", "study_id"], errors="ignore").reset_index(drop=True)
    vectors = whole.vectors[kept.index.to_numpy()]
    write_embeddings(study / "p.parquet", Embeddings(table, vectors, whole.metadata))
    words = ["score", "--anomaly", "p.parquet", "--false-positive-rate", "0.5", "-o", "p.csv"]
    assert code_of(words) == 0
    said = capsys.readouterr().err
    assert f"{len(table)} patient(s) against " in said
    assert "patient(s) called anomalous" in said
    assert "clip(s)" not in said


def test_a_perfect_area_is_told_without_an_interval(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    apart = embeddings()
    apart.vectors[~apart.table["normal"].to_numpy()] *= -9
    write_embeddings(study / "apart.parquet", apart)
    assert code_of(["score", "--anomaly", "apart.parquet", *TENTH]) == 0
    assert "AUROC 1.000 (no interval) on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--k", "0"], 2),
        (["--false-positive-rate", "5"], 2),
        (["--normal-rule", "nonsense"], 2),
        (["--distance", "far"], 2),
        (["--per", "frame"], 2),
        (["none.parquet"], 3),
    ],
)
def test_wrong_usage_and_missing_files_have_their_codes(
    study: Path, words: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(["score", "--anomaly", *words]) == code
    error = capsys.readouterr().err.splitlines()
    assert [line[:6] for line in error] == ["error:", "  fix:"]
    assert sorted(p.name for p in study.iterdir()) == ["embeddings.parquet"]


@pytest.mark.skipif(os.name != "posix", reason="pipes of a POSIX shell")
def test_in_a_pipeline_rows_go_from_left_to_right(tmp_path: Path) -> None:
    write_embeddings(tmp_path / "e.csv", embeddings())
    shell = f'cat e.csv | "{sys.executable}" -m echocli score --anomaly -o - | sort'
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", shell],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 91
    assert lines[0].startswith("c00,p00,")
    assert sum(line.startswith("clip_id,") for line in lines) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["e.csv"]
