"""Every preset can be read, built and told of; the small ones take a step."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from importlib import resources

import pytest
import torch

from echocli.api._pretrain.settings import Settings, resolve_settings
from echocli.commands._options import PRESETS
from echocli.commands._plan import presets
from echocli.config import preset_names, preset_summary, read_preset
from echocli.models.memory import build_empty
from echocli.models.methods.base import available, load
from echocli.models.optim import OptimConfig
from echocli.models.training import train
from echocli.models.vit import SIZES

SMALL = ("laptop", "laptop-vjepa", "tiny")
CASES = [
    (name, method)
    for name in preset_names()
    for method in available()
    if read_preset(name).get("method", method) == method
]
BLOCKS = {
    "small": "small",
    "base": "base",
    "large": "large",
    "discovr-paper": "base",
    "discovr-release": "base",
    "adapt-vjepa21-vitb": "base",
    "ellis-vitl-12b": "large",
    "ellis-vitl-16b": "large",
}
"""Which encoder of the published family each one trains."""


def settings_of(name: str, method: str) -> Settings:
    return resolve_settings(method=method, preset=name, environment={}).value


@pytest.mark.parametrize(("name", "method"), CASES)
def test_every_preset_can_be_built_for_its_methods(name: str, method: str) -> None:
    settings = settings_of(name, method)
    vit = settings.encoder.vit(settings.data)
    built = build_empty(method, vit, settings.method_config)
    assert all(parameter.is_meta for parameter in built.parameters())
    assert any(parameter.requires_grad for parameter in built.parameters())
    if name in BLOCKS:
        published = SIZES[BLOCKS[name]]
        assert (vit.dim, vit.depth, vit.heads) == tuple(published.values())[:3]


@pytest.mark.parametrize(("name", "method"), [case for case in CASES if case[0] in SMALL])
def test_the_small_ones_take_a_step(name: str, method: str) -> None:
    settings = settings_of(name, method)
    # One block as wide as the preset's, two clips: what could be wrong is in the shapes.
    vit = replace(settings.encoder.vit(settings.data), depth=settings.encoder.levels)
    generator = torch.Generator().manual_seed(0)
    built = load(method).build(vit, settings.method_config, generator)
    clips = torch.randn(2, vit.channels, vit.frames, vit.size, vit.size, generator=generator)
    config = replace(settings.optim, steps=1, batch=2)
    (record,) = train(built, [clips], config, generator, augmentation=settings.augment)
    assert torch.tensor([record.loss, record.grad_norm]).isfinite().all()


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_begins_with_what_it_is_for(name: str) -> None:
    text = resources.files("echocli").joinpath("presets", f"{name}.toml").read_text("utf-8")
    assert preset_summary(name).endswith(".")
    assert len(preset_summary(name)) <= 94
    assert text.isascii()
    assert all(len(line) <= 104 for line in text.splitlines())
    sections = [part for part in tomllib.loads(text) if part not in ("method",)]
    assert set(sections) <= {"data", "encoder", "optim", "watch", "augment", *available()}
    if "method" not in read_preset(name):
        assert {"data", "encoder", "optim"} <= set(sections)


def test_published_learning_rates_follow_from_their_batches() -> None:
    def optim(name: str) -> OptimConfig:
        return settings_of(name, str(read_preset(name).get("method"))).optim

    for name in ("discovr-paper", "discovr-release"):  # 1.5e-4 for 256 clips
        assert optim(name).lr == pytest.approx(1.5e-4 * optim(name).batch / 256, rel=0.01)
    ellis = optim("ellis-vitl-12b")  # 300 epochs, 20 of them warm-up
    assert ellis.warmup_steps / ellis.steps == pytest.approx(20 / 300)


def test_ellis_variants_differ_in_what_is_frozen_only() -> None:
    twelve, sixteen = (dict(read_preset(f"ellis-vitl-{n}b")) for n in (12, 16))
    assert twelve["vjepa"].pop("frozen_blocks") == 12
    assert sixteen["vjepa"].pop("frozen_blocks") == 16
    assert twelve == sixteen


def test_presets_are_listed_and_in_the_help() -> None:
    assert [row[0] for row in presets()] == preset_names()
    named = PRESETS.replace(";", ",").replace(".", ",").replace(" (if left out)", "")
    assert set(preset_names()) <= {word.strip() for word in named.split(",")}
