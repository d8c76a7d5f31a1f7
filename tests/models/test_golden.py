"""The first losses of every method, kept in a file.

A refactoring leaves them as they are; a change of computation replaces the file in the same
commit and says why: ``PYTHONPATH=tests python tests/models/test_golden.py``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from made_models import blob_batches, micro_method

from echocli.models.methods import base
from echocli.models.optim import OptimConfig
from echocli.models.training import train

GOLDEN = Path(__file__).parent.parent / "golden"
CONFIG = OptimConfig(steps=5, warmup_steps=2, lr=1e-3)


def first_losses(name: str) -> list[tuple[int, float]]:
    generator = torch.Generator().manual_seed(0)
    records = train(micro_method(name), blob_batches(8, 0, 5), CONFIG, generator)
    return [(record.step, record.loss) for record in records]


def test_losses_are_those_of_the_file(method_name: str) -> None:
    lines = (GOLDEN / f"{method_name}.txt").read_text(encoding="utf-8").splitlines()
    expected = [float(line.split()[1]) for line in lines]
    # Not bit for bit: another processor adds in another order.
    losses = [loss for _, loss in first_losses(method_name)]
    assert losses == pytest.approx(expected, rel=1e-4)


if __name__ == "__main__":
    torch.set_num_threads(1)
    GOLDEN.mkdir(exist_ok=True)
    for found in base.available():
        text = "".join(f"{step} {loss:.6f}\n" for step, loss in first_losses(found))
        (GOLDEN / f"{found}.txt").write_text(text, encoding="utf-8")
