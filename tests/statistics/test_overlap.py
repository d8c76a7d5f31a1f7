from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics

from echocli.statistics.overlap import REGIONS, dice, jaccard, overlap, overlaps

GENERATOR = np.random.default_rng(0)
TRUTH = GENERATOR.integers(0, 4, size=(20, 15))
NOISE = GENERATOR.integers(0, 4, size=(20, 15))
PREDICTED = np.where(
    GENERATOR.random((20, 15)) < 0.7, TRUTH, GENERATOR.integers(0, 4, (20, 15))
)


def test_every_region_equals_sklearn_on_flat_pixels() -> None:
    result = overlaps(PREDICTED, TRUTH)
    assert set(result) == {"lv_cavity", "lv_myocardium", "left_atrium", "lv_epicardium"}
    for name, values in REGIONS.items():
        ours, theirs = np.isin(PREDICTED, values).ravel(), np.isin(TRUTH, values).ravel()
        assert result[name] == pytest.approx(
            [
                metrics.f1_score(theirs, ours),
                metrics.jaccard_score(theirs, ours),
                metrics.precision_score(theirs, ours),
                metrics.recall_score(theirs, ours),
            ]
        )


def test_every_region_equals_monais() -> None:
    monai = pytest.importorskip("monai.metrics", reason="MONAI is an optional judge")
    torch = pytest.importorskip("torch")
    result = overlaps(PREDICTED, TRUTH)
    for name, values in REGIONS.items():
        flags = [np.isin(m, values).astype(np.float32) for m in (PREDICTED, TRUTH)]
        maps = [torch.from_numpy(one)[None, None] for one in flags]
        counts = monai.get_confusion_matrix(*maps, include_background=True)
        judged = (
            monai.compute_dice(*maps).item(),
            monai.compute_iou(*maps).item(),
            monai.compute_confusion_matrix_metric("precision", counts).item(),
            monai.compute_confusion_matrix_metric("recall", counts).item(),
        )
        assert result[name] == pytest.approx(judged, abs=1e-6)


def test_perfect_is_one_disjoint_is_zero_and_jaccard_follows_from_dice() -> None:
    cavity = TRUTH == 1
    assert dice(cavity, cavity) == jaccard(cavity, cavity) == 1
    assert dice(cavity, ~cavity) == jaccard(cavity, ~cavity) == 0
    d, j = dice(PREDICTED == 1, cavity), jaccard(PREDICTED == 1, cavity)
    assert j == pytest.approx(d / (2 - d))


def test_empty_masks_follow_the_stated_rule() -> None:
    none, some = np.zeros((4, 4), bool), np.eye(4, dtype=bool)
    assert math.isnan(dice(none, none))
    assert math.isnan(jaccard(none, none))
    assert dice(none, some) == dice(some, none) == jaccard(none, some) == 0
    assert all(math.isnan(figure) for figure in overlap(none, none))
    assert overlap(none, some) == overlap(some, none) == (0, 0, 0, 0)


def test_cavity_and_muscle_together_need_both() -> None:
    cavity = np.zeros((8, 8), int)
    cavity[2:5, 2:5] = 1
    assert math.isnan(overlaps(cavity, cavity)["lv_epicardium"].dice)
    ring = cavity.copy()
    ring[1, 1:6] = 2
    # One map holds the muscle: that the other does not, counts.
    assert overlaps(cavity, ring)["lv_epicardium"].dice == pytest.approx(18 / 23)
    assert overlaps(cavity, ring)["lv_cavity"].dice == 1


def test_maps_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(20, 15\)"):
        overlaps(PREDICTED, TRUTH[:10])
