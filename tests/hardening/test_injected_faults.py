"""Faults that would give wrong results end each command with a code, and write nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from exits import code_of
from hard_study import CPU, write_sources

from echocli.checkpoint import load_model, save_head
from echocli.clips.store import ClipSet
from echocli.config import to_table
from echocli.errors import ExitCode
from echocli.tables import SCHEMA, Embeddings, rows_sha256, write_embeddings


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    write_sources(folder)
    return folder


@pytest.mark.parametrize("fault", ["shuffled rows", "dropped clip"])
def test_rows_that_are_not_as_they_were_written_are_not_scored(
    study: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.chdir(study)
    table = ClipSet.open(study / "clips").manifest
    table = table[["clip_id", "patient_id", "study_id", "source_sha256", "ef_percent"]]
    vectors = np.random.default_rng(0).normal(size=(len(table), 6)).astype(np.float32)
    told = {"schema": SCHEMA, "per": "clip", "rows_sha256": rows_sha256(table, vectors)}
    if fault == "shuffled rows":
        vectors = np.roll(vectors, 1, axis=0)
    else:
        table, vectors = table.iloc[1:], vectors[1:]
    write_embeddings(study / "moved.parquet", Embeddings(table, vectors, told))
    words = ("score", "moved.parquet", "--anomaly", "--normal-rule", "ef_percent>=30")
    assert code_of([*words, "-o", "none.csv", "--device", "cpu"]) == ExitCode.INPUT
    assert not list(study.glob("none.*"))


@pytest.mark.parametrize("fault", ["wrong model", "wrong normalisation", "probe not loaded"])
def test_a_head_that_does_not_fit_predicts_nothing(
    study: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.chdir(study)
    model = load_model(study / "runs/first")
    data = to_table(model.data)
    config = {"task": "lvef", "model": "../../runs/first/model", "model_sha256": model.sha256}
    head = study / "heads" / fault
    if fault == "wrong model":
        config["model_sha256"] = "0" * 64
    if fault == "wrong normalisation":
        data["mean"] = [0.5]
    save_head(head, {"weight": torch.zeros(3)}, {**config, "data": data})
    if fault == "probe not loaded":
        (head / "head.safetensors").unlink()
    words = ("lvef", "predict", "clips", "--head", str(head), "-o", "none.csv", *CPU)
    assert code_of([*words]) == ExitCode.INPUT
    assert not list(study.glob("none.*"))
