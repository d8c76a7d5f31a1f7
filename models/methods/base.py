"""What every pretraining method is; a file in this folder is one."""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

import torch
from torch import Tensor, nn

from ..layers import Block
from ..shapes import Grid, Places, Scalar, Video
from ..team import ALONE, Team
from ..vit import VisionTransformer, ViTConfig

Draws: TypeAlias = dict[str, Tensor]
"""All that is random in a step: ids of visible tokens, of targets, of pairs. Clips come one
after another, each with equally many rows: what is drawn for a batch can be shared out."""


@dataclass(frozen=True, kw_only=True)
class StepOutput:
    """What one look at a batch gives."""

    loss: Scalar
    """What to minimise."""
    metrics: dict[str, Tensor] = field(default_factory=dict)
    """Single numbers to log, left on the device."""
    state: dict[str, Tensor] = field(default_factory=dict)
    """What ``after_step`` needs to know of the batch: means over its clips."""


class Method(nn.Module, ABC):
    """An encoder with all that trains it.

    A step has three parts. ``draw`` decides what is random, on the CPU, knowing neither pixels
    nor weights. ``forward`` computes, without randomness and without changing anything: it may
    be compiled as one graph, called for validation, or repeated for accumulation. Teachers,
    centres and schedules move in ``after_step`` only.
    """

    ragged: tuple[str, ...] = ()
    """Beginnings of the names of draws that are longer in one step than in another."""
    compiled: bool = False
    """Whether ``forward``, or the blocks in it, are compiled."""
    team: Team = ALONE
    """Who shares the clips of a step. Losses are means over the clips that ``forward`` is
    given; what compares clips with each other asks the team."""

    @property
    @abstractmethod
    def encoder(self) -> VisionTransformer:
        """The network in training."""

    @abstractmethod
    def draw(
        self, batch: int, grid: Grid, generator: torch.Generator, places: Places | None = None
    ) -> Draws:
        """Draw the masks of a step.

        Args:
            batch: Number of clips.
            grid: Tubelets of the clips along time, height and width.
            generator: Source of the draw.
            places: What may be seen at all, the sector of each clip; everything if left out.
                Nothing outside is encoded, hidden, predicted or scored.
        """

    @abstractmethod
    def forward(self, video: Video, draws: Draws) -> StepOutput:
        """Return the loss of a batch.

        Args:
            video: Normalised clips.
            draws: What ``draw`` returned for them, on their device.
        """

    def step(
        self, video: Video, generator: torch.Generator, places: Places | None = None
    ) -> StepOutput:
        """Draw, then return the loss of a batch."""
        draws = self.draw(len(video), self.encoder.grid(video.shape), generator, places)
        output: StepOutput = self(video, self.ready(draws, video.device))
        return output

    def ready(self, draws: Draws, device: torch.device) -> Draws:
        """Return draws as ``forward`` takes them, on a device."""
        if device.type == "cuda":  # else the way there may wait for all that the GPU has to do
            draws = {name: ids.pin_memory() for name, ids in draws.items()}
        here = {name: ids.to(device, non_blocking=True) for name, ids in draws.items()}
        if self.compiled:
            for name in here:
                if name.startswith(self.ragged):
                    torch._dynamo.maybe_mark_dynamic(here[name], 1)
        return here

    def compile(self, *, blocks: bool = False, **options: Any) -> None:  # noqa: ANN401
        """Compile ``forward`` as one graph that serves all steps, whatever they draw.

        Args:
            blocks: Compile the blocks of all its networks instead. Equal ones share their code,
                which is there sooner; what lies between them stays as it is.
            options: Of ``torch.compile``.
        """
        self.compiled = True
        if not blocks:
            super().compile(fullgraph=True, **options)
            return
        for part in self.modules():
            if isinstance(part, Block):
                part.compile(fullgraph=True, **options)

    @abstractmethod
    def after_step(self, progress: float, state: dict[str, Tensor]) -> None:
        """Move what the optimiser does not.

        Args:
            progress: Share of the training that is done, from 0 to 1.
            state: The ``state`` of the step's output.
        """

    @abstractmethod
    def export_encoder(self) -> VisionTransformer:
        """Return the network to use after training: the teacher, steadier than the student."""


@runtime_checkable
class MethodModule(Protocol):
    """What a file in this folder offers."""

    Config: type[Any]
    """Frozen dataclass of the method's settings."""

    def build(
        self,
        encoder_config: ViTConfig,
        config: Any,  # noqa: ANN401
        generator: torch.Generator,
    ) -> Method:
        """Make the method with fresh weights."""


def check_hideable(shape: ViTConfig) -> None:
    """Check that some places of a frame can be hidden while others are seen.

    Args:
        shape: Of an encoder.

    Raises:
        ValueError: If a frame is a single tubelet.
    """
    if shape.grid[1:] == (1, 1):
        raise ValueError(
            f"a frame of {shape.size} pixels is one tubelet, which cannot be hidden and seen; "
            f"size={2 * shape.size} has more, or a smaller tubelet."
        )


def available() -> list[str]:
    """Return the names of the methods: the files in this folder."""
    package = importlib.import_module(__package__)
    names = (found.name for found in pkgutil.iter_modules(package.__path__))
    return sorted(name for name in names if name != "base" and not name.startswith("_"))


def load(name: str) -> MethodModule:
    """Return a method's module, with its ``Config`` and ``build``.

    Raises:
        ValueError: If there is no such method.
    """
    if name not in available():
        raise ValueError(f"There is no method {name}; methods are {', '.join(available())}.")
    return cast(MethodModule, importlib.import_module(f"{__package__}.{name}"))
