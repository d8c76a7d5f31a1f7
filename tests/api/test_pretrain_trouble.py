"""A training that goes wrong says what it was, and goes back and on only if that was wished."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ears import Ears
from same_runs import assert_same_state, numbers

from echocli.api._pretrain import job as job_module
from echocli.api._pretrain import steps as steps_module
from echocli.api.pretrain import Choice, PretrainResult, pretrain
from echocli.api.verify import verify
from echocli.checkpoint import load_model, tell_unfinished
from echocli.errors import EchoError, UsageError
from echocli.files import read_json, sha256_of, write_json
from echocli.models.training import StepRecord
from echocli.run import Run
from echocli.states import OLD_NAMES, OLD_SUMS, best_state, load_state, saved_states

STEPS = 8


def run(clips: Path, out: Path, words: tuple[str, ...], **more: Any) -> PretrainResult:
    choice = Choice(
        method="videomae",
        steps=more.pop("steps", STEPS),
        seed=more.pop("seed", None),
        changes=words,
    )
    return pretrain(clips, choice, out=out, device="cpu", precision="fp32", **more)


def break_step(monkeypatch: pytest.MonkeyPatch, step: int, times: int) -> None:
    """Let the loss of a step be no number, the first times that it is done."""
    left = iter(range(times))
    original = job_module.train

    def train(*args: Any, **more: Any) -> Any:
        for record in original(*args, **more):
            if record.step == step and next(left, None) is not None:
                values = record.values.clone()
                values[0] = float("nan")
                yield StepRecord(record.step, record.lr, record.names, values)
            else:
                yield record

    monkeypatch.setattr(job_module, "train", train)


def test_a_lost_number_names_step_part_and_clips(
    tmp_path: Path,
    micro_clips: Path,
    micro_words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    break_step(monkeypatch, 3, times=1)
    with pytest.raises(EchoError, match=r"loss stopped being a number at step 3") as error:
        run(micro_clips, tmp_path / "r", micro_words)
    problem = error.value.problem
    assert "loss nan, grad_norm " in problem
    assert "clips of that step hold numbers" in problem
    assert problem.count(" c00") == 3  # a batch
    assert "watch.on_nan=rollback" in error.value.remedy
    assert len(numbers(tmp_path / "r")) == 3
    assert load_state(tmp_path / "r" / "checkpoints")[0]["step"] == 2
    assert run(micro_clips, tmp_path / "r", micro_words).finished


def test_clips_that_hold_no_numbers_are_named(
    tmp_path: Path,
    micro_clips: Path,
    micro_words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = job_module.Job.to_device

    def poisoned(job: Any, batch: Any) -> torch.Tensor:
        video = original(job, batch).clone()
        if len(video) > 1:
            video[1] = float("inf")
        return video

    monkeypatch.setattr(job_module.Job, "to_device", poisoned)
    with pytest.raises(
        EchoError, match="clips of that step hold what is no number: c"
    ) as error:
        run(micro_clips, tmp_path / "r", micro_words)
    assert error.value.problem.count(" c00") == 1


def test_a_run_goes_back_and_on_more_gently_whatever_interrupts_it(
    tmp_path: Path,
    micro_clips: Path,
    micro_words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = (*micro_words, "watch.on_nan=rollback")
    plain, straight, broken = (tmp_path / name for name in ("plain", "straight", "broken"))
    run(micro_clips, plain, micro_words)
    ears = Ears()
    with monkeypatch.context() as patch:
        break_step(patch, 5, times=1)
        assert run(micro_clips, straight, words, reporter=ears).finished
    assert ears.heard_of("Going back to step 4 and on at 0.00017 instead of 0.0005")
    lrs = [[r["lr"] for r in numbers(folder)] for folder in (plain, straight)]
    assert lrs[0][:4] == lrs[1][:4]
    assert lrs[1][4:] == pytest.approx([lr / 3 for lr in lrs[0][4:]])
    assert [r["step"] for r in numbers(straight)] == list(range(STEPS))
    assert load_state(straight / "checkpoints")[0]["retry"] == 1
    with monkeypatch.context() as patch:
        break_step(patch, 5, times=1)
        stops = iter([False] * 6 + [True])  # after it went back
        run(micro_clips, broken, words, stop=lambda: next(stops))
        assert run(micro_clips, broken, words).finished
    assert numbers(broken) == numbers(straight)
    assert_same_state(broken, straight)


def test_a_run_that_cannot_be_saved_by_going_back_gives_up(
    tmp_path: Path,
    micro_clips: Path,
    micro_words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    break_step(monkeypatch, 5, times=100)
    ears = Ears()
    with pytest.raises(EchoError, match="at step 5"):
        run(micro_clips, tmp_path / "r", (*micro_words, "watch.on_nan=rollback"), reporter=ears)
    assert [message[-17:] for message in ears.heard if "Going back" in message] == [
        f"(attempt {number} of 4)." for number in (2, 3, 4)
    ]
    state, _ = load_state(tmp_path / "r" / "checkpoints")
    assert (state["step"], state["retry"]) == (4, 3)


def test_what_is_saved_and_looked_at_may_change_and_nothing_else(
    tmp_path: Path, micro_clips: Path, micro_words: tuple[str, ...]
) -> None:
    folder, ears = tmp_path / "r", Ears()
    run(micro_clips, folder, micro_words, stop=lambda: True)
    with pytest.raises(UsageError, match="seed was 0, now 1"):
        run(micro_clips, folder, micro_words, seed=1)
    run(micro_clips, folder, (*micro_words, "watch.checkpoint_every=3"), reporter=ears)
    assert ears.heard_of("watch.checkpoint_every was 2, now 3")
    assert [saved.step for saved in saved_states(folder / "checkpoints")] == [8, 6]
    assert read_json(folder / "config.json")["settings"]["watch"]["checkpoint_every"] == 3


def test_another_pytorch_is_noted(
    tmp_path: Path, micro_clips: Path, micro_words: tuple[str, ...]
) -> None:
    folder, ears = tmp_path / "r", Ears()
    run(micro_clips, folder, micro_words, steps=2)
    config = read_json(folder / "config.json")
    write_json(folder / "config.json", {**config, "torch": "2.4.1"})
    run(micro_clips, folder, micro_words, steps=2, reporter=ears)
    assert ears.heard_of(f"torch was 2.4.1, now {torch.__version__}")


def test_a_run_of_an_older_version_goes_on(
    tmp_path: Path, micro_clips: Path, micro_words: tuple[str, ...]
) -> None:
    straight, old = tmp_path / "straight", tmp_path / "old"
    run(micro_clips, straight, micro_words)
    stops = iter([False, False, False, True])
    run(micro_clips, old, micro_words, stop=lambda: next(stops))
    config = read_json(old / "config.json")
    del config["settings"]["feed"], config["settings"]["watch"]["on_nan"]
    write_json(old / "config.json", config)
    sums = []
    for saved, name in zip(saved_states(old / "checkpoints"), OLD_NAMES, strict=True):
        state = torch.load(saved.path)
        del state["retry"]
        torch.save(state, old / "checkpoints" / name)
        sums.append(sha256_of(old / "checkpoints" / name))
        saved.path.unlink()
        saved.note.unlink()
    write_json(old / "checkpoints" / OLD_SUMS, {"sha256": sums})
    assert verify(old).whole
    assert pretrain(micro_clips, out=old, resume=True, device="cpu", precision="fp32").finished
    assert numbers(old) == numbers(straight)
    assert_same_state(old, straight)
    assert verify(old).whole


def test_metrics_that_somebody_cut_are_told(
    tmp_path: Path, micro_clips: Path, micro_words: tuple[str, ...]
) -> None:
    folder, ears = tmp_path / "r", Ears()
    stops = iter([False, False, False, True])
    run(micro_clips, folder, micro_words, stop=lambda: next(stops))
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text(lines[0] + "rubbish\n" + "".join(lines[2:]))
    run(micro_clips, folder, micro_words, reporter=ears)
    assert ears.heard_of("lacks 1 of the 4 steps")


@pytest.mark.parametrize("what", ["half", "older", "none"])
def test_a_model_that_was_not_exported_to_the_end_is_exported_again(
    tmp_path: Path, micro_clips: Path, micro_words: tuple[str, ...], what: str
) -> None:
    folder = tmp_path / "r"
    run(micro_clips, folder, micro_words, stop=lambda: True)
    older = shutil.copytree(folder / "model", tmp_path / "older")
    run(micro_clips, folder, micro_words)
    whole = load_model(folder).sha256
    if what == "half":
        (folder / "model" / "SHA256SUMS.json").unlink()
    else:
        shutil.rmtree(folder / "model")
    if what == "older":
        shutil.copytree(older, folder / "model")
    run(micro_clips, folder, micro_words)
    assert load_model(folder).sha256 == whole
    assert load_model(folder).details["steps_done"] == STEPS


def test_a_run_that_is_going_on_is_not_begun_twice(
    tmp_path: Path, micro_clips: Path, micro_words: tuple[str, ...]
) -> None:
    run(micro_clips, tmp_path / "r", micro_words, stop=lambda: True)
    with (
        Run(tmp_path / "r"),
        pytest.raises(UsageError, match="is being written to by process"),
    ):
        run(micro_clips, tmp_path / "r", micro_words)


def test_the_state_that_a_probe_likes_best_is_kept_and_exported(
    tmp_path: Path,
    micro_clips: Path,
    micro_words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = Run.log

    def log(run: Run, record: dict[str, Any]) -> None:
        scores = {1: 0.2, 3: 0.9, 5: 0.4}
        score = scores.get(record["step"])
        original(run, record if score is None else {**record, steps_module.SCORE: score})

    monkeypatch.setattr(Run, "log", log)
    stops = iter([False, False, False, True])
    early = run(micro_clips, tmp_path / "r", micro_words, stop=lambda: next(stops))
    assert (early.best, early.best_step) == (tmp_path / "r" / "best", 4)
    as_it_was = load_model(early.model)
    ended = run(micro_clips, tmp_path / "r", micro_words)
    folder = tmp_path / "r" / "checkpoints"
    assert [saved.step for saved in saved_states(folder)] == [8, 6, 4]
    best = best_state(folder)
    assert best is not None
    assert (best.step, best.score) == (4, 0.9)
    assert (ended.steps_done, ended.best_step) == (STEPS, 4)
    assert ended.best is not None
    liked, last = load_model(ended.best), load_model(ended.model)
    assert liked.sha256 == as_it_was.sha256 != last.sha256
    assert (liked.details["steps_done"], liked.details["probe_score"]) == (4, 0.9)
    ears = Ears()
    tell_unfinished(liked, ears)
    assert not ears.heard
    assert [one.kind for one in verify(tmp_path / "r").outputs] == ["run", "model", "model"]
    shutil.rmtree(ended.best)
    assert run(micro_clips, tmp_path / "r", micro_words).loss is None
    assert load_model(ended.best).sha256 == liked.sha256


def test_a_training_leaves_global_generators_alone_and_asks_none(
    tmp_path: Path, micro_clips: Path, micro_words: tuple[str, ...]
) -> None:
    """A state need not hold what nobody draws from."""
    losses = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        before = torch.get_rng_state(), np.random.get_state()[1].tolist()
        run(micro_clips, tmp_path / str(seed), micro_words)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.random.get_state()[1].tolist() == before[1]
        losses.append([record["loss"] for record in numbers(tmp_path / str(seed))])
    assert losses[0] == losses[1]


def test_verify_tells_what_a_crash_left(
    tmp_path: Path, micro_clips: Path, micro_words: tuple[str, ...]
) -> None:
    folder = tmp_path / "r"
    run(micro_clips, folder, micro_words)
    assert verify(folder).whole
    (folder / "checkpoints" / "step-00000009.pt").write_bytes(b"half")
    (found,) = (problem.found for one in verify(folder).outputs for problem in one.problems)
    assert found == "checkpoints: a state was not written to its end"
    run(micro_clips, folder, micro_words)  # whatever is half goes when it goes on
    assert verify(folder).whole
    note = saved_states(folder / "checkpoints")[1].note
    note.write_text(json.dumps({**read_json(note), "schema": "echocli.other/1"}))
    assert "not the note of a state" in str(verify(folder).outputs)
