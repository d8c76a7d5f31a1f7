"""Whether two runs are the same, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from echocli.run import read_metrics
from echocli.states import load_state

MEASURED = ("seconds", "data_wait", "clips_per_s", "matrix_share", "memory_gb")
"""Metrics that the clock and the machine decide."""


def numbers(folder: Path) -> list[dict[str, Any]]:
    """Return the metrics of a run, without those of the machine."""
    return [{k: v for k, v in r.items() if k not in MEASURED} for r in read_metrics(folder)]


def flat(state: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(state, dict | list):
        return {prefix: state}
    pairs = state.items() if isinstance(state, dict) else enumerate(state)
    return {k: v for name, x in pairs for k, v in flat(x, f"{prefix}/{name}").items()}


def assert_same_state(a: Path, b: Path) -> None:
    """Compare parameters, teachers, centres, moments and schedules of the newest states."""
    ours, theirs = (flat(load_state(folder / "checkpoints")[0]) for folder in (a, b))
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        other = theirs[key]
        assert torch.equal(value, other) if torch.is_tensor(value) else value == other, key
