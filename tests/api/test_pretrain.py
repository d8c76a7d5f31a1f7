"""A run goes on exactly where it stopped, refuses other settings, and keeps its good state."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ears import Ears
from same_runs import assert_same_state, numbers

from echocli.api._pretrain import job as job_module
from echocli.api._pretrain import settings as settings_module
from echocli.api.pretrain import Choice, PretrainResult, plan, pretrain
from echocli.checkpoint import load_model
from echocli.clips.batches import Batch
from echocli.clips.store import ClipSet
from echocli.config import preset_names, read_preset
from echocli.errors import EchoError, SpaceError, UsageError
from echocli.models.methods.base import available
from echocli.states import load_state, saved_states

STEPS = 7
METHODS = available()


def run(
    clips: Path, out: Path, words: tuple[str, ...], method: str = "vjepa", **more: Any
) -> PretrainResult:
    options = {key: more.pop(key) for key in ("where", "seed") if key in more}
    steps = more.pop("steps", STEPS)
    choice = Choice(method=method, steps=steps, changes=words, **options)
    more = {"device": "cpu", "precision": "fp32", **more}
    return pretrain(clips, choice, out=out, **more)


def stop_after(calls: int) -> Callable[[], bool]:
    counted = iter(range(calls))
    return lambda: next(counted, calls) >= calls - 1


@pytest.mark.parametrize("method", METHODS)
def test_interrupted_runs_equal_a_straight_one_bit_for_bit(
    tmp_path: Path, micro_clips: Path, micro_words: tuple[str, ...], method: str
) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    run(micro_clips, straight, micro_words, method)
    first = run(micro_clips, broken, micro_words, method, stop=stop_after(3))
    assert (first.steps_done, first.finished) == (3, False)
    second = run(micro_clips, broken, micro_words, method, stop=stop_after(1))
    assert second.steps_done == 4
    assert run(micro_clips, broken, micro_words, method).finished
    assert [r["step"] for r in numbers(broken)] == list(range(STEPS))
    for key in ("loss", "lr", "grad_norm"):
        assert [r[key] for r in numbers(broken)] == [r[key] for r in numbers(straight)]
    assert_same_state(straight, broken)
    assert load_model(straight).sha256 == load_model(broken).sha256


def test_a_crash_between_two_states_repeats_the_steps_since(
    tmp_path: Path, micro_clips: Path, micro_words: tuple[str, ...]
) -> None:
    def crash_at(calls: int) -> Callable[[], bool]:
        counted = iter(range(calls - 1))

        def crash() -> bool:
            if next(counted, None) is None:
                raise ZeroDivisionError
            return False

        return crash

    straight, broken = tmp_path / "straight", tmp_path / "broken"
    run(micro_clips, straight, micro_words)
    with pytest.raises(ZeroDivisionError):
        run(micro_clips, broken, micro_words, stop=crash_at(6))  # states at 2 and 4
    run(micro_clips, broken, micro_words)
    assert [r["loss"] for r in numbers(broken)] == [r["loss"] for r in numbers(straight)]
    assert_same_state(straight, broken)


def test_a_damaged_state_falls_back_loudly(
    tmp_path: Path, micro_clips: Path, micro_words: tuple[str, ...]
) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    run(micro_clips, straight, micro_words)
    run(micro_clips, broken, micro_words, stop=stop_after(5))
    saved_states(broken / "checkpoints")[0].path.write_bytes(b"rubbish")
    ears = Ears()
    run(micro_clips, broken, micro_words, reporter=ears)
    assert any("going on from the one before" in warning for warning in ears.warned)
    assert_same_state(straight, broken)


def test_the_model_is_the_exported_encoder_with_its_contract(
    tmp_path: Path, micro_clips: Path, micro_words: tuple[str, ...]
) -> None:
    run(micro_clips, tmp_path / "r", micro_words)
    loaded = load_model(tmp_path / "r")
    assert (loaded.data.frames, loaded.data.size, loaded.data.seconds) == (4, 32, 0.5)
    state = load_state(tmp_path / "r" / "checkpoints")[0]["method"]
    target = {
        key.removeprefix("target_encoder."): value
        for key, value in state.items()
        if key.startswith("target_encoder.")
    }
    weights = loaded.encoder.state_dict()
    assert target.keys() == weights.keys()
    assert all(torch.equal(target[key], weights[key]) for key in target)
    assert loaded.details["clip_size"] == 32
    assert str(tmp_path) not in json.dumps(loaded.details)


def test_settings_of_a_run_repeat_it(
    tmp_path: Path, micro_clips: Path, micro_words: tuple[str, ...]
) -> None:
    run(micro_clips, tmp_path / "a", micro_words, steps=3, seed=5)
    choice = Choice(config=tmp_path / "a" / "config.json")
    pretrain(micro_clips, choice, out=tmp_path / "b", device="cpu", precision="fp32")
    assert load_model(tmp_path / "a").sha256 == load_model(tmp_path / "b").sha256


def test_another_seed_is_another_run(
    tmp_path: Path, micro_clips: Path, micro_words: tuple[str, ...]
) -> None:
    results = [
        run(micro_clips, tmp_path / str(seed), micro_words, steps=2, seed=seed)
        for seed in (0, 1)
    ]
    assert results[0].loss != results[1].loss


def test_going_on_with_other_settings_or_clips_is_refused_with_the_difference(
    tmp_path: Path, micro_clips: Path, micro_run: Path, micro_words: tuple[str, ...]
) -> None:
    before = (micro_run / "metrics.jsonl").read_bytes()
    with pytest.raises(UsageError, match=r"optim.lr was 0.0005, now 0.01"):
        run(micro_clips, micro_run, (*micro_words, "optim.lr=0.01"), steps=3)
    with pytest.raises(UsageError, match=r"optim.steps was 3, now 9"):
        pretrain(micro_clips, Choice(steps=9), out=micro_run, resume=True, device="cpu")
    from micro import micro_clip, write_clips

    write_clips(tmp_path / "other", [micro_clip(number) for number in range(3, 9)])
    with pytest.raises(UsageError, match="other clips"):
        run(tmp_path / "other", micro_run, micro_words, steps=3)
    assert (micro_run / "metrics.jsonl").read_bytes() == before


def test_a_finished_run_has_nothing_to_do(
    micro_clips: Path, micro_run: Path, micro_words: tuple[str, ...]
) -> None:
    before = load_model(micro_run)
    result = pretrain(micro_clips, out=micro_run, resume=True, device="cpu")
    assert result.finished
    assert result.loss is None
    after = load_model(micro_run)
    assert after.sha256 == before.sha256
    assert after.details == before.details


def test_there_is_nothing_to_resume(tmp_path: Path, micro_clips: Path) -> None:
    with pytest.raises(EchoError, match="no run to resume"):
        pretrain(micro_clips, out=tmp_path / "r", resume=True)


def test_overwriting_begins_anew(
    tmp_path: Path, micro_clips: Path, micro_words: tuple[str, ...]
) -> None:
    run(micro_clips, tmp_path / "r", micro_words, steps=3)
    run(micro_clips, tmp_path / "r", micro_words, steps=2, overwrite=True)
    assert [r["step"] for r in numbers(tmp_path / "r")] == [0, 1]


def test_a_loss_that_is_no_number_stops_with_the_good_state(
    tmp_path: Path,
    micro_clips: Path,
    micro_words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = job_module.Job.to_device

    def poisoned(job: Any, batch: Any) -> torch.Tensor:
        if not isinstance(batch, Batch):  # what is looked at is not trained on
            poison.append(1)
        return original(job, batch) * (float("nan") if len(poison) > 3 else 1)

    poison: list[int] = []
    monkeypatch.setattr(job_module.Job, "to_device", poisoned)
    with pytest.raises(EchoError, match=r"stopped being a number at step 3"):
        run(micro_clips, tmp_path / "r", (*micro_words, "watch.health_every=1000"))
    state, _ = load_state(tmp_path / "r" / "checkpoints")
    assert state["step"] == 2
    assert all(t.isfinite().all() for t in state["method"].values())
    assert [r["step"] for r in numbers(tmp_path / "r")] == [0, 1, 2]


def test_clips_are_chosen_and_what_is_left_out_is_said(
    tmp_path: Path, micro_words: tuple[str, ...]
) -> None:
    from micro import micro_clip, write_clips

    labels = [{"split": "test" if i < 2 else "train", "quality": "good"} for i in range(8)]
    clips = [micro_clip(i, labels=labels[i]) for i in range(7)]
    write_clips(tmp_path / "clips", [*clips, micro_clip(7, frames=4, labels=labels[7])])
    ears = Ears()
    result = run(tmp_path / "clips", tmp_path / "a", micro_words, steps=1, reporter=ears)
    assert result.clips == 5
    assert result.left_out == {"too_short": 1}
    assert any("2 of 8" in said for said in ears.said)
    assert any("1 shorter than a window" in warning for warning in ears.warned)
    assert run(tmp_path / "clips", tmp_path / "b", micro_words, steps=1, where="").clips == 7
    few = run(tmp_path / "clips", tmp_path / "c", micro_words, steps=1, where="split == 'test'")
    assert few.clips == 2
    with pytest.raises(UsageError, match="quality"):
        run(tmp_path / "clips", tmp_path / "d", micro_words, where="qualty == 'good'")


def test_normal_clips_are_chosen_and_the_test_split_stays_unseen(
    tmp_path: Path, micro_words: tuple[str, ...]
) -> None:
    from micro import micro_clip, write_clips

    said: list[dict[str, Any]] = [
        {"normal": i % 2 == 0, "split": "test" if i < 4 else "train"} for i in range(10)
    ]
    said.append({"split": "train"})  # of which nobody knows
    write_clips(tmp_path / "clips", [micro_clip(i, labels=x) for i, x in enumerate(said)])
    ears = Ears()
    result = run(
        tmp_path / "clips", tmp_path / "a", micro_words, steps=1, where="normal", reporter=ears
    )
    assert result.clips == 3
    assert any("8 of 11" in line and "split != 'test'" in line for line in ears.said)


def test_no_room_is_told_before_the_first_step(
    tmp_path: Path,
    micro_clips: Path,
    micro_words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import shutil
    from types import SimpleNamespace

    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(SpaceError, match="GB are free"):
        run(micro_clips, tmp_path / "r", micro_words)
    assert not (tmp_path / "r" / "metrics.jsonl").exists()


@pytest.mark.parametrize("method", METHODS)
def test_a_plan_counts_and_writes_nothing(
    tmp_path: Path,
    micro_clips: Path,
    micro_words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    found = plan(micro_clips, Choice(method=method, steps=30, changes=micro_words))
    assert list(tmp_path.iterdir()) == []
    assert found.tokens == 2 * 4 * 4
    assert found.clips == 10
    assert found.epochs == pytest.approx(30 * 3 / 10)
    assert found.seconds_per_step > 0
    assert found.hours == pytest.approx(found.seconds_per_step * 30 / 3600)
    assert found.sources["optim.batch"] == "--set"
    changes = (*micro_words, "watch.checkpoint_every=1")
    choice = Choice(method=method, steps=1, changes=changes)
    made = pretrain(micro_clips, choice, out=tmp_path / "r", device="cpu")
    size = saved_states(made.run / "checkpoints")[0].path.stat().st_size
    assert found.checkpoint_bytes == pytest.approx(size, rel=0.3)
    weights = sum(p.numel() for p in load_model(made.run).encoder.parameters())
    assert found.encoder_parameters == weights


def test_compiling_without_a_compiler_is_told_before_the_first_step(
    tmp_path: Path,
    micro_clips: Path,
    micro_words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(EchoError, match=r"needs a C\+\+ compiler"):
        run(micro_clips, tmp_path / "r", (*micro_words, "compiled=true"))
    assert not (tmp_path / "r").exists()


def test_a_short_run_warms_up_shortly_unless_asked_otherwise() -> None:
    assert Choice(steps=50).resolve().value.optim.warmup_steps == 5
    asked = Choice(steps=50, changes=["optim.warmup_steps=20"])
    assert asked.resolve().value.optim.warmup_steps == 20


def test_layers_of_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.toml").write_text('method = "vjepa"\n[optim]\nlr = 1e-3\nbatch = 5\n')
    monkeypatch.setenv("ECHOCLI_OPTIM__BATCH", "6")
    monkeypatch.setenv("ECHOCLI_OPTIM__CLIP", "1.5")
    resolved = Choice(config=tmp_path / "c.toml", changes=["optim.clip=2"]).resolve()
    settings = resolved.value
    assert (settings.method, settings.optim.lr) == ("vjepa", 1e-3)
    assert (settings.optim.batch, settings.optim.clip) == (6, 2.0)
    assert settings.data.size == 64  # of the preset tiny
    assert resolved.sources["optim.batch"] == "the environment"


@pytest.mark.parametrize("preset", preset_names())
@pytest.mark.parametrize("method", METHODS)
def test_every_preset_fits_its_method_or_every_one(method: str, preset: str) -> None:
    own = read_preset(preset).get("method", method)
    if own != method:
        with pytest.raises(UsageError, match=f"The preset {preset} is one of {own}"):
            Choice(method=method, preset=preset).resolve()
        return
    settings = Choice(method=method, preset=preset).resolve().value
    assert settings.encoder.vit(settings.course[-1].data).grid
    assert settings.method_config


def test_a_preset_may_choose_the_method(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"method": "vjepa", "vjepa": {"pairs": 7}}
    monkeypatch.setattr(settings_module, "read_preset", lambda name: table)
    settings = Choice(preset="special").resolve().value
    assert (settings.method, settings.method_config.pairs) == ("vjepa", 7)
    with pytest.raises(UsageError, match="one of vjepa, not of discovr") as error:
        Choice(method="discovr", preset="special").resolve()
    assert "--method vjepa" in error.value.remedy


def test_the_clips_are_not_touched(micro_clips: Path, micro_run: Path) -> None:
    assert micro_run.is_dir()
    assert ClipSet.open(micro_clips).verify() == []
