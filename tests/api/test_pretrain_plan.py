"""A plan is what the run then does, and writes nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from micro import micro_clip, write_clips

from echocli.api import pretrain as pretrain_module
from echocli.api.pretrain import Choice, pretrain
from echocli.api.pretrain import plan as make_plan
from echocli.models.methods.base import available
from echocli.run import Run, read_metrics

STEPS = 3
PLACE: dict[str, str] = {"device": "cpu", "precision": "fp32"}
WRITES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink"}


def plan(clips: Path, words: tuple[str, ...], method: str = "vjepa", **options: Any) -> Any:
    choice = Choice(method=method, steps=STEPS, changes=words, **options)
    return make_plan(clips, choice, out=clips.parent / "planned", **PLACE)


class Listener:
    """Hears what this process does to the disk while it listens."""

    def __init__(self) -> None:
        self.listening = False
        self.heard: list[str] = []
        sys.addaudithook(self.hear)

    def hear(self, event: str, details: tuple[Any, ...]) -> None:
        if not self.listening:
            return
        writes = event in WRITES
        if event == "open":
            path, _, flags = details
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            writes &= not str(path).startswith("/dev/") and "__pycache__" not in str(path)
        if writes:
            self.heard.append(f"{event} {details[0]}")


LISTENER = Listener()
"""One for the process: a hook cannot be taken away."""


@contextmanager
def listening() -> Iterator[list[str]]:
    LISTENER.heard.clear()
    LISTENER.listening = True
    try:
        yield LISTENER.heard
    finally:
        LISTENER.listening = False


@pytest.mark.parametrize("method", available())
def test_a_run_does_what_was_planned(
    tmp_path: Path, micro_clips: Path, micro_words: tuple[str, ...], method: str
) -> None:
    choice = Choice(method=method, steps=STEPS, changes=micro_words)
    planned = make_plan(micro_clips, choice, out=tmp_path / "r", **PLACE)
    assert not (tmp_path / "r").exists()
    done = pretrain(micro_clips, choice, out=tmp_path / "r", **PLACE)
    run = Run(tmp_path / "r")

    assert (planned.clips, planned.patients) == (done.clips, done.patients)
    assert (planned.left_out, planned.steps) == (done.left_out, done.steps)
    saved = run.read_config()
    assert planned.settings == saved["settings"]
    assert planned.parameters == saved["parameters"]

    states = list(run.checkpoints.glob("*.pt"))
    for state in states:
        assert planned.checkpoint_bytes == pytest.approx(state.stat().st_size, rel=0.05)
    assert len(states) * planned.checkpoint_bytes <= planned.disk["checkpoints"]
    model = run.model / "model.safetensors"
    assert planned.disk["model"] == pytest.approx(model.stat().st_size, rel=0.05)
    lines = run.metrics.read_text().splitlines()
    assert len(lines) == len(read_metrics(run.folder)) == STEPS
    assert planned.disk["metrics"] / sum(map(len, lines)) == pytest.approx(1, abs=0.5)
    assert planned.disk["total"] == sum(planned.disk.values()) - planned.disk["total"]


def test_tokens_are_those_of_a_window_in_the_sector(
    tmp_path: Path, micro_words: tuple[str, ...]
) -> None:
    half = micro_clip(0).sector.copy()
    half[16:] = False
    clips = [replace(micro_clip(i), sector=half) for i in range(4)]
    write_clips(tmp_path / "clips", clips)
    seen = plan(tmp_path / "clips", micro_words, "videomae")
    assert seen.tokens == 2 * 8  # two tubelets in time, half of 4 x 4 places
    whole = plan(tmp_path / "clips", (*micro_words, "data.sector_tokens=false"), "videomae")
    assert whole.tokens == 2 * 16
    assert whole.memory["activations"] >= seen.memory["activations"]


@pytest.mark.parametrize("method", available())
def test_planning_writes_nothing_anywhere(
    micro_clips: Path, micro_words: tuple[str, ...], method: str
) -> None:
    before = sorted(micro_clips.parent.rglob("*"))
    with listening() as heard:
        seen = plan(micro_clips, micro_words, method)
    assert not heard
    assert sorted(micro_clips.parent.rglob("*")) == before
    assert seen.hours is not None
    assert seen.hours > 0


def test_the_listener_hears_a_run(
    tmp_path: Path, micro_clips: Path, micro_words: tuple[str, ...]
) -> None:
    with listening() as heard:
        choice = Choice(method="videomae", steps=1, changes=micro_words)
        pretrain(micro_clips, choice, out=tmp_path / "r", **PLACE)
    assert any("config.json" in event for event in heard)


def test_a_window_that_is_too_long_for_some_names_a_shorter_one(
    tmp_path: Path, micro_words: tuple[str, ...]
) -> None:
    counts = [24, 24, 24, 18, 14, 12]
    clips = [micro_clip(i, frames=n) for i, n in enumerate(counts)]
    write_clips(tmp_path / "clips", clips)
    words = (*micro_words, "data.frames=6", "data.stride=3")
    planned = plan(tmp_path / "clips", words, "videomae")
    assert planned.left_out == {"too_short": 2}
    assert planned.clips == 4
    (warning,) = planned.warnings
    assert "16 or more" in warning
    assert "leaves out 2 of 6" in warning
    for way in ("data.stride=2", "data.frames=4"):
        assert f"--set {way} (6)" in warning
        shorter = plan(tmp_path / "clips", (*words, way), "videomae")
        assert shorter.clips == 6
        assert not shorter.warnings


def test_more_clips_a_step_than_there_are_is_said(
    micro_clips: Path, micro_words: tuple[str, ...]
) -> None:
    (warning,) = plan(micro_clips, (*micro_words, "optim.batch=12"), "videomae").warnings
    assert "optim.batch=10" in warning


def test_what_does_not_fit_is_not_tried(
    micro_clips: Path, micro_words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain_module, "free_for", lambda *_: 1_000_000)
    planned = plan(micro_clips, micro_words, "videomae")
    assert planned.seconds_per_step is planned.hours is None
    assert planned.memory["total"] > planned.memory_free
    assert any("smaller preset" in warning for warning in planned.warnings)


def test_the_parts_of_the_memory_add_up(
    micro_clips: Path, micro_words: tuple[str, ...]
) -> None:
    planned = plan(micro_clips, micro_words, "videomae")
    parts = {name: n for name, n in planned.memory.items() if name != "total"}
    assert sum(parts.values()) == planned.memory["total"]
    assert parts["weights"] == parts["gradients"] == 4 * planned.parameters
    assert parts["moments"] == 2 * parts["weights"]
