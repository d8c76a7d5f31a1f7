"""What is not possible is refused, with the nearest that is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from echocli.api._pretrain.settings import resolve_settings
from echocli.api.pretrain import Choice, pretrain
from echocli.errors import UsageError

PLACE: dict[str, str] = {"device": "cpu", "precision": "fp32"}


@pytest.mark.parametrize(
    ("words", "nearest"),
    [
        (("encoder.heads=5",), {"encoder.heads": 4, "encoder.dim": 190}),
        (("encoder.heads=7",), {"encoder.heads": 6, "encoder.dim": 189}),
        (
            ("encoder.positions=rotary", "encoder.heads=64"),
            {"encoder.heads": 48, "encoder.dim": 256},
        ),
        (("encoder.levels=9",), {"encoder.levels": 6}),
        (("data.frames=15",), {"data.frames": 16}),
        (("data.size=100",), {"data.size": 96}),
        (("data.frames=1", "data.size=3"), {"data.frames": 2, "data.size": 8}),
    ],
)
def test_the_nearest_possible_shape_is_named(
    words: tuple[str, ...], nearest: dict[str, int]
) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_settings(preset="tiny", changes=words, environment={})
    told = [int(number) for number in re.findall(r"\d+", caught.value.problem)]
    for value in nearest.values():
        assert value in told, caught.value.problem
    remedy = [f"{key}={value}" for key, value in nearest.items()]
    if "encoder.heads" in nearest:
        remedy = remedy[:1]  # heads or width, not both
    resolve_settings(preset="tiny", changes=(*words, *remedy), environment={})


@pytest.mark.parametrize(
    "word",
    [
        "discovr.head_outputs=-1",
        "discovr.head_hidden=0",
        "discovr.student_temperature=0",
        "discovr.teacher_temperature_end=-0.1",
        "discovr.cluster_sharpness=0",
        "discovr.momentum=1.5",
        "discovr.decoder_depth=0",
        "videomae.decoder_heads=-1",
        "vjepa.pairs=-1",
        "vjepa.locator_hidden=0",
        "vjepa.mask_tokens=0",
        "vjepa.predictor_heads=0",
        "vjepa.momentum_end=2.0",
        "vjepa.exponent=0",
        "vjepa.context_weight=-1.0",
        "vjepa.short_range.blocks=0",
        "vjepa.long_range.scale=1.5",
        "vjepa.long_range.duration=0",
        "vjepa.long_range.aspect=[0.0, 0.0]",
        "vjepa.short_range.aspect=[2.0, 1.0]",
        "optim.betas=[0.9, 1.0]",
        "optim.weight_decay_end=-0.1",
    ],
)
def test_a_number_that_a_setting_cannot_be_is_refused_by_name(word: str) -> None:
    key = word.partition("=")[0]
    method = key.partition(".")[0] if not key.startswith("optim") else "discovr"
    with pytest.raises(UsageError) as caught:
        resolve_settings(method=method, changes=(word,), environment={})
    assert key.rpartition(".")[2] in caught.value.problem


@pytest.mark.parametrize("word", ["encoder.heads=0", "encoder.depth=0", "encoder.dim=0"])
def test_nothing_is_not_a_shape(word: str) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        resolve_settings(changes=(word,), environment={})


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (("vjepa.frozen_blocks=4", "encoder.depth=3"), "vjepa.frozen_blocks=2"),
        (("vjepa.predictor_dim=50", "vjepa.predictor_heads=3"), "vjepa.predictor_dim=51"),
    ],
)
def test_a_method_that_cannot_be_built_is_refused_before_anything_is_written(
    tmp_path: Path,
    micro_clips: Path,
    micro_words: tuple[str, ...],
    words: tuple[str, ...],
    remedy: str,
) -> None:
    choice = Choice(method="vjepa", steps=1, changes=(*micro_words, *words))
    with pytest.raises(UsageError) as caught:
        pretrain(micro_clips, choice, out=tmp_path / "r", **PLACE)
    assert remedy.partition("=")[2] in re.findall(r"\d+", caught.value.problem)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("method", ["vjepa", "videomae"])
@pytest.mark.parametrize("word", ["data.size=8", "stages=[{begins=0.5, size=8}]"])
def test_a_frame_that_is_one_tubelet_is_refused_where_some_must_be_hidden(
    tmp_path: Path, micro_clips: Path, micro_words: tuple[str, ...], method: str, word: str
) -> None:
    choice = Choice(method=method, steps=2, changes=(*micro_words, word))
    with pytest.raises(UsageError, match="size=16") as caught:
        pretrain(micro_clips, choice, out=tmp_path / "r", **PLACE)
    assert method in caught.value.problem
    assert not (tmp_path / "r").exists()
    possible = Choice(method=method, steps=2, changes=(*micro_words, word.replace("8", "16")))
    assert pretrain(micro_clips, possible, out=tmp_path / "r", **PLACE).finished
