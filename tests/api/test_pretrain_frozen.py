"""Pretraining with frozen blocks: from weights only, and the same after a resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from echocli.api._pretrain.start import check_frozen
from echocli.api.pretrain import Choice, plan, pretrain
from echocli.checkpoint import load_model
from echocli.errors import UsageError
from echocli.models.methods.base import load
from echocli.states import load_state

PLACE = {"device": "cpu", "precision": "fp32"}


@pytest.fixture(scope="module")
def words(micro_words: tuple[str, ...]) -> tuple[str, ...]:
    return (*micro_words, "encoder.depth=2", "watch.checkpoint_every=1")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, micro_clips: Path, words: Any) -> Path:
    """A run to start from."""
    folder = tmp_path_factory.mktemp("begun") / "run"
    pretrain(micro_clips, Choice(method="vjepa", steps=1, changes=words), out=folder, **PLACE)
    return folder


def test_frozen_blocks_stay_and_a_resume_changes_nothing(
    begun: Path, micro_clips: Path, words: tuple[str, ...], tmp_path: Path
) -> None:
    choice = Choice(
        method="vjepa",
        steps=4,
        seed=1,
        init=begun,
        changes=(*words, "vjepa.frozen_blocks=1", "vjepa.momentum=0.5"),
    )
    straight = pretrain(micro_clips, choice, out=tmp_path / "straight", **PLACE)
    answers = iter([False, True])
    half = pretrain(
        micro_clips, choice, out=tmp_path / "resumed", stop=lambda: next(answers), **PLACE
    )
    assert half.steps_done == 2
    resumed = pretrain(micro_clips, Choice(), out=tmp_path / "resumed", resume=True, **PLACE)
    before = load_model(begun).encoder
    one, two = (load_model(result.model).encoder for result in (straight, resumed))
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, two.state_dict()[name]), name
    frozen = {id(parameter) for parameter in before.bottom(1)}
    after = dict(one.named_parameters())
    for name, parameter in before.named_parameters():
        assert torch.equal(after[name], parameter) == (id(parameter) in frozen), name
    state, _ = load_state(straight.run / "checkpoints")
    moments = state["optimizer"]["state"]
    weights = [m["exp_avg"].shape for m in moments.values()]
    assert before.patch_embed.proj.weight.shape not in weights


def test_random_blocks_are_not_frozen(
    micro_clips: Path, words: tuple[str, ...], tmp_path: Path
) -> None:
    choice = Choice(method="vjepa", steps=1, changes=(*words, "vjepa.frozen_blocks=1"))
    for act in (plan, pretrain):
        with pytest.raises(UsageError, match="without --init they are random"):
            act(micro_clips, choice, out=tmp_path / "run", **PLACE)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("method", ["discovr", "videomae"])
def test_norms_of_levels_that_a_method_does_not_read_are_no_frozen_blocks(method: str) -> None:
    settings = Choice(method=method, changes=("encoder.levels=2", "encoder.depth=2")).resolve()
    generator = torch.Generator().manual_seed(0)
    vit = settings.value.encoder.vit(settings.value.data)
    built = load(method).build(vit, settings.value.method_config, generator)
    assert not all(p.requires_grad for p in built.encoder.parameters())
    check_frozen(built, settings.value)
