"""Two processes take the steps of one, and a step in parts is a step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from echocli.models.methods import base
from echocli.models.optim import OptimConfig
from echocli.models.team import ALONE
from echocli.models.training import train

STEPS = Path(__file__).parent.parent / "team_steps.py"
CONFIG = OptimConfig(steps=3, warmup_steps=1, lr=1e-3)
MakeMethod = Callable[..., base.Method]
MakeBatches = Callable[..., Any]


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """Return what a team of two found."""
    ended = subprocess.run(
        [sys.executable, str(STEPS)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
        timeout=200,
    )
    return dict(json.loads(ended.stdout))


@pytest.mark.parametrize(
    "case",
    [
        *base.available(),
        "discovr-release",
        "discovr of two levels",
        "videomae of two levels",
        "vjepa in parts",
        "vjepa in shares",
    ],
)
def test_a_team_takes_the_steps_of_one(found: dict[str, Any], case: str) -> None:
    for ours, alone in zip(found[case]["numbers"], found[case]["alone"], strict=True):
        expected = {n: v for n, v in alone.items() if "parts" not in case or n != "target_std"}
        assert {n: ours[n] for n in expected} == pytest.approx(expected, rel=1e-5)
    # Adam moves what has no gradient but rounding errors, such as offsets of keys.
    assert found[case]["apart"] < 2e-5


def test_statistics_of_a_team_are_those_of_all_its_rows(found: dict[str, Any]) -> None:
    assert found["statistics"] == {
        name: pytest.approx(0, abs=2e-6)
        for name in ("sum", "std", "gather", "sinkhorn", "koleo", "koleo gradient")
    }


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("name", ["vjepa", "videomae"])
def test_a_step_in_parts_is_the_step(
    name: str, make_method: MakeMethod, make_batches: MakeBatches
) -> None:
    losses, weights = [], []
    for parts in (1, 4):
        method, config = make_method(name), replace(CONFIG, parts=parts)
        records = list(train(method, make_batches(4, 0, 3), config, seeded()))
        assert [r.step for r in records] == [0, 1, 2]
        losses.append([number for r in records for number in (r.loss, r.grad_norm, r.lr)])
        weights.append(torch.cat([t.flatten() for t in method.state_dict().values()]))
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert (weights[0] - weights[1]).norm() < 2e-5 * weights[0].norm()


def test_parts_of_discovr_differ_by_their_clusters_alone(
    make_method: MakeMethod, make_batches: MakeBatches
) -> None:
    losses = {}
    for parts in (1, 2):
        # The first centre is that of the first clips seen; later ones are the whole batch's.
        method, config = make_method("discovr"), replace(CONFIG, parts=parts, lr=1e-9)
        records = train(method, make_batches(4, 0, 3), config, seeded())
        losses[parts] = [record.numbers for record in records][1:]
    for whole, parted in zip(losses[1], losses[2], strict=True):
        assert parted["image"] == pytest.approx(whole["image"], rel=1e-4)
        assert parted["video"] == pytest.approx(whole["video"], rel=1e-4)
        assert parted["cluster"] != pytest.approx(whole["cluster"], rel=1e-5)


def test_a_team_of_one_leaves_numbers_alone() -> None:
    rows = torch.randn(6, 4, generator=seeded())
    assert ALONE.sum(rows) is ALONE.mean(rows) is ALONE.gather(rows) is rows
    assert torch.equal(ALONE.own(rows), rows)
    assert torch.equal(ALONE.logsumexp(rows), rows.logsumexp(dim=0))
    torch.testing.assert_close(ALONE.std(rows), rows.std(dim=0, correction=0))
