"""Pretraining from public weights: what is taken, what is refused, and a resume without."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from ears import Ears
from made_weights import HEADS, MADE, SIZE
from safetensors.torch import save_file

from echocli.api import models
from echocli.api._models.convert import Choice as Weights
from echocli.api._pretrain.settings import resolve_settings
from echocli.api._pretrain.start import load_start, settings_of, start_from
from echocli.api.pretrain import Choice, plan, pretrain
from echocli.checkpoint import load_model
from echocli.errors import EchoError, UsageError
from echocli.models.methods.base import available, load
from echocli.models.weights.base import Wish

METHODS = available()
PLACE = {"device": "cpu", "precision": "fp32"}
FEW = ("data.frames=4", "data.size=32", "data.seconds=0.5", "optim.batch=3")
FORMATS = {"discovr": "discovr", "hf_vjepa2": "vjepa"}


@pytest.fixture(scope="module")
def brought_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two imported models, one with a class token and one without."""
    folder = tmp_path_factory.mktemp("public")
    for name in FORMATS:
        found = MADE[name]()
        file = folder / f"{name}.safetensors"
        save_file(dict(found.tensors), file)
        wish = Wish(heads=HEADS, frames=4, size=SIZE)
        models.import_model(str(file), out=folder / name, choice=Weights(wish=wish))
    return folder


def built(method: str, model: Path) -> tuple[Any, Any]:
    """Return a method that starts from a model, and its settings."""
    start = load_start(model)
    settings = resolve_settings(
        method=method, changes=FEW, start=settings_of(start), environment={}
    ).value
    vit = settings.encoder.vit(settings.data)
    made = load(method).build(vit, settings.method_config, torch.Generator().manual_seed(0))
    return made, settings


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", list(FORMATS))
def test_student_and_teacher_get_the_weights_and_nothing_else_does(
    method: str, name: str, brought_in: Path
) -> None:
    made, settings = built(method, brought_in / name)
    fresh, _ = built(method, brought_in / name)
    kept = start_from(made, settings, None)
    assert kept["licence"]
    weights = load_model(brought_in / name).encoder.state_dict()
    for network in (made.encoder, made.export_encoder()):
        for key, value in network.state_dict().items():
            if key in weights:
                assert torch.equal(value, weights[key]), key
            else:
                assert key == "cls_token"
    ours = {
        p.data_ptr() for net in (made.encoder, made.export_encoder()) for p in net.parameters()
    }
    others = [n for n, p in made.named_parameters() if p.data_ptr() not in ours]
    before = dict(fresh.named_parameters())
    assert others
    for key, value in made.named_parameters():
        if key in others:
            assert torch.equal(value, before[key])


def test_the_model_decides_architecture_and_scale_but_not_the_window(brought_in: Path) -> None:
    start = load_start(brought_in / "hf_vjepa2")
    found = resolve_settings(method="vjepa", start=settings_of(start), environment={})
    settings = found.value
    assert (settings.encoder.positions, settings.encoder.rope_pairing) == ("rotary", "tiled")
    assert (settings.data.mean, settings.data.std) == (start.data.mean, start.data.std)
    assert not start.data.sector_tokens  # public networks saw all tokens
    assert not settings.data.sector_tokens
    assert settings.data.size == 64  # of the preset
    assert found.sources["encoder.depth"] == "the model of --init"


@pytest.mark.parametrize(
    ("change", "name"), [("encoder.depth=3", "blocks.3"), ("encoder.mlp_ratio=2.0", "mlp.fc1")]
)
def test_what_does_not_fit_is_refused_by_name(
    change: str, name: str, brought_in: Path, micro_clips: Path, tmp_path: Path
) -> None:
    choice = Choice(
        method="vjepa", steps=1, init=brought_in / "hf_vjepa2", changes=(*FEW, change)
    )
    for act in (plan, pretrain):
        with pytest.raises(EchoError, match=name):
            act(micro_clips, choice, out=tmp_path / "run", **PLACE)
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_run_starts_from_weights_and_goes_on_without_them(
    brought_in: Path, micro_clips: Path, tmp_path: Path
) -> None:
    public = tmp_path / "public"
    shutil.copytree(brought_in / "discovr", public)
    words = (*FEW, "watch.checkpoint_every=1", "vjepa.momentum=1.0", "optim.weight_decay=0.0")
    choice = Choice(method="vjepa", steps=2, init=public, changes=words)
    ears = Ears()
    counted = iter([True])
    half = pretrain(
        micro_clips,
        choice,
        out=tmp_path / "run",
        stop=lambda: next(counted, True),
        reporter=ears,
        **PLACE,
    )
    assert not half.finished
    assert any("licence of these weights: Apache-2.0" in line for line in ears.said)
    assert any("class token" in line for line in ears.said)
    assert any("EchoNet-Dynamic" in line for line in ears.warned)
    weights = load_model(public).encoder.state_dict()
    shutil.rmtree(public)
    whole = pretrain(micro_clips, Choice(), out=tmp_path / "run", resume=True, **PLACE)
    assert whole.finished
    model = load_model(whole.model)
    # A teacher that never moves is what it started from.
    for key, value in model.encoder.state_dict().items():
        assert torch.equal(value, weights[key]), key
    assert model.details["init"]["licence"].startswith("Apache-2.0")


def test_weights_that_changed_are_not_gone_on_from(brought_in: Path) -> None:
    made, settings = built("vjepa", brought_in / "hf_vjepa2")
    other = load_start(brought_in / "discovr")
    with pytest.raises(UsageError, match="have changed"):
        start_from(made, settings, other)
