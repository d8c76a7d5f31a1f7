"""Collapses are seen in recorded runs, and healthy runs raise no alarm."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from echocli.models.collapse import LOOKS, SIGNS, Sign, collapses
from echocli.models.health import health

Look = dict[str, float]
NAMES = ("feature_std", "effective_rank", "teacher_std", "target_std", "prototypes_used")


def series(*rows: tuple[float | None, ...]) -> list[Look]:
    """Return looks, 50 steps from one to the next, the first before the first step."""
    return [{n: v for n, v in zip(NAMES, r, strict=False) if v is not None} for r in rows]


# Recorded by benchmarks/collapse.py: std, rank, spread of teacher or target, prototypes.
DISCOVR_FORCED = series(
    (0.3073, 13.41),
    (0.0268, 4.99, 0.0032, None, 0.0065),
    (0.0296, 6.1, 0.0, None, 0.0041),
    (0.0094, 5.79, 0.0062, None, 0.0042),
    (0.0094, 5.73, 0.0, None, 0.0041),
)
VJEPA_FORCED = series(
    (0.3341, 12.14),
    (0.3905, 1.62, None, 0.8459),
    (0.3509, 2.07, None, 0.974),
    (0.0981, 1.87, None, 1.0255),
    (0.0787, 2.0, None, 0.9391),
)
DISCOVR = series(
    (0.3073, 13.41),
    (0.3099, 13.46, 0.054, None, 0.0432),
    (0.3153, 13.49, 0.0658, None, 0.1346),
    (0.3137, 13.42, 0.0664, None, 0.2877),
    (0.2939, 12.69, 0.0516, None, 0.4708),
    (0.2903, 11.8, 0.0425, None, 0.5759),
)
VJEPA = series((0.3341, 12.14), (0.332, 12.14, None, 0.8064), (0.2155, 12.73, None, 0.7468))
VIDEOMAE = series(
    (0.3341, 12.14),
    (0.2035, 12.67),
    (0.1197, 13.87),
    (0.0776, 15.42),
    (0.0657, 15.22),
    (0.089, 13.08),
    (0.1097, 10.42),
    (0.1496, 9.24),
)


@pytest.mark.parametrize(
    ("looks", "name"),
    [(DISCOVR_FORCED, "all clips alike"), (VJEPA_FORCED, "few directions")],
)
def test_a_forced_collapse_is_named_within_200_steps(looks: list[Look], name: str) -> None:
    assert not collapses(looks[:2])
    found = collapses(looks)
    (one,) = [one for one in found if one.sign.name == name]
    assert one.since == 0
    assert name in str(one)
    assert one.value < one.best


@pytest.mark.parametrize("looks", [DISCOVR, VJEPA, VIDEOMAE], ids=["discovr", "vjepa", "mae"])
def test_a_healthy_run_raises_no_alarm(looks: list[Look]) -> None:
    assert all(not collapses(looks[: n + 1]) for n in range(len(looks)))


def test_a_start_that_is_low_is_no_alarm() -> None:
    low = {"feature_std": 0.002, "effective_rank": 1.1, "teacher_std": 1e-5}
    assert not collapses([low] * 9)
    assert not collapses([])


def test_a_run_is_judged_by_its_best_and_not_by_its_start() -> None:
    looks = series((0.01, 1.2), *[(0.5, 20.0)] * 3, *[(0.5, 2.0)] * 2)
    (found,) = collapses(looks)
    assert (found.sign.name, found.best, found.since) == ("few directions", 20.0, 3)


def test_one_look_is_neither_a_collapse_nor_a_best() -> None:
    looks = series((0.3, 12.0), (0.3, 12.0), (0.3, 1.0), (0.3, 12.0), (0.3, 1.0))
    assert not collapses(looks)
    assert not collapses(series((0.3, 6.0), (0.3, 60.0), (0.3, 6.0), (0.3, 6.0)))


def test_prototypes_are_unused_when_few_are_left_of_many() -> None:
    used = [0.04, 0.3, 0.5, 0.02, 0.01]
    (found,) = collapses([{"prototypes_used": share} for share in used])
    assert (found.sign.name, found.since) == ("prototypes unused", 2)
    assert not collapses([{"prototypes_used": share} for share in (0.5, 0.5, 0.2, 0.1)])


def test_constant_targets_are_named() -> None:
    (found,) = collapses([{"teacher_std": std} for std in (0.05, 0.06, 0.001, 0.001)])
    assert found.sign.name == "targets constant"


@given(st.sampled_from(SIGNS), st.lists(st.floats(1e-3, 1), min_size=3, max_size=12))
def test_the_rule_is_this_loop(sign: Sign, values: list[float]) -> None:
    """Spell out the rule for one measure: LOOKS in a row below a share of the best pair."""
    good = [values[0]]
    since, bad = 0, 0
    for number in range(1, len(values)):
        if values[number] < sign.share * max(good) and values[number] < sign.below:
            bad += 1
        else:
            bad, since = 0, number
            good.append(min(values[number - 1], values[number]))
    found = collapses([{sign.measure: value} for value in values])
    assert bool(found) == (bad >= LOOKS)
    if found:
        assert (found[0].since, found[0].best) == (since, max(good))


def features(kind: str, generator: torch.Generator) -> Tensor:
    """Return 32 clips whose features are healthy, half collapsed or collapsed."""
    noise = torch.randn(32, 64, generator=generator)
    if kind == "healthy":
        return noise
    if kind == "half":  # half of the directions are lost, and all clips lean one way
        return noise * (torch.arange(64) < 32) + 1
    if kind == "one point":
        return 1 + 0.003 * noise
    return noise[:, :1] * torch.ones(64) + 0.001 * noise  # one line


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("healthy", set()),
        ("half", set()),
        ("one point", {"all clips alike"}),
        ("one line", {"few directions"}),
    ],
)
def test_matrices_of_each_kind_are_told_apart(
    kind: str, names: set[str], generator: torch.Generator
) -> None:
    def look(kind: str) -> Look:
        return vars(health(features(kind, generator)))

    looks = [look("healthy"), look("healthy"), look(kind), look(kind)]
    assert {found.sign.name for found in collapses(looks)} == names
