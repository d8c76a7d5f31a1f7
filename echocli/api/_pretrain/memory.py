"""How much memory a run needs on this machine, by part, and whether there is as much."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import torch

from echocli.api._pretrain.job import SHARDED_FROM
from echocli.api._pretrain.settings import Settings
from echocli.api._pretrain.stages import Stage
from echocli.api._sector import share_to_train
from echocli.clips.contract import DataConfig
from echocli.clips.readers import in_flight
from echocli.clips.store import ClipSet
from echocli.device import Device, free_memory
from echocli.distributed import Ranks
from echocli.errors import MachineError, UsageError
from echocli.models.memory import Memory, build_empty, step_memory
from echocli.models.sector import choose_places
from echocli.models.shapes import Places
from echocli.models.team import Team
from echocli.models.training import Precision
from echocli.models.vit import ViTConfig

ROOM = 0.8
"""Share of the free memory that a run may fill; the rest is for what is not foreseen."""
CARELESS = 300
"""Bytes a token, channel and block that no step needs: DISCOVR as published needs 115."""
CARELESS_WEIGHTS = 1000
"""The same a block and square of the width, for all that does not grow with clips: ViT-B in
DISCOVR needs 600."""
LIBRARIES = 220_000_000
"""Bytes by which a process grows on a processor beside tensors: code and its kernels."""
RAGGED_LIBRARIES = 600_000_000
"""The same where masks differ in length from step to step: kernels for every length, and gaps
between tensors. Both are measured by ``benchmarks/plan_truth.py``."""
GAPS = 0.1
"""Share of the activations that is lost between them on a processor (the same)."""


@dataclass(frozen=True)
class RunMemory:
    """Bytes that a process of a run holds at its fullest moment, by part."""

    weights: int
    teachers: int
    """Frozen blocks and tables of positions too."""
    gradients: int
    moments: int
    """What the optimiser remembers."""
    activations: int
    """What forward and backward hold beside the gradients."""
    batch: int
    """Clips on their way and on the device."""
    saving: int
    """The copy of the state that is written beside the training; not on a GPU."""
    libraries: int
    """What code, its kernels and gaps between tensors take on a processor; measured on some."""

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(vars(self).values())


@dataclass(frozen=True)
class Room:
    """What a run is to fit into, and what decides its need beside its settings."""

    clips: ClipSet
    place: Device
    ranks: Ranks
    readers: int
    free: int | None
    """Bytes for each process, see ``free_for``; ``None`` where the system does not tell."""
    _shares: dict[DataConfig, float] = field(init=False, repr=False, default_factory=dict)

    @property
    def usable(self) -> float:
        """Bytes that a run may fill."""
        return math.inf if self.free is None else ROOM * self.free

    def needed(self, settings: Settings) -> RunMemory:
        """Return what the stage that needs most needs."""
        stages = (self._of_stage(settings, stage) for stage in settings.course)
        return max(stages, key=lambda memory: memory.total)

    def fits(self, settings: Settings) -> bool:
        """Return whether a run may begin; where there is plenty, little is computed."""
        if self.plenty(settings):
            return True
        return self.needed(settings).total <= self.usable

    def plenty(self, settings: Settings) -> bool:
        """Return whether even a careless guess fits."""
        return all(careless(settings, stage) < self.usable for stage in settings.course)

    def largest_batch(self, settings: Settings, most: int) -> int:
        """Return the most clips a step that fit, for all processes together; 0 if none do.

        Args:
            settings: All but the batch.
            most: No more than so many.
        """
        sizes = tidy_sizes(self.ranks.size * settings.optim.parts, most)
        if not sizes or not self.fits(with_batch(settings, sizes[0])):
            return 0
        # Nearly a straight line: from two points to where it ends, then step by step.
        few, more = sizes[0], sizes[min(4, len(sizes) - 1)]
        least, other = (self.needed(with_batch(settings, n)).total for n in (few, more))
        slope = max(1.0, (other - least) / max(1, more - few))
        place = bisect_right(sizes, few + max(0.0, self.usable - least) / slope) - 1
        while not self.fits(with_batch(settings, sizes[place])):
            place -= 1
        while place + 1 < len(sizes) and self.fits(with_batch(settings, sizes[place + 1])):
            place += 1
        return sizes[place]

    def share(self, vit: ViTConfig, data: DataConfig) -> float:
        """Return the share of the grid's columns that is seen."""
        if data not in self._shares:
            share = share_to_train(self.clips, range(len(self.clips)), data, vit.grid)
            self._shares[data] = share or 1.0
        return self._shares[data]

    def _of_stage(self, settings: Settings, stage: Stage) -> RunMemory:
        vit, kind = settings.encoder.vit(stage.data), self.place.torch.type
        own = max(1, stage.batch // self.ranks.size)
        step, ragged = memory_of(
            settings.method,
            vit,
            settings.method_config,
            own,
            parts=settings.optim.parts,
            share=self.share(vit, stage.data),
            precision=self.place.precision,
            device=kind if kind == "cuda" else "cpu",
            resident=self.ranks.size > 1,
        )
        holders = self.ranks.size if self._shared_out(settings, step) else 1
        window = stage.data.frames * math.prod(self.clips.frames(0).shape[1:])
        slots = in_flight(self.readers) if kind == "cpu" else 2
        # The clips before they are varied stay beside those after.
        clips = step.batch + own * window * slots + own * 4 * pixels(vit)
        kept = (step.weights + step.teachers + step.moments) // holders
        code = RAGGED_LIBRARIES if ragged else LIBRARIES
        return RunMemory(
            weights=step.weights // holders,
            teachers=step.teachers // holders,
            gradients=step.gradients // holders,
            moments=step.moments // holders,
            activations=step.activations,
            batch=clips,
            saving=kept if kind == "cpu" else 0,
            libraries=0 if kind == "cuda" else code + int(GAPS * step.activations),
        )

    def _shared_out(self, settings: Settings, step: Memory) -> bool:
        """Return whether each process would hold a share of the weights; see ``Job``."""
        many = step.weights >= 4 * SHARDED_FROM and self.place.torch.type == "cuda"
        many = many and not settings.compiled
        return self.ranks.size > 1 and (many if settings.sharded is None else settings.sharded)


def check_method(settings: Settings) -> None:
    """Check that the method fits the encoder in every stage, without having its weights.

    Raises:
        UsageError: With what is possible.
    """
    name = settings.method
    try:
        for stage in settings.course:
            build_empty(name, settings.encoder.vit(stage.data), settings.method_config)
    except ValueError as error:
        raise UsageError(f"{name}: {error}", "Change one of these settings.") from None


@contextmanager
def full_memory_told(settings: Settings, place: Device) -> Iterator[None]:
    """Say what helps if the memory of a GPU runs out in the block.

    Raises:
        MachineError: Then.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        optim, ways = settings.optim, []
        if not settings.encoder.recompute:
            ways.append("--set encoder.recompute=true")
        more = range(optim.parts + 1, optim.batch + 1)
        ways += [f"--set optim.parts={n}" for n in more if optim.batch % n == 0][:1]
        raise MachineError(
            f"The memory of {place} ran out in a step of {optim.batch} clips.",
            f"Let nobody else use it, or need less: {' or '.join(ways) or 'a smaller preset'}; "
            "--plan says what a step needs.",
        ) from None


def free_for(place: Device, ranks: Ranks) -> int | None:
    """Return the memory that is free for each process: the least that any of them has."""
    free = free_memory(place.torch)
    if free is None:
        return None
    sharing = ranks.size if place.torch.type == "cpu" else 1
    return ranks.least(free // sharing)


@lru_cache(maxsize=256)
def memory_of(
    method: str,
    vit: ViTConfig,
    config: Any,  # noqa: ANN401
    batch: int,
    *,
    parts: int,
    share: float,
    precision: Precision,
    device: str,
    resident: bool,
) -> tuple[Memory, bool]:
    """Return what a step needs, and whether its masks differ in length from step to step.

    Args:
        method: Its name.
        vit: Shape of the encoder.
        config: Settings of the method.
        batch: Clips of a process.
        parts: Into how many parts it cuts them.
        share: Of the grid's columns, what is seen.
        precision: Of matrix products.
        device: ``cpu`` or ``cuda``.
        resident: See ``step_memory``.
    """
    empty = build_empty(method, vit, config)
    empty.team = Team(parts=parts)
    memory = step_memory(
        empty,
        (batch, vit.channels, vit.frames, vit.size, vit.size),
        torch.Generator().manual_seed(0),
        None if share == 1 else central_places(batch, vit, share),
        precision=precision,
        device=device,
        resident=resident,
    )
    return memory, bool(empty.ragged)


def central_places(batch: int, vit: ViTConfig, share: float) -> Places:
    """Return a share of the grid's columns around its middle, as if each clip's sector."""
    _, height, width = vit.grid
    middle = torch.zeros(1, height, width)
    middle[:, height // 2, width // 2] = 1
    return choose_places(middle, vit.grid, share).expand(batch, -1)


def with_batch(settings: Settings, batch: int) -> Settings:
    """Return settings with another number of clips a step."""
    return replace(settings, optim=replace(settings.optim, batch=batch))


def tidy_sizes(pieces: int, most: int) -> list[int]:
    """Return batches that divide into pieces, the larger ones into eighths too."""
    unit = math.lcm(pieces, 8)
    return [*range(pieces, min(unit, most + 1), pieces), *range(unit, most + 1, unit)]


def careless(settings: Settings, stage: Stage) -> int:
    """Return more bytes than a stage needs, without looking closely."""
    vit = settings.encoder.vit(stage.data)
    grows = CARELESS * stage.batch * math.prod(vit.grid) * vit.dim
    return 2 * RAGGED_LIBRARIES + vit.depth * (grows + CARELESS_WEIGHTS * vit.dim**2)


def pixels(vit: ViTConfig) -> int:
    """Return the numbers of a clip."""
    return vit.channels * vit.frames * vit.size**2
