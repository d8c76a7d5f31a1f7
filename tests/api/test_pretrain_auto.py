"""What is left to the machine's memory: decided by a rule, said, saved, and then left alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ears import Ears

from echocli.api import pretrain as pretrain_module
from echocli.api._pretrain.auto import take_auto
from echocli.api._pretrain.memory import ROOM, Room, free_for, with_batch
from echocli.api._pretrain.settings import Settings, Wanted, resolve_settings
from echocli.api._pretrain.settle import MOST_TIMES, settle, too_large
from echocli.api.pretrain import Choice, plan, pretrain
from echocli.checkpoint import load_model
from echocli.clips.store import ClipSet
from echocli.config import Layer, from_assignments
from echocli.device import choose_device
from echocli.distributed import Ranks
from echocli.errors import MachineError
from echocli.run import read_metrics

PLENTY = 10**13
PLACE: dict[str, str] = {"device": "cpu", "precision": "fp32"}


@pytest.fixture
def clips(micro_clips: Path) -> ClipSet:
    return ClipSet.open(micro_clips)


def wanted(words: tuple[str, ...], *more: str, **options: Any) -> Wanted:
    return resolve_settings(
        method="videomae", changes=(*words, *more), environment={}, **options
    )


def room(clips: ClipSet, free: int | None, ranks: int = 1) -> Room:
    return Room(clips, choose_device("cpu", "fp32"), Ranks(0, ranks), 2, free)


def just_enough(clips: ClipSet, settings: Settings, ranks: int = 1) -> Room:
    """Return a room that these settings fill."""
    needed = room(clips, PLENTY, ranks).needed(settings).total
    return room(clips, round((needed + 1) / ROOM) + 1, ranks)


def test_the_last_word_decides_whether_a_setting_is_automatic() -> None:
    def layers(*words: str) -> list[Layer]:
        return [Layer(str(i), from_assignments([w])) for i, w in enumerate(words)]

    cases = [
        (("optim.batch=8",), set(), 8),
        (("optim.batch=8", "optim.batch=auto"), {"optim.batch"}, 8),
        (("optim.batch=8", "optim.batch=auto", "optim.batch=4"), set(), 4),
    ]
    for words, automatic, batch in cases:
        found = take_auto(layers(*words))
        assert found.automatic - {"encoder.recompute"} == automatic, words
        given = [x.values["optim"]["batch"] for x in found.plain if x.values["optim"]]
        assert given[-1] == batch
    assert "encoder.recompute" in take_auto([]).automatic
    assert "encoder.recompute" not in take_auto(layers("encoder.recompute=false")).automatic


def test_old_files_with_plain_values_are_read(tmp_path: Path) -> None:
    file = tmp_path / "old.json"
    file.write_text(json.dumps({"optim": {"batch": 5}, "encoder": {"recompute": True}}))
    found = resolve_settings(file=file, environment={})
    assert (found.value.optim.batch, found.value.encoder.recompute) == (5, True)
    assert not found.automatic


@pytest.mark.parametrize(("ranks", "batch", "next_one"), [(1, 24, 32), (2, 6, 8)])
def test_the_largest_batch_is_the_last_one_that_fits(
    clips: ClipSet, micro_words: tuple[str, ...], ranks: int, batch: int, next_one: int
) -> None:
    settings = wanted(micro_words).value
    tight = just_enough(clips, with_batch(settings, batch), ranks)
    assert tight.largest_batch(settings, 1000) == batch
    assert tight.fits(with_batch(settings, batch))
    assert not tight.fits(with_batch(settings, next_one))
    assert room(clips, 1000, ranks).largest_batch(settings, 1000) == 0


def test_an_automatic_batch_scales_the_recipes_rates_and_is_said(
    clips: ClipSet, micro_words: tuple[str, ...]
) -> None:
    asked = wanted(micro_words, "optim.batch=auto")
    asked = replace(asked, value=with_batch(asked.value, 2))  # as if a preset's
    ears = Ears()
    found = settle(asked, room(clips, PLENTY), None, ears)
    assert found.value.optim.batch == MOST_TIMES * 2
    assert found.value.optim.lr == MOST_TIMES * asked.value.optim.lr
    assert found.value.optim.min_lr == MOST_TIMES * asked.value.optim.min_lr
    assert found.sources["optim.batch"] == "memory"
    (line,) = ears.said
    assert "batch 8 instead of the recipe's 2" in line
    assert "0.0005 to 0.002" in line

    by_hand = wanted(micro_words, "optim.batch=auto", "optim.lr=0.001")
    found = settle(by_hand, room(clips, PLENTY), None, ears)
    assert found.value.optim.lr == 0.001
    assert "the learning rate stays 0.001" in ears.said[-1]


def test_a_batch_is_no_larger_than_the_clip_set(
    clips: ClipSet, micro_words: tuple[str, ...]
) -> None:
    asked = wanted(micro_words, "optim.batch=auto")
    for own, batch in ((4, 8), (3, 8), (12, 8), (16, 16)):  # of ten clips, in eighths
        asked = replace(asked, value=with_batch(asked.value, own))
        assert settle(asked, room(clips, PLENTY), None, Ears()).value.optim.batch == batch


def test_blocks_are_computed_twice_rather_than_fewer_clips_taken(
    clips: ClipSet, micro_words: tuple[str, ...]
) -> None:
    asked = wanted(micro_words, "encoder.depth=4", "optim.batch=16")
    once = asked.value
    enough, ears = just_enough(clips, once), Ears()
    assert not settle(asked, enough, None, ears).value.encoder.recompute
    assert not ears.said

    tight = replace(enough, free=enough.free - 500_000)  # type: ignore[operator]
    found = settle(asked, tight, None, ears).value
    assert (found.encoder.recompute, found.optim.batch) == (True, 16)
    assert "computed twice" in ears.said[0]
    assert not ears.warned
    assert tight.fits(found)

    never = wanted(micro_words, "encoder.depth=4", "optim.batch=16", "encoder.recompute=false")
    assert settle(never, tight, None, ears).value == never.value
    assert "encoder.recompute=true" in ears.warned[0]


def test_what_is_too_large_names_what_fits(
    clips: ClipSet, micro_words: tuple[str, ...]
) -> None:
    settings = wanted(micro_words, "encoder.recompute=true", "optim.batch=24").value
    tight = just_enough(clips, with_batch(settings, 16))
    problem = too_large(settings, tight)
    words = [word for word in problem.replace(".\n", " ").split() if "=" in word]
    assert len(words) == 2
    for word in words:
        remedy = wanted(
            micro_words, "encoder.recompute=true", "optim.batch=24", word.strip(".")
        )
        assert tight.fits(remedy.value), word
    assert "optim.batch=16" in problem


def test_settled_numbers_stay_with_a_run_wherever_it_goes_on(
    tmp_path: Path,
    micro_clips: Path,
    micro_words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "recipe.json"
    file.write_text(json.dumps({"optim": {"batch": 2, "lr": 0.001}}))
    words = (*micro_words, "optim.batch=auto")
    choice = Choice(method="videomae", steps=4, config=file, changes=words)
    first = pretrain(micro_clips, choice, out=tmp_path / "r", stop=lambda: True, **PLACE)
    saved = json.loads((tmp_path / "r" / "config.json").read_text())["settings"]
    assert first.steps_done == 1
    assert saved["optim"]["batch"] == 8
    assert saved["optim"]["lr"] == 0.004
    assert saved["encoder"]["recompute"] is False

    monkeypatch.setattr(pretrain_module, "free_for", lambda *_: 1000)  # another machine
    ears = Ears()
    seen = plan(micro_clips, choice, out=tmp_path / "r", **PLACE)
    assert seen.settings["optim"]["batch"] == 8
    second = pretrain(
        micro_clips, choice, out=tmp_path / "r", stop=lambda: True, reporter=ears, **PLACE
    )
    assert second.steps_done == 2
    third = pretrain(micro_clips, out=tmp_path / "r", resume=True, **PLACE)
    assert third.finished
    assert json.loads((tmp_path / "r" / "config.json").read_text())["settings"] == saved


def test_free_memory_is_shared_by_processes_of_a_processor() -> None:
    place = choose_device("cpu", "fp32")
    alone = free_for(place, Ranks())
    assert alone is None or 1e8 < alone < 1e14


def test_memory_that_runs_out_names_what_needs_less(
    tmp_path: Path,
    micro_clips: Path,
    micro_words: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(pretrain_module, "run_steps", full)
    choice = Choice(method="videomae", steps=1, changes=micro_words)
    with pytest.raises(MachineError, match="ran out in a step of 3 clips") as caught:
        pretrain(micro_clips, choice, out=tmp_path / "r", **PLACE)
    for word in ("encoder.recompute=true", "optim.parts=3"):
        assert f"--set {word}" in caught.value.remedy
        resolve_settings(changes=(word,), environment={})


def test_a_run_goes_on_with_blocks_computed_twice_as_if_nothing_was(
    tmp_path: Path, micro_clips: Path, micro_words: tuple[str, ...]
) -> None:
    choice = Choice(method="videomae", steps=3, changes=micro_words)
    pretrain(micro_clips, choice, out=tmp_path / "straight", **PLACE)
    pretrain(micro_clips, choice, out=tmp_path / "r", stop=lambda: True, **PLACE)
    twice = Choice(changes=("encoder.recompute=true",))
    assert pretrain(micro_clips, twice, out=tmp_path / "r", resume=True, **PLACE).finished
    settings = json.loads((tmp_path / "r" / "config.json").read_text())["settings"]
    assert settings["encoder"]["recompute"] is True
    losses = [[m["loss"] for m in read_metrics(tmp_path / name)] for name in ("straight", "r")]
    assert losses[0] == losses[1]
    assert load_model(tmp_path / "straight").sha256 == load_model(tmp_path / "r").sha256
