"""What no result may be made of: refused or flagged by name, and nothing whole is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from exits import code_of
from made_hearts import clip, write_clips, write_model

from echocli.clips.record import Clip
from echocli.errors import ExitCode
from echocli.tables import SCHEMA, Embeddings, rows_sha256, write_embeddings

CPU = ("--device", "cpu", "--precision", "fp32")


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "model")
    return tmp_path


def embedded(path: Path, *, model: str = "one", broken: bool = False) -> str:
    """Write embeddings of 30 clips, the last ten of abnormal patients."""
    ids = [f"c{number:02d}" for number in range(30)]
    names = {"clip_id": ids, "patient_id": [f"p{name}" for name in ids]}
    table = pd.DataFrame({**names, "study_id": ids, "source_sha256": ids})
    table["normal"] = [number < 20 for number in range(30)]
    vectors = np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32)
    if broken:
        vectors[7] = np.nan
    told = {"schema": SCHEMA, "per": "clip", "model_sha256": model}
    told["rows_sha256"] = rows_sha256(table, vectors)
    write_embeddings(path, Embeddings(table, vectors, told))
    return path.name


def test_a_row_without_numbers_is_named(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = embedded(study / "e.parquet", broken=True)
    assert code_of(["score", name, "--anomaly", "-o", "none.csv"]) == ExitCode.INPUT
    assert "c07" in capsys.readouterr().err
    assert not list(study.glob("none*"))


def test_normals_of_another_model_are_refused(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = embedded(study / "e.parquet")
    theirs = embedded(study / "n.parquet", model="two")
    words = ("score", ours, "--anomaly", "--normals", theirs, "-o", "none.csv")
    assert code_of([*words]) == ExitCode.INPUT
    assert "model_sha256: one and two" in capsys.readouterr().err
    assert not list(study.glob("none*"))


def test_abnormal_rows_of_a_bank_are_left_out_aloud(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = embedded(study / "e.parquet")
    words = ("score", name, "--anomaly", "--normals", name, "-o", "scores.csv", "--k", "2")
    assert code_of([*words, "--false-positive-rate", "0.3"]) == ExitCode.DONE
    assert "10 row(s) that are abnormal" in capsys.readouterr().err
    nearest = pd.read_csv(study / "scores.csv")["nearest"].str.split(";").explode().dropna()
    assert {int(one.strip()[1:]) < 20 for one in nearest} == {True}


def labelled(one: Clip, **labels: float | str | bool) -> Clip:
    return replace(one, labels={**one.labels, **labels})


def two_splits(one: Clip) -> Clip:
    """Return a clip of the training patient 1 in the test split."""
    return labelled(replace(one, patient_id="patient1"), split="test")


HEARTS: dict[str, tuple[Callable[[int, Clip], Clip], tuple[str, ...], str]] = {
    "ef of 140": (
        lambda n, one: labelled(one, ef_percent=140.0) if n == 3 else one,
        ("lvef", "fit"),
        "outside 0 to 100",
    ),
    "fractions": (lambda n, one: labelled(one, ef_percent=0.5), ("lvef", "fit"), "fractions"),
    "one class": (
        lambda n, one: labelled(one, normal=True),
        ("classify", "fit"),
        "normal",
    ),
    "lvef, two splits": (
        lambda n, one: two_splits(one) if n == 4 else one,
        ("lvef", "fit"),
        "more than one split",
    ),
    "classify, two splits": (
        lambda n, one: two_splits(one) if n == 4 else one,
        ("classify", "fit", "--label", "ef_percent<50"),
        "more than one split",
    ),
    "segment, two splits": (
        lambda n, one: two_splits(one) if n == 4 else one,
        ("segment", "fit", "--steps", "1"),
        "more than one split",
    ),
}


@pytest.mark.parametrize("fault", HEARTS)
def test_what_no_head_may_be_fitted_on(
    study: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    spoil, words, told = HEARTS[fault]
    write_clips(study / "clips", [spoil(n, clip(n)) for n in range(10)])
    assert code_of([*words, "clips", "--model", "model", "-o", "head", *CPU]) == ExitCode.INPUT
    assert told in capsys.readouterr().err
    assert not (study / "head").exists()


def test_uncalibrated_masks_give_no_millilitres_and_say_so(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clips(study / "clips", [clip(n, scale=n > 0) for n in range(2)])
    assert code_of(["lvef", "--from-masks", "clips", "-o", "ef.csv"]) == ExitCode.DONE
    assert "1 of 2 study(ies) have no known scale: no millilitres" in capsys.readouterr().err
    table = pd.read_csv(study / "ef.csv").set_index("patient_id")
    assert np.isnan(table.loc["patient0", "edv_ml"])
    assert "uncalibrated" in table.loc["patient0", "flags"]
    assert table.loc["patient1", "edv_ml"] > 0
