"""Distances, patients, votes, a bank read by the piece, and tables not to be believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf
from sklearn.metrics import balanced_accuracy_score, f1_score
from test_score import META, QUICK, embeddings, written

import echocli.table_formats as formats
from echocli.api._score import bank as bank_module
from echocli.api.score import ScoreConfig, score
from echocli.api.verify import verify
from echocli.api.vote import VoteConfig, vote
from echocli.errors import EchoError, UsageError
from echocli.tables import Embeddings, read_embeddings, write_embeddings

VOTE = VoteConfig(draws=50)


def config(**more: Any) -> ScoreConfig:
    return ScoreConfig(draws=50, **more)


@pytest.mark.parametrize("distance", ["whitened", "mahalanobis"])
def test_whitening_is_fitted_on_the_bank_and_nothing_else(
    tmp_path: Path, distance: str
) -> None:
    data = embeddings()
    found = score(written(tmp_path, data), config=config(distance=distance))
    table = found.table
    bank = np.flatnonzero(table["role"] == "bank")
    judge = LedoitWolf().fit(data.vectors[bank].astype(np.float64))
    assert found.summary["shrinkage"] == pytest.approx(judge.shrinkage_)
    inverse = np.linalg.inv(judge.covariance_)
    patients = table["patient_id"].to_numpy()
    for row in range(0, len(table), 31):
        query = data.vectors[row]
        others = bank[patients[bank] != patients[row]]
        near = sorted(mahalanobis(query, data.vectors[other], inverse) for other in others)
        own = mahalanobis(query, judge.location_, inverse)
        expected = own if distance == "mahalanobis" else np.mean(near[:10])
        assert table["score"][row] == pytest.approx(expected, rel=1e-4)
    # Others may be whatever they are: the bank's scores stay.
    data.vectors[table["role"] != "bank"] *= 50
    again = score(written(tmp_path, data, "b.parquet"), config=config(distance=distance)).table
    np.testing.assert_allclose(again["score"][bank], table["score"][bank], rtol=1e-5)


def test_clips_that_do_not_differ_cannot_be_whitened(tmp_path: Path) -> None:
    data = embeddings(30)
    same = Embeddings(data.table, np.ones_like(data.vectors), data.metadata)
    with pytest.raises(EchoError, match="do not differ"):
        score(written(tmp_path, same), config=config(distance="whitened"))


@pytest.mark.parametrize("aggregate", ["mean", "max"])
def test_patients_are_judged_by_patients(tmp_path: Path, aggregate: str) -> None:
    path, out = written(tmp_path, embeddings(clips=3)), tmp_path / "p.csv"
    clips = score(path, config=config(aggregate=aggregate))
    found = score(path, out=out, config=config(per="patient", aggregate=aggregate))
    table = found.table
    groups = clips.table.groupby("patient_id", sort=False)
    assert table["patient_id"].tolist() == list(groups.groups)
    np.testing.assert_allclose(table["score"], groups["score"].agg(aggregate))
    assert (table["clips"] == 3).all()
    assert "clip_id" not in table
    calibration = table["role"] == "calibration"
    limits = np.sort(table["score"][calibration])
    count = len(limits)
    expected = [(1 + (limits >= s).sum()) / (count + 1) for s in table["score"]]
    np.testing.assert_allclose(table["p_value"], expected)
    assert (table["anomalous"] == (table["p_value"] <= 0.05 + 1e-9)).all()
    assert found.summary["patient_metrics"] == clips.summary["patient_metrics"]
    assert found.summary["patient_metrics"]["auroc"]["value"] > 0.8
    assert verify(out).whole


def test_rows_of_patients_can_be_scored_too(tmp_path: Path) -> None:
    data = embeddings(clips=1)
    table = data.table.drop(columns=["clip_id", "study_id"])
    meta = {**META, "per": "patient"}
    path = written(tmp_path, Embeddings(table, data.vectors, meta), "p.parquet")
    ours, theirs = score(path, config=QUICK), score(written(tmp_path, data), config=QUICK)
    np.testing.assert_array_equal(ours.table["score"], theirs.table["score"])
    assert ours.table["nearest"][0].startswith("p0_")
    with pytest.raises(EchoError, match="differ in per"):
        score(path, normals=written(tmp_path, data))


def test_pieces_formats_and_slabs_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = embeddings()
    data.vectors[10:30] = data.vectors[10]  # ties
    whole = score(written(tmp_path, data), config=QUICK)
    monkeypatch.setattr(formats, "BATCH_ROWS", 7)
    monkeypatch.setattr(formats, "GROUP_BYTES", 11 * 32)
    monkeypatch.setattr(bank_module, "QUERIES", 20)
    for name in ("e.csv", "e.safetensors", "g.parquet"):
        found = score(written(tmp_path, data, name), config=QUICK)
        pd.testing.assert_frame_equal(found.table, whole.table)
    # A bank of its own, read twice: for calibration and for the queries.
    one, other = (
        score(tmp_path / "g.parquet", normals=normals, config=QUICK)
        for normals in (tmp_path / "g.parquet", written(tmp_path, data, "h.csv"))
    )
    pd.testing.assert_frame_equal(one.table, other.table)
    np.testing.assert_array_equal(one.table["score"], whole.table["score"])


def rolled(data: Embeddings) -> Embeddings:
    return Embeddings(data.table, np.roll(data.vectors, 1, axis=0), data.metadata)


def shortened(data: Embeddings) -> Embeddings:
    return Embeddings(data.table[:-1], data.vectors[:-1], data.metadata)


def dimmed(data: Embeddings) -> Embeddings:
    return Embeddings(data.table, data.vectors * np.float32(0.5), data.metadata)


@pytest.mark.parametrize("change", [rolled, shortened, dimmed])
@pytest.mark.parametrize("judge", ["score", "vote", "normals"])
def test_moved_missing_and_changed_rows_are_refused(
    tmp_path: Path, change: Any, judge: str
) -> None:
    true = read_embeddings(written(tmp_path, embeddings(30)))  # with the hash of its rows
    path, out = tmp_path / "c.parquet", tmp_path / "s.csv"
    write_embeddings(path, change(true))
    judges = {
        "score": lambda: score(path, out=out),
        "vote": lambda: vote(path, out=out),
        "normals": lambda: score(tmp_path / "e.parquet", normals=path, out=out),
    }
    with pytest.raises(EchoError, match="missing, moved or changed"):
        judges[judge]()
    assert not out.exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [("model_sha256", "b" * 64), ("data", {"frames": 16, "mean": [0.1]}), ("pool", "cls")],
)
def test_other_models_and_contracts_are_named(tmp_path: Path, key: str, value: Any) -> None:
    other = embeddings(30, seed=1)
    other.metadata[key] = value
    with pytest.raises(EchoError, match=f"differ in {key}"):
        score(written(tmp_path, embeddings()), normals=written(tmp_path, other, "o.parquet"))


@pytest.mark.parametrize("part", [{"per": "token"}, {"per": "frame"}, {"keep_windows": True}])
def test_parts_of_clips_are_no_clips(tmp_path: Path, part: dict[str, Any]) -> None:
    data = embeddings(30)
    data.metadata.update(part)
    with pytest.raises(EchoError, match="parts of clips"):
        score(written(tmp_path, data))


def test_a_patient_in_two_splits_and_a_table_without_hash_are_told(tmp_path: Path) -> None:
    data = embeddings(30)
    data.table.loc[0, "split"] = "test"
    with pytest.raises(EchoError, match="split"):
        score(written(tmp_path, data))
    with pytest.raises(EchoError, match="split"):
        vote(written(tmp_path, data, "v.parquet"))


def test_the_vote_is_the_releases_without_its_leaks(tmp_path: Path) -> None:
    data, out = embeddings(), tmp_path / "v.csv"
    found = vote(written(tmp_path, data), out=out, config=VOTE)
    table = found.table
    bank = np.flatnonzero((table["split"] == "train").to_numpy())
    assert (table["role"][bank] == "bank").all()
    assert (table["role"] == "bank").sum() == len(bank)
    units = data.vectors / np.linalg.norm(data.vectors, axis=1, keepdims=True)
    for row in range(0, len(table), 17):
        others = bank[table["patient_id"].to_numpy()[bank] != table["patient_id"][row]]
        cosine = units[others] @ units[row]
        near = np.argsort(-cosine, kind="stable")[:10]
        weight = np.exp(cosine[near] / 0.07)
        said = weight @ ~data.table["normal"].to_numpy()[others[near]] / weight.sum()
        assert table["share_abnormal"][row] == pytest.approx(said, abs=1e-5)
    test = table[table["split"] == "test"]
    truth, called = ~test["normal"].to_numpy(bool), test["called_abnormal"].to_numpy()
    metrics = found.summary["metrics"]
    assert metrics["macro_f1"]["value"] == pytest.approx(
        f1_score(truth, called, average="macro")
    )
    expected = balanced_accuracy_score(truth, called)
    assert metrics["balanced_accuracy"]["value"] == pytest.approx(expected)
    assert verify(out).whole


def test_a_vote_needs_both_classes_and_labels(tmp_path: Path) -> None:
    data, out = embeddings(30), tmp_path / "v.csv"
    for labels, error, words in [
        (data.table["normal"] | (data.table["split"] == "train"), EchoError, "and 0 abnormal"),
        (data.table["patient_id"] == "p0_2", EchoError, "one labelled patient"),
        (None, UsageError, "Nothing says"),
    ]:
        table = data.table.assign(normal=labels)
        if words.startswith("one"):
            of_train = table["patient_id"].isin(["p0_0"])
            table["normal"] = np.where(of_train, np.arange(60) % 2 == 0, None)
        path = written(tmp_path, Embeddings(table, data.vectors, dict(META)))
        with pytest.raises(error, match=words):
            vote(path, out=out, config=VOTE)
        assert not out.exists()
    one_class = data.table["normal"] | (data.table["split"] == "test")
    path = written(
        tmp_path, Embeddings(data.table.assign(normal=one_class), data.vectors, dict(META))
    )
    assert vote(path, config=VOTE).summary["metrics"] is None


@pytest.mark.parametrize("wrong", [{"distance": "manhattan"}, {"per": "frame"}, {"k": 0}])
def test_wrong_settings_are_wrong_usage(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ScoreConfig(**wrong)


def test_over_many_divisions_normals_are_called_at_the_rate_asked_for(tmp_path: Path) -> None:
    # One set of normals, divided anew a hundred times; none of the called is abnormal.
    generator = np.random.default_rng(0)
    data = embeddings(240, clips=1)
    data.vectors[:] = generator.normal(0, 1, (240, 8)) + np.eye(8)[0] * 4
    data.table["normal"] = True
    called = []
    for _ in range(100):
        splits = generator.permutation(["train"] * 120 + ["val"] * 60 + ["test"] * 60)
        data.table["split"] = splits
        write_embeddings(tmp_path / "e.safetensors", Embeddings(data.table, data.vectors, META))
        table = score(tmp_path / "e.safetensors", config=config()).table
        called.append(table["anomalous"][splits == "test"].mean())
    assert 0.03 < np.mean(called) < 0.07
