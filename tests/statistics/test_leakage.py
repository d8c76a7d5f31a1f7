from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats.contingency import association

from echocli.datasets.phantom import PhantomConfig, phantom_clips
from echocli.statistics.confounding import confounding, cramers_v
from echocli.statistics.leakage import (
    audit,
    fingerprint,
    near_duplicates,
    near_embeddings,
    shared_values,
)

SPLITS = np.array(["train", "val", "test", "train", "test", "test"])


@pytest.fixture(scope="module")
def hearts() -> list[np.ndarray]:
    config = PhantomConfig(size=48, seconds=(1.0, 1.2), frame_rates_hz=(20.0, 25.0))
    return [clip.frames for clip in phantom_clips(config, 6, seed=4)]


def spoilt(frames: np.ndarray) -> np.ndarray:
    """The same loop once more: brighter, larger, with noise, its first frame lost."""
    noise = np.random.default_rng(0).normal(0, 4, frames.shape)
    louder = np.clip(frames * 1.15 + noise * (frames > 0), 0, 255).astype(np.uint8)
    return np.stack([np.asarray(Image.fromarray(f).resize((70, 64))) for f in louder[1:]])


def test_one_loop_is_known_again_and_hearts_are_told_apart(hearts: list[np.ndarray]) -> None:
    prints = np.stack([fingerprint(frames) for frames in [*hearts, spoilt(hearts[0])]])
    splits = np.array([*SPLITS, "test"])
    assert near_duplicates(prints, splits).tolist() == [[0, 6]]
    same_side = np.array([*SPLITS, "train"])
    assert not len(near_duplicates(prints, same_side))


def test_pairs_are_those_of_a_slow_loop() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 2**63, (4, 8), dtype=np.uint64)
    prints = base[rng.integers(0, 4, 150)]
    splits = rng.choice(["train", "val", "test"], 150)
    expected = [
        [a, b]
        for a in range(150)
        for b in range(a + 1, 150)
        if splits[a] != splits[b] and (prints[a] == prints[b]).all()
    ]
    assert near_duplicates(prints, splits, 0).tolist() == expected
    vectors = prints.astype(np.float32)
    assert near_embeddings(vectors, splits).tolist() == expected


def test_embeddings_that_all_point_one_way_are_no_duplicates() -> None:
    vectors = np.random.default_rng(0).normal(size=(6, 20)).astype(np.float32) + 100
    assert not len(near_embeddings(vectors, SPLITS))
    vectors[4] = vectors[0]
    assert near_embeddings(vectors, SPLITS).tolist() == [[0, 4]]


def test_shared_patients_and_files_are_found_between_any_two_splits() -> None:
    patients = ["a", "b", "a", "a", "c", "b"]
    found = shared_values(patients, SPLITS)
    assert [(s.splits, s.count, s.first) for s in found] == [
        (("train", "test"), 1, ("a",)),
        (("val", "test"), 1, ("b",)),
    ]
    assert shared_values(list("abcdef"), SPLITS) == []


def test_the_audit_tells_everything_in_words(hearts: list[np.ndarray]) -> None:
    table = pd.DataFrame(
        {
            "clip_id": [f"clip{i}" for i in range(6)],
            "patient_id": list("abcdef"),
            "source_sha256": ["x", "y", "x", "z", "w", "v"],
        }
    )
    prints = np.stack([fingerprint(frames) for frames in hearts])
    prints[5] = prints[1]
    found = audit(table, SPLITS, prints)
    assert found["near_duplicates"]["first"] == [["clip1", "clip5"]]
    assert len(found["findings"]) == 2
    clean = audit(table.assign(source_sha256=list("123456")), SPLITS)
    assert clean["findings"] == []
    assert clean["near_duplicates"]["pairs"] is None


def test_cramers_v_corrects_scipys_for_chance() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 3, 3000)
    second = np.where(rng.random(3000) < 0.5, first, rng.integers(0, 3, 3000))
    plain = association(pd.crosstab(first, second).to_numpy(), method="cramer")
    assert cramers_v(first, second) == pytest.approx(plain, abs=2e-3)
    small = [
        cramers_v(rng.integers(0, 3, 30).tolist(), rng.integers(0, 4, 30).tolist())
        for _ in range(50)
    ]
    assert np.mean(small) < 0.1  # scipy's mean is 0.32 here
    assert cramers_v(first, first) == pytest.approx(1, abs=1e-3)
    assert np.isnan(cramers_v(first, np.zeros(3000)))


def clinic(n: int, bound: float) -> tuple[pd.DataFrame, np.ndarray]:
    """Patients whose scanner tells their label as often as is asked for."""
    rng = np.random.default_rng(1)
    label = rng.integers(0, 2, n)
    scanner = np.where(rng.random(n) < bound, label, rng.integers(0, 2, n))
    table = pd.DataFrame(
        {
            "patient_id": [f"p{i}" for i in range(n)],
            "scanner": np.where(scanner == 1, "one", "other maker"),
            "frame_rate_hz": rng.uniform(20, 80, n),
            "dataset": "same",
        }
    )
    table.loc[:3, "frame_rate_hz"] = np.nan
    return table, label


def test_a_label_that_the_scanner_tells_is_called_out() -> None:
    table, label = clinic(200, 0.8)
    found = confounding(table, label, seed=0, draws=200)
    assert found["columns"] == ["scanner", "frame_rate_hz"]
    assert found["cramers_v"]["scanner"] > 0.7
    assert found["auroc_of_metadata"]["low"] > 0.8
    assert len(found["findings"]) == 2
    repeated = pd.concat([table, table, table], ignore_index=True)
    again = confounding(repeated, np.tile(label, 3), seed=0, draws=200)
    assert again == found


def test_a_label_that_metadata_do_not_tell_is_left_alone() -> None:
    table, label = clinic(200, 0.0)
    found = confounding(table, label, seed=0, draws=200)
    assert found["findings"] == []
    assert found["auroc_of_metadata"]["low"] < 0.5
    bare = confounding(table[["patient_id"]], label, seed=0)
    assert bare["auroc_of_metadata"] is None
