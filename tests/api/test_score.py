from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ears import Ears

import echocli.api.score as api
from echocli.api._normal import choose_roles, normality, patients_needed
from echocli.api.score import ScoreConfig, ScoreResult
from echocli.errors import EchoError, UsageError
from echocli.files import read_json
from echocli.tables import Embeddings, write_embeddings

META = {
    "schema": "echocli.embeddings/1",
    "model_sha256": "a" * 64,
    "pool": "mean_std",
    "data": {"frames": 16},
    "windows": 3,
}


QUICK = ScoreConfig(draws=100)


def score(path: Path, *, config: ScoreConfig = QUICK, **options: Any) -> ScoreResult:
    return api.score(path, config=config, **options)


def embeddings(patients: int = 120, clips: int = 2, *, seed: int = 0) -> Embeddings:
    """Normals around one direction, abnormals (a third) around another."""
    generator = np.random.default_rng(seed)
    rows, vectors = [], []
    for patient in range(patients):
        abnormal = patient % 3 == 0
        heart = np.r_[5, 2.5 * abnormal, np.zeros(6)] + generator.normal(0, 0.6, 8)
        for clip in range(clips):
            rows.append(
                {
                    "clip_id": f"c{seed}_{patient}_{clip}",
                    "patient_id": f"p{seed}_{patient}",
                    "study_id": f"s{patient}",
                    "source_sha256": f"h{patient}_{clip}",
                    "normal": not abnormal,
                    "ef_percent": 35.0 if abnormal else 62.0,
                    "split": ("train", "train", "val", "test")[patient // 3 % 4],
                }
            )
            vectors.append(heart + generator.normal(0, 0.2, 8))
    return Embeddings(pd.DataFrame(rows), np.array(vectors, np.float32), dict(META))


def written(folder: Path, table: Embeddings, name: str = "e.parquet") -> Path:
    write_embeddings(folder / name, table)
    return folder / name


def test_every_clip_is_scored_against_normals_of_other_patients(tmp_path: Path) -> None:
    data = embeddings()
    out = tmp_path / "scores.csv"
    result = score(written(tmp_path, data), out=out)
    table = pd.read_csv(out)
    assert list(table["clip_id"]) == list(data.table["clip_id"])
    assert set(table["role"]) == {"bank", "calibration", "scored"}
    units = data.vectors / np.linalg.norm(data.vectors, axis=1, keepdims=True)
    bank = np.flatnonzero(table["role"] == "bank")
    for row in range(0, len(table), 7):
        others = bank[table["patient_id"].to_numpy()[bank] != table["patient_id"][row]]
        distances = np.sort(1 - units[others] @ units[row])
        assert table["score"][row] == pytest.approx(distances[:10].mean(), abs=1e-5)
        nearest = others[np.argmin(1 - units[others] @ units[row])]
        assert table["nearest"][row].split(";")[0] == table["clip_id"][nearest]
    assert result.out == out


def test_bank_and_calibration_are_normal_apart_and_never_for_testing(tmp_path: Path) -> None:
    table = score(written(tmp_path, embeddings())).table
    judges = table[table["role"] != "scored"]
    assert judges["normal"].all()
    assert (judges["split"] != "test").all()
    bank, calibration = (
        set(table["patient_id"][table["role"] == role]) for role in ("bank", "calibration")
    )
    assert bank.isdisjoint(calibration)
    assert len(calibration) >= patients_needed(0.05)


def test_p_values_and_threshold_say_the_same_and_are_written(tmp_path: Path) -> None:
    result = score(written(tmp_path, embeddings()), out=tmp_path / "s.csv")
    table, summary = result.table, read_json(tmp_path / "s.json")
    assert summary["schema"] == "echocli.score/1"
    assert (table["anomalous"] == (table["p_value"] <= 0.05 + 1e-9)).all()
    assert (table["anomalous"] == (table["score"] > summary["threshold"])).all()
    assert summary["metrics"]["auroc"]["value"] > 0.9
    assert summary["metrics"]["auroc"]["low"] < summary["metrics"]["auroc"]["high"]
    test = table[table["split"] == "test"]
    assert summary["test"] == {
        "clips": len(test),
        "patients": test["patient_id"].nunique(),
        "abnormal_clips": int((~test["normal"].astype(bool)).sum()),
        "abnormal_patients": test[~test["normal"].astype(bool)]["patient_id"].nunique(),
    }
    assert summary["n_anomalous"] == int(table["anomalous"].sum())


def test_normals_are_called_at_about_the_chosen_rate(tmp_path: Path) -> None:
    called = []
    for seed in range(12):
        table = score(
            written(tmp_path, embeddings(seed=seed), f"{seed}.parquet"),
            config=ScoreConfig(false_positive_rate=0.1, draws=2),
        ).table
        fresh = table[table["normal"].astype(bool) & (table["role"] == "scored")]
        called.append(fresh["anomalous"].mean())
    assert 0.03 < np.mean(called) < 0.17


def test_a_rule_says_the_same_as_the_column(tmp_path: Path) -> None:
    data = embeddings()
    by_column = score(written(tmp_path, data))
    del data.table["normal"]
    by_rule = score(written(tmp_path, data, "r.parquet"), normal_rule="ef>=55")
    pd.testing.assert_series_equal(by_rule.table["score"], by_column.table["score"])
    assert by_rule.summary["source_of_normal"] == "the rule ef>=55"


def test_normals_may_come_from_another_table(tmp_path: Path) -> None:
    normals = embeddings(60, seed=1)
    keep = normals.table["normal"].to_numpy()
    normals = Embeddings(
        normals.table[keep].reset_index(drop=True), normals.vectors[keep], normals.metadata
    )
    data = embeddings(30)
    del data.table["normal"], data.table["split"]
    result = score(written(tmp_path, data), normals=written(tmp_path, normals, "n.parquet"))
    assert "normal" not in result.table
    assert set(result.table["role"]) == {"scored"}
    assert result.table["nearest"].str.startswith("c1_").all()
    assert result.summary["metrics"] is None


def test_embeddings_of_another_model_are_refused(tmp_path: Path) -> None:
    other = embeddings(30, seed=1)
    other.metadata["model_sha256"] = "b" * 64
    with pytest.raises(EchoError, match="differ in model_sha256"):
        score(
            written(tmp_path, embeddings()), normals=written(tmp_path, other, "other.parquet")
        )


def test_of_labelled_rows_given_as_normals_only_the_normal_ones_count(tmp_path: Path) -> None:
    path, given = written(tmp_path, embeddings(30)), embeddings(60, seed=1)
    given.table["normal"] = given.table["normal"].astype(object)
    given.table.loc[:3, "normal"] = None  # the clips of two patients, one of each kind
    ears = Ears()
    normals = written(tmp_path, given, "n.parquet")
    found = score(path, normals=normals, reporter=ears)
    assert "38 row(s) that are abnormal and 4 that are unknown" in ears.heard[0]
    assert "only the 78 normal" in ears.heard[0]
    keep = (given.table["normal"] == True).to_numpy()  # noqa: E712
    clean = given.table[keep].drop(columns="normal").reset_index(drop=True)
    alone = Embeddings(clean, given.vectors[keep], dict(META))
    pd.testing.assert_frame_equal(
        found.table, score(path, normals=written(tmp_path, alone, "c.parquet")).table
    )
    by_rule = score(path, normals=normals, normal_rule="ef>=55", reporter=ears)
    assert "40 row(s) that are abnormal and 0 that are unknown" in ears.heard[2]
    assert by_rule.summary["source_of_normal"] == "--normals and the rule ef>=55"
    given.table["normal"] = False
    with pytest.raises(EchoError, match="No row given by --normals"):
        score(path, normals=written(tmp_path, given, "none.parquet"))
    with pytest.raises(UsageError, match="no label column rhythm"):
        score(path, normals=normals, normal_rule="rhythm==sinus")
    with pytest.raises(UsageError, match="is not a condition") as caught:
        score(path, normals=normals, normal_rule="ef>=55 und sex==F")
    assert "joined by and" in caught.value.remedy
    (tmp_path / "list.csv").write_text("a,b\n1,2\n")
    with pytest.raises(EchoError, match="given by --normals holds no embeddings"):
        score(path, normals=tmp_path / "list.csv")


@pytest.mark.parametrize("missing", ["absent", "empty"])
def test_nothing_says_what_is_normal(tmp_path: Path, missing: str) -> None:
    data = embeddings(30)
    data.table["normal"] = None
    if missing == "absent":
        del data.table["normal"]
    out = tmp_path / "scores.csv"
    with pytest.raises(UsageError) as caught:
        score(written(tmp_path, data), out=out)
    for way in ("`normal`", "--normals", "--normal-rule"):
        assert way in caught.value.remedy
    assert not out.exists()


def test_nan_rows_are_refused_by_clip(tmp_path: Path) -> None:
    data = embeddings(30)
    data.vectors[7] = np.nan
    with pytest.raises(EchoError, match=str(data.table["clip_id"][7])):
        score(written(tmp_path, data))


def test_one_class_and_few_normals_give_scores_without_false_figures(tmp_path: Path) -> None:
    data = embeddings(24)
    data.table["normal"] = True
    result = score(written(tmp_path, data))
    assert result.summary["metrics"] is None
    assert result.summary["threshold"] is None
    assert not result.table["anomalous"].any()
    assert np.isfinite(result.table["score"]).all()


def test_nothing_is_clobbered(tmp_path: Path) -> None:
    path = written(tmp_path, embeddings(30))
    out = tmp_path / "scores.csv"
    out.write_text("mine")
    with pytest.raises(UsageError, match="already exists"):
        score(path, out=out)
    assert out.read_text() == "mine"
    score(path, out=out, overwrite=True)
    assert pd.read_csv(out).shape[0] == 60


def test_too_few_normal_patients_are_refused(tmp_path: Path) -> None:
    data = embeddings(30)
    data.table["normal"] = data.table["patient_id"] == "p0_1"
    with pytest.raises(EchoError, match="at least three"):
        score(written(tmp_path, data))


def test_rules_know_numbers_words_gaps_and_conjunctions() -> None:
    table = pd.DataFrame(
        {"ef_percent": [60.0, 50.0, np.nan, 70.0], "view": ["A4C", "a4c", "A2C", "A2C"]}
    )
    for rule, known, normal in [
        ("ef_percent>=55", [1, 1, 0, 1], [1, 0, 0, 1]),
        ("lvef < 55", [1, 1, 0, 1], [0, 1, 0, 0]),
        ("view==A4C", [1, 1, 1, 1], [1, 1, 0, 0]),
        ("ef_percent>=55 and view!=A4C", [1, 1, 0, 1], [0, 0, 0, 1]),
    ]:
        found = normality(table, rule)
        np.testing.assert_array_equal(found.known, np.array(known, bool), rule)
        np.testing.assert_array_equal(found.normal, np.array(normal, bool), rule)
    for bad in ("ef", "ef_percnt>=5", "view>A4C", "__import__('os')"):
        with pytest.raises(UsageError):
            normality(table, bad)


def test_roles_depend_on_pseudonyms_alone_and_leave_a_bank() -> None:
    patients = np.array([f"p{i}" for i in range(50)])
    splits = np.array((["train"] * 4 + ["val"]) * 10)
    normal = np.ones(50, bool)
    roles = choose_roles(normal, splits, patients, 0.05)
    assert roles.calibration.sum() == 19
    assert roles.calibration[splits == "val"].all()
    order = np.random.default_rng(0).permutation(50)
    shuffled = choose_roles(normal, splits[order], patients[order], 0.05)
    np.testing.assert_array_equal(shuffled.bank, roles.bank[order])
    few = choose_roles(normal[:6], splits[:6], patients[:6], 0.05)
    assert few.bank.sum() == few.calibration.sum() == 3
    only_val = choose_roles(normal[:6], np.full(6, "val"), patients[:6], 0.5)
    assert only_val.bank.sum() == 3
    # One in the bank could not be compared with another.
    lopsided = choose_roles(normal[:4], np.array(["train", *["val"] * 3]), patients[:4], 0.5)
    assert (lopsided.bank.sum(), lopsided.calibration.sum()) == (2, 2)
