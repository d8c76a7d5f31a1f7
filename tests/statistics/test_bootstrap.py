from __future__ import annotations

import numpy as np
import pytest

from echocli.statistics.bootstrap import bootstrap_intervals, patient_weights, weighted_mean

PATIENTS = np.array(["a", "a", "a", "b", "c", "c", "d", "e"])


def test_rows_of_a_patient_are_drawn_together_and_every_draw_has_as_many_patients() -> None:
    weights = np.concatenate(list(patient_weights(PATIENTS, seed=3, draws=500)))
    assert weights.shape == (500, 8)
    for patient in "abcde":
        own = weights[:, patient == PATIENTS]
        assert (own == own[:, :1]).all()
    first_rows = weights[:, [0, 3, 4, 6, 7]]
    assert (first_rows.sum(axis=1) == 5).all()
    np.testing.assert_allclose(first_rows.mean(axis=0), 1, atol=0.15)


def test_interval_equals_a_slow_loop_over_resampled_rows() -> None:
    values = np.random.default_rng(0).normal(size=8)
    metric = {"mean": lambda w: weighted_mean(values, w)}
    interval = bootstrap_intervals(metric, PATIENTS, seed=7, draws=400)["mean"]
    drawn = []
    for weights in np.concatenate(list(patient_weights(PATIENTS, seed=7, draws=400))):
        drawn.append(np.repeat(values, weights.astype(int)).mean())
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(np.percentile(drawn, 2.5))
    assert interval.high == pytest.approx(np.percentile(drawn, 97.5))


def test_repeating_every_clip_of_a_patient_does_not_narrow_the_interval() -> None:
    values = np.random.default_rng(1).normal(size=40)
    patients = np.arange(40)
    many = np.repeat(values, 10)
    one = bootstrap_intervals({"m": lambda w: weighted_mean(values, w)}, patients, seed=0)["m"]
    ten = bootstrap_intervals(
        {"m": lambda w: weighted_mean(many, w)}, np.repeat(patients, 10), seed=0
    )["m"]
    rows = bootstrap_intervals({"m": lambda w: weighted_mean(many, w)}, np.arange(400), seed=0)[
        "m"
    ]
    assert ten.low == pytest.approx(one.low)
    assert ten.high == pytest.approx(one.high)
    assert rows.high - rows.low < 0.5 * (one.high - one.low)  # what drawing clips would claim


def test_interval_of_a_mean_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(5)
    hits = 0
    for trial in range(200):
        values = generator.normal(size=60)
        interval = bootstrap_intervals(
            {"m": lambda w, v=values: weighted_mean(v, w)},
            np.arange(60),
            seed=trial,
            draws=300,
        )["m"]
        hits += interval.low <= 0 <= interval.high
    assert 178 <= hits <= 199  # 95 % of 200 is 190; a binomial's range of 1 in 10,000


def test_same_seed_same_interval_and_another_seed_another() -> None:
    values = np.arange(8.0)
    metric = {"m": lambda w: weighted_mean(values, w)}
    one, same, other = (
        bootstrap_intervals(metric, PATIENTS, seed=s, draws=50)["m"] for s in (1, 1, 2)
    )
    assert one == same
    assert one != other


def test_a_metric_that_most_draws_do_not_define_has_no_interval_and_json_stays_valid() -> None:
    def only_with_e_and_d(weights: np.ndarray) -> np.ndarray:
        return np.where((weights[:, 6] > 1) & (weights[:, 7] > 1), 1.0, np.nan)

    interval = bootstrap_intervals({"m": only_with_e_and_d}, PATIENTS, seed=0)["m"]
    assert interval.as_json() == {"value": None, "low": None, "high": None}


def test_a_large_table_is_drawn_in_blocks_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = np.concatenate(list(patient_weights(PATIENTS, seed=3, draws=50)))
    monkeypatch.setattr("echocli.statistics.bootstrap.CELLS_AT_ONCE", 24)
    blocks = list(patient_weights(PATIENTS, seed=3, draws=50))
    assert len(blocks) == 17
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


def test_nothing_to_draw_from_is_refused() -> None:
    with pytest.raises(ValueError, match="no rows"):
        bootstrap_intervals({}, [], seed=0)
    with pytest.raises(ValueError, match="level"):
        bootstrap_intervals({}, ["a"], seed=0, level=95)


def test_what_is_the_same_in_every_draw_has_no_interval() -> None:
    thirds = np.full(8, 1 / 3)
    same = bootstrap_intervals({"m": lambda w: weighted_mean(thirds, w)}, PATIENTS, seed=0)["m"]
    assert same.value == pytest.approx(1 / 3)
    assert np.isnan([same.low, same.high]).all()


def test_one_patient_has_figures_without_intervals_however_many_clips() -> None:
    values = np.arange(5.0)
    metric = {"m": lambda w: weighted_mean(values, w)}
    alone = bootstrap_intervals(metric, ["a"] * 5, seed=0)["m"]
    assert alone.value == 2.0
    assert np.isnan([alone.low, alone.high]).all()
    two = bootstrap_intervals(metric, ["a"] * 4 + ["b"], seed=0)["m"]
    assert two.low < two.value < two.high
