"""Learning rate, weight decay and momentum are those of the published trainings."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from oracles import schedules as slow

from echocli.models.ema import momentum_at
from echocli.models.optim import OptimConfig
from echocli.models.schedules import (
    cosine,
    learning_rate,
    longest_gradient,
    teacher_progress,
    weight_decay,
)

VJEPA = OptimConfig(
    steps=90_000,
    warmup_steps=12_000,
    start_lr=2e-4,
    lr=6.25e-4,
    min_lr=1e-6,
    stretch=1.25,
    weight_decay=0.04,
    weight_decay_end=0.4,
    clip=10.0,
    clip_in_warmup=False,
)
"""ViT-L/16 and ViT-H/16, as published."""
VJEPA2 = OptimConfig(
    steps=252_000,
    warmup_steps=12_000,
    start_lr=1e-4,
    lr=5.25e-4,
    min_lr=1e-6,
    after_warmup="constant",
    cooldown=1 / 21,
    weight_decay=0.04,
    weight_decay_end=0.04,
    clip=0.0,
)


def rates(config: OptimConfig) -> list[float]:
    return [learning_rate(step, config) for step in range(config.steps)]


def test_the_cosine_of_vjepa_is_stretched_and_cut_off() -> None:
    config = replace(VJEPA, steps=40, warmup_steps=6)
    expected = slow.vjepa(40, 50, 6, config.start_lr, config.lr, config.min_lr)
    assert rates(config) == pytest.approx(expected, rel=1e-12, abs=0)
    decays = [0.4 + (0.04 - 0.4) * share for share in slow.half_cosine(50)[1:41]]
    assert [weight_decay(i, config) for i in range(40)] == pytest.approx(
        decays, rel=1e-12, abs=0
    )
    assert [teacher_progress(i, config) for i in range(40)] == [i / 50 for i in range(40)]


@pytest.mark.parametrize(
    ("step", "lr", "decay", "momentum"),
    [
        (0, 2.0003541666666668e-4, 0.04000000007018384, 0.998),
        (11_999, 6.25e-4, 0.0500122533572534, 0.9982133155555556),
        (12_000, 6.249999998475624e-4, 0.0500139064875994, 0.9982133333333333),
        (44_999, 4.732039483766307e-4, 0.16437694101250946, 0.9987999822222222),
        (89_999, 7.504222442956086e-5, 0.36562305898749053, 0.9995999822222222),
    ],
)
def test_the_numbers_of_vjepa(step: int, lr: float, decay: float, momentum: float) -> None:
    assert learning_rate(step, VJEPA) == pytest.approx(lr, rel=1e-12, abs=0)
    assert weight_decay(step, VJEPA) == pytest.approx(decay, rel=1e-12, abs=0)
    progress = teacher_progress(step, VJEPA)
    assert momentum_at(progress, 0.998, 1.0) == pytest.approx(momentum, rel=1e-14, abs=0)


def test_vjepa2_warms_up_stays_and_cools_down() -> None:
    config = replace(VJEPA2, steps=42, warmup_steps=6, cooldown=1 / 7)
    expected = slow.vjepa2(6, 30, 6, config.start_lr, config.lr, config.min_lr)
    assert rates(config) == pytest.approx(expected, rel=1e-12, abs=0)
    assert {weight_decay(step, config) for step in range(42)} == {0.04}
    # As published: 12,000 steps up, 228,000 at the top, 12,000 down to the end.
    at = [0, 11_999, 239_999, 240_000, 245_999, 251_999]
    top, end = VJEPA2.lr, VJEPA2.min_lr
    published = [
        1e-4 + (top - 1e-4) / 12_000,
        top,
        top,
        top - (top - end) / 12_000,
        (top + end) / 2,
        end,
    ]
    assert [learning_rate(i, VJEPA2) for i in at] == pytest.approx(published, rel=1e-12, abs=0)


def test_the_cosine_of_videomae_is_ours_a_step_later() -> None:
    config = OptimConfig(steps=50, warmup_steps=10, lr=1.5e-4, min_lr=1e-5)
    table = slow.videomae_fall(50, 10, config.lr, config.min_lr)
    assert rates(config)[9:49] == pytest.approx(table, rel=1e-12, abs=0)


def test_learning_rate_rises_peaks_and_falls_to_its_end() -> None:
    config = OptimConfig(steps=100, warmup_steps=10, lr=1.0, min_lr=0.1, start_lr=0.5)
    found = rates(config)
    assert found[:10] == pytest.approx([0.5 + 0.05 * (i + 1) for i in range(10)])
    assert found[-1] == pytest.approx(0.1)
    assert all(before > after for before, after in pairwise(found[9:]))


def test_half_a_cosine_passes_through_the_middle() -> None:
    assert [cosine(p, 2.0, 1.0) for p in (0.0, 0.5, 1.0)] == pytest.approx([2.0, 1.5, 1.0])


@pytest.mark.parametrize("after", ["cosine", "constant"])
@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (1, 1), (3, 100), (3, 3), (3, 2)])
def test_very_short_trainings_have_a_learning_rate(steps: int, warmup: int, after: str) -> None:
    config = OptimConfig(steps=steps, warmup_steps=warmup, after_warmup=after)
    assert all(0 < rate <= config.lr for rate in rates(config))


def test_gradients_are_shortened_always_after_the_warm_up_or_never() -> None:
    config = OptimConfig(steps=10, warmup_steps=3, clip=2.0)
    assert [longest_gradient(i, config) for i in (0, 9)] == [2.0, 2.0]
    later = replace(config, clip_in_warmup=False)
    assert [longest_gradient(i, later) for i in (0, 2, 3, 9)] == [math.inf, math.inf, 2.0, 2.0]
    never = replace(config, clip=0.0)
    assert [longest_gradient(i, never) for i in (0, 9)] == [math.inf, math.inf]
