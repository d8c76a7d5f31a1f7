"""Later steps may see longer, larger clips, and nothing is lost at the border."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from made_models import SMALLER

from echocli.api.pretrain import Choice, PretrainResult, plan, pretrain
from echocli.checkpoint import load_model
from echocli.errors import UsageError
from echocli.models.methods.base import available
from echocli.run import read_metrics
from echocli.states import load_state

STEPS = 4
LATER = "stages=[{begins=0.5, frames=8, size=48, batch=2}]"


def run(
    clips: Path, out: Path, words: tuple[str, ...], method: str = "vjepa", **more: Any
) -> PretrainResult:
    small = (f"{method}.{name}={value}" for name, value in SMALLER.get(method, {}).items())
    choice = Choice(method=method, steps=STEPS, changes=(*words, *small, LATER))
    return pretrain(clips, choice, out=out, device="cpu", precision="fp32", **more)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Return parameters, teachers and moments."""
    state, _ = load_state(folder / "checkpoints")
    moments = state["optimizer"]["state"]
    found = {f"{i} {name}": t for i, one in moments.items() for name, t in one.items()}
    return {**state["method"], **found}


@pytest.mark.parametrize("method", available())
def test_a_run_broken_at_and_around_the_border_equals_a_straight_one(
    tmp_path: Path, micro_clips: Path, micro_words: tuple[str, ...], method: str
) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    run(micro_clips, straight, micro_words, method)
    for done in (1, 2, 3):  # before, at and after the border
        stopped = run(micro_clips, broken, micro_words, method, stop=lambda: True)
        assert stopped.steps_done == done
        frames = load_model(broken).data.frames
        assert frames == (8 if done > 2 else 4)  # what it has been trained on
    assert run(micro_clips, broken, micro_words, method).finished
    losses = [[r["loss"] for r in read_metrics(folder)] for folder in (straight, broken)]
    assert losses[0] == losses[1]
    assert len(losses[0]) == STEPS
    ours, theirs = tensors(straight), tensors(broken)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_model_expects_what_it_saw_last(
    tmp_path: Path, micro_clips: Path, micro_words: tuple[str, ...]
) -> None:
    run(micro_clips, tmp_path / "r", micro_words)
    for _ in range(2):  # a finished run that is started again has nothing to do
        loaded = load_model(tmp_path / "r")
        assert (loaded.data.frames, loaded.data.size, loaded.data.seconds) == (8, 48, 0.5)
        assert (loaded.encoder.config.frames, loaded.encoder.config.size) == (8, 48)
        shutil.rmtree(tmp_path / "r" / "model")
        run(micro_clips, tmp_path / "r", micro_words)


def test_before_the_border_nothing_is_different(
    tmp_path: Path, micro_clips: Path, micro_words: tuple[str, ...]
) -> None:
    run(micro_clips, tmp_path / "stages", micro_words)
    small = (f"vjepa.{name}={value}" for name, value in SMALLER["vjepa"].items())
    choice = Choice(method="vjepa", steps=STEPS, changes=(*micro_words, *small))
    pretrain(micro_clips, choice, out=tmp_path / "one", device="cpu", precision="fp32")
    one, stages = (
        [r["loss"] for r in read_metrics(tmp_path / name)] for name in ("one", "stages")
    )
    assert one[:2] == stages[:2]
    assert one[2] != stages[2]


def test_a_plan_tells_every_stage(micro_clips: Path, micro_words: tuple[str, ...]) -> None:
    found = plan(micro_clips, Choice("vjepa", steps=40, changes=(*micro_words, LATER)))
    first, last = found.stages
    assert (first.first_step, first.steps, first.frames, first.size) == (0, 20, 4, 32)
    assert (last.first_step, last.steps, last.frames, last.size) == (20, 20, 8, 48)
    assert (first.batch, last.batch) == (3, 2)
    assert (first.tokens, last.tokens) == (2 * 4 * 4, 4 * 6 * 6)
    assert found.tokens == last.tokens
    assert found.epochs == pytest.approx((20 * 3 + 20 * 2) / 10)
    costs = [stage.steps * stage.seconds_per_step for stage in found.stages]
    assert found.hours == pytest.approx(sum(costs) / 3600)


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ("[{begins=0.5, fraems=8}]", "fraems"),
        ("[{begins=1.0}]", "between 0 and 1"),
        ("[{frames=8}]", "begins"),
        ("[{begins=0.6, frames=8}, {begins=0.4, frames=4}]", "one after the other"),
        ("[{begins=0.5, size=50}]", "50"),
        ("[{begins=0.5, batch=0}]", "batch"),
    ],
)
def test_stages_that_cannot_be_are_refused(stages: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Choice(changes=[f"stages={stages}"]).resolve()


def test_a_stage_of_no_step_is_left_out() -> None:
    words = ("optim.steps=3", "stages=[{begins=0.9, frames=32}]")
    (only,) = Choice(changes=words).resolve().value.course
    assert (only.first, only.end, only.data.frames) == (0, 3, 16)
