"""Schedules against the numbers of V-JEPA's published code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_schedules import VJEPA

from echocli.models.ema import momentum_at
from echocli.models.schedules import learning_rate, teacher_progress, weight_decay

FIXTURE = Path(__file__).parents[3] / "shared" / "fixtures" / "vjepa_misc" / "misc.json"
pytestmark = pytest.mark.skipif(
    not FIXTURE.exists(), reason="The parity fixtures are not here."
)


def test_every_number_agrees() -> None:
    rows = json.loads(FIXTURE.read_text(encoding="utf-8"))["schedule_vjepa1"]["rows"]
    assert len(rows) >= 10
    for number, lr, decay, momentum in rows:
        step = number - 1
        assert learning_rate(step, VJEPA) == pytest.approx(lr, rel=1e-12, abs=0)
        assert weight_decay(step, VJEPA) == pytest.approx(decay, rel=1e-12, abs=0)
        progress = teacher_progress(step, VJEPA)
        assert momentum_at(progress, 0.998, 1.0) == pytest.approx(momentum, rel=1e-14, abs=0)
