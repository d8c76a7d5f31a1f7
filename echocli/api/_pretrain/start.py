"""Pretraining that starts from weights instead of from random numbers."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import Tensor

from echocli.api._pretrain.settings import Settings
from echocli.checkpoint import LoadedModel, find_model, load_model
from echocli.config import Layer, to_table
from echocli.console import Reporter
from echocli.errors import EchoError, UsageError
from echocli.models.methods.base import Method
from echocli.models.vit import Architecture, VisionTransformer
from echocli.study import Study

CLASS_TOKEN = "cls_token"
"""Of a clip; DISCOVR has one, V-JEPA none. The one part that may be fresh or left out."""


def load_start(argument: str | Path) -> LoadedModel:
    """Read the model to start from.

    Args:
        argument: Run folder, model folder, or name of a model of this study.

    Raises:
        EchoError: If it is missing or damaged.
    """
    return load_model(find_model(argument, Study()))


def settings_of(model: LoadedModel) -> Layer:
    """Return the settings that a model decides: its architecture, and what it saw of clips."""
    encoder, data = to_table(model.encoder.config), to_table(model.data)
    return Layer(
        "the model of --init",
        {
            "init": str(model.folder),
            "init_sha256": model.sha256,
            "encoder": {field.name: encoder[field.name] for field in fields(Architecture)},
            "data": {name: data[name] for name in ("mean", "std", "channels", "sector_tokens")},
        },
    )


def start_from(method: Method, settings: Settings, start: LoadedModel | None) -> dict[str, Any]:
    """Give student and teacher the weights that the settings name.

    Args:
        method: Changed in place.
        settings: Of the run.
        start: The model, if it was read already.

    Returns:
        What is kept of its origin: licence, source and training data go with the weights.

    Raises:
        UsageError: If the model is not the one that the run was begun with.
        EchoError: If a weight is missing, unexpected or of another shape.
    """
    model = start or load_start(settings.init)
    if model.sha256 != settings.init_sha256:
        raise UsageError(
            f"{model.folder} is not the model that this run was to start from: its weights "
            "have changed.",
            "Begin anew with --init and --overwrite.",
        )
    for network in (method.encoder, method.export_encoder()):
        give(network, model.encoder.state_dict())
    imported = model.details.get("imported", {})
    kept = ("format", "licence", "source", "sha256", "trained_on", "warning")
    return {name: imported[name] for name in kept if name in imported}


def check_frozen(method: Method, settings: Settings) -> None:
    """Check that blocks which are to stay as they are have learnt something before.

    Raises:
        UsageError: If they are random numbers.
    """
    blocks = method.encoder.blocks.parameters()
    frozen = any(not parameter.requires_grad for parameter in blocks)
    if frozen and not settings.init:
        raise UsageError(
            "Blocks that stay frozen must have learnt before; without --init they are random.",
            "Name a model with --init (`echocli models import` brings one in), or set "
            f"{settings.method}.frozen_blocks=0.",
        )


def give(network: VisionTransformer, weights: dict[str, Tensor]) -> None:
    """Give an encoder weights. A class token may stay fresh, or be left out.

    Raises:
        EchoError: If another weight is missing, unexpected or of another shape.
    """
    own = network.state_dict()
    given = {n: t for n, t in weights.items() if n in own or n != CLASS_TOKEN}
    wrong = [f"{name} is missing" for name in own if name not in {*given, CLASS_TOKEN}]
    wrong += [f"{name} is one too many" for name in given if name not in own]
    wrong += [
        f"{name} is {tuple(given[name].shape)}, not {tuple(own[name].shape)}"
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    if wrong:
        raise EchoError(
            f"The weights of --init do not fit the encoder: {'; '.join(wrong[:8])}"
            f"{f' and {len(wrong) - 8} more' if len(wrong) > 8 else ''}.",
            "Leave out the settings that change the encoder, or start without --init.",
        )
    network.load_state_dict({**own, **given})


def tell_start(method: Method, start: LoadedModel, reporter: Reporter) -> None:
    """Say what a run starts from, and what it does not take over."""
    reporter.say(f"starting from {start.folder} ({start.method})")
    ours, theirs = method.encoder.cls_token, start.encoder.cls_token
    if ours is not None and theirs is None:
        reporter.say("these weights have no class token: it starts from random numbers")
    if ours is None and theirs is not None:
        reporter.say("this method has no class token: that of the weights is left out")
    imported = start.details.get("imported", {})
    if imported:
        reporter.say(f"licence of these weights: {imported['licence']}")
    if imported.get("warning"):
        reporter.warn(imported["warning"])
