"""The settings of a pretraining run, and where each comes from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, make_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from echocli.api._pretrain.auto import take_auto
from echocli.api._pretrain.stages import Stage, StageConfig, stages_of
from echocli.clips.batches import FeedConfig
from echocli.clips.contract import DataConfig
from echocli.config import (
    Layer,
    Resolved,
    from_assignments,
    from_environment,
    read_preset,
    read_settings,
    resolve,
)
from echocli.errors import UsageError
from echocli.models.augment import AugmentConfig
from echocli.models.methods.base import available, load
from echocli.models.optim import OptimConfig
from echocli.models.training import Compiled
from echocli.models.vit import Architecture, ViTConfig
from echocli.trackers.base import load as load_tracker

METHOD = "discovr"
PRESET = "tiny"
OPTION = "an option"
WITHOUT_TEST = "split != 'test'"
"""Patients of the test split stay unseen unless they are asked for."""


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(Architecture):
    """Shape of the encoder; its input comes from the section ``data``."""

    recompute: bool = ViTConfig.recompute
    """Whether the inside of blocks is computed twice instead of kept: slower, much smaller."""

    def vit(self, data: DataConfig) -> ViTConfig:
        """Return the encoder for an input.

        Raises:
            ValueError: If the tubelets do not fit the input, or the heads the width.
        """
        shape = {item.name: getattr(self, item.name) for item in fields(Architecture)}
        return ViTConfig(
            frames=data.frames,
            size=data.size,
            channels=data.channels,
            recompute=self.recompute,
            **shape,
        )


@dataclass(frozen=True, kw_only=True)
class WatchConfig:
    """How often to save and to look, and what to do about what is seen."""

    checkpoint_every: int = 100
    """Steps between two saved states."""
    health_every: int = 100
    """Steps between two looks at the features; within the first so many there are five."""
    health_clips: int = 32
    """Clips that are looked at; always the same."""
    on_nan: Literal["stop", "rollback"] = "stop"
    """When the loss stops being a number: stop, or go back to the last good state and on at a
    third of the learning rate, three times at most."""
    on_collapse: Literal["warn", "stop", "rollback"] = "warn"
    """When the features collapse: say so and go on, stop, or go back as after ``on_nan``."""
    probe: str | None = "auto"
    """Column of the manifest that a probe tells from the features now and then; ``auto`` takes
    EF, or else normal and abnormal, if enough patients have it. The encoder never learns it."""
    probe_clips: int = 256
    """Clips of the probe at most."""
    probe_every: int = 10
    """Looks at the features between two probes."""
    trackers: tuple[str, ...] = ()
    """Where metrics go beside ``metrics.jsonl``; see ``echocli/trackers``."""

    def __post_init__(self) -> None:
        if min(self.checkpoint_every, self.health_every) < 1 or self.health_clips < 2:
            raise ValueError("checkpoint_every and health_every are at least 1, clips 2.")
        if min(self.probe_clips, self.probe_every) < 1:
            raise ValueError("probe_clips and probe_every are at least 1.")
        for name in self.trackers:
            load_tracker(name)  # says what is missing, before anything is written
        # The two newest states are kept; one must be from before two looks that were bad.
        enough = (
            self.checkpoint_every % self.health_every == 0
            or self.checkpoint_every > 2 * self.health_every
        )
        if self.on_collapse == "rollback" and not enough:
            raise ValueError(
                "on_collapse=rollback needs a checkpoint_every that is a multiple of "
                "health_every, or more than twice as large."
            )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that decides what a run computes, beside its clips and the machine.

    The settings of the chosen method follow in a section of its name.
    """

    method: str = METHOD
    preset: str = PRESET
    seed: int = 0
    """Start of weights, order of clips, windows, masks and augmentation."""
    where: str = WITHOUT_TEST
    """Condition on the manifest that a clip must meet, such as ``normal``; none if empty.
    Patients of the test split stay unseen unless it names the column ``split``."""
    init: str = ""
    """Model whose weights student and teacher start from; random ones if empty."""
    init_sha256: str = ""
    """Of these weights."""
    data: DataConfig = field(default_factory=DataConfig)
    feed: FeedConfig = field(default_factory=FeedConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    watch: WatchConfig = field(default_factory=WatchConfig)
    stages: tuple[StageConfig, ...] = ()
    """When frames, size or batch change; ``data`` and ``optim`` are what it begins with."""
    sharded: bool | None = None
    """Whether each of several processes holds a share of the weights, teachers and moments only
    (FSDP2), for less memory and more traffic; on GPUs from ViT-L on if left out, unless steps
    are compiled."""
    compiled: Compiled = False
    """Whether steps are compiled (torch.compile), as one graph each (``true``) or their
    ``blocks`` alone: minutes before the first step of a stage, and a C++ compiler, for faster
    ones. Losses differ in their last digits."""

    def __post_init__(self) -> None:
        for stage in self.course:
            self.encoder.vit(stage.data)  # says what does not fit
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; it must not be negative.")
        if self.sharded and self.compiled:
            raise ValueError("Weights in shares cannot be compiled: set sharded or compiled.")

    @property
    def course(self) -> list[Stage]:
        """The stages of the training, one at least."""
        return stages_of(self.optim.steps, self.data, self.optim.batch, self.stages)

    @property
    def method_config(self) -> Any:  # noqa: ANN401
        """The settings of the method."""
        return getattr(self, self.method)


@dataclass(frozen=True)
class Wanted(Resolved[Settings]):
    """Settings as they were asked for."""

    automatic: frozenset[str]
    """Those that the memory of the machine is to decide; until then they have their values
    without it."""


def settings_class(method: str) -> type[Settings]:
    """Return the class of settings with the section of a method."""
    config = load(method).Config
    extra = [(method, config, field(default_factory=config))]
    return make_dataclass("Settings", extra, bases=(Settings,), frozen=True, kw_only=True)


def resolve_settings(
    *,
    method: str | None = None,
    preset: str | None = None,
    file: Path | None = None,
    options: Mapping[str, Any] | None = None,
    changes: Sequence[str] = (),
    base: Mapping[str, Any] | None = None,
    start: Layer | None = None,
    environment: Mapping[str, str] | None = None,
) -> Wanted:
    """Merge all layers.

    Args:
        method: From the command line; that of the preset if left out, if it has one.
        preset: From the command line.
        file: TOML or JSON file of settings, or a run's ``config.json``.
        options: Settings that have an option of their own.
        changes: Words such as ``optim.lr=1e-4``.
        base: Settings of a run to go on with, instead of the preset.
        start: Settings that the model of ``--init`` decides.
        environment: The process's own if left out.

    Raises:
        UsageError: If a method, preset, key or value is not possible.
    """
    given = read_settings(file) if file else {}
    variables = from_environment(os.environ if environment is None else environment)
    below: Mapping[str, Any] = base or {}
    preset = preset or given.get("preset") or below.get("preset") or PRESET
    lowest = Layer("the run", below) if base else Layer(f"preset {preset}", read_preset(preset))
    own = lowest.values.get("method")
    method = _check_method(method or given.get("method") or own or METHOD)
    if own not in (None, method) and not base:
        raise UsageError(
            f"The preset {preset} is one of {own}, not of {method}.",
            f"Choose another preset, such as --preset {PRESET}, or --method {own}.",
        )
    others = {name for name in available() if name != method}
    layers = [
        lowest,
        *([start] if start else []),
        Layer("--config", given),
        Layer("the environment", variables),
        Layer(OPTION, {"method": method, "preset": preset, **(options or {})}),
        Layer("--set", from_assignments(changes)),
    ]
    # A preset, a file and the environment may serve several methods; --set means this one.
    shared = [
        replace(x, values={k: v for k, v in x.values.items() if k not in others})
        for x in layers[:-1]
    ]
    defaults = settings_class(method)(method=method, preset=preset)
    asked = take_auto([*shared, layers[-1]])
    resolved = _shorten_warmup(defaults, asked.plain, resolve(defaults, asked.plain))
    return Wanted(resolved.value, resolved.sources, asked.automatic)


def _shorten_warmup(
    defaults: Settings, layers: list[Layer], resolved: Resolved[Settings]
) -> Resolved[Settings]:
    """Keep the warm-up of a preset within a tenth of the steps, unless it was asked for."""
    optim = resolved.value.optim
    tenth = max(1, optim.steps // 10)
    source = resolved.sources.get("optim.warmup_steps", "default")
    asked = source != "default" and not source.startswith("preset")
    if asked or optim.warmup_steps <= tenth:
        return resolved
    shorter = Layer("a tenth of the steps", {"optim": {"warmup_steps": tenth}})
    return resolve(defaults, [*layers, shorter])


def _check_method(name: object) -> str:
    names = available()
    if name not in names:
        near = get_close_matches(str(name), names, 1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"There is no method {name}.", f"{hint}Methods are: {', '.join(names)}."
        )
    return str(name)
