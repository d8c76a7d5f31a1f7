"""The training loop, a generator: the caller decides what to log, draw and keep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from .augment import AugmentConfig, Changes, augment, crop, draw_changes
from .methods.base import Draws, Method, StepOutput
from .optim import OptimConfig, build_optimizer, shorten
from .schedules import longest_gradient, schedule, teacher_progress
from .sector import Scan, choose_places
from .shapes import Video
from .spreading import averaging, gathered, replicate
from .team import ALONE, Team

Precision: TypeAlias = Literal["fp32", "bf16"]
Compiled: TypeAlias = bool | Literal["blocks"]


@dataclass(frozen=True)
class StepRecord:
    """What happened in one step. Numbers stay on the device until one of them is read."""

    step: int
    """Counted from 0."""
    lr: float
    """Learning rate of this step."""
    names: tuple[str, ...]
    """Of ``values``."""
    values: Float[Tensor, " names"]
    """Loss, gradient norm and the method's metrics."""

    @cached_property
    def numbers(self) -> dict[str, float]:
        """All values by name, fetched from the device at once."""
        return dict(zip(self.names, self.values.tolist(), strict=True))

    @property
    def loss(self) -> float:
        """The loss."""
        return self.numbers["loss"]

    @property
    def grad_norm(self) -> float:
        """Length of the gradient before clipping."""
        return self.numbers["grad_norm"]

    @property
    def metrics(self) -> dict[str, float]:
        """The method's own numbers."""
        own = ("loss", "grad_norm")
        return {name: value for name, value in self.numbers.items() if name not in own}


def step_generator(seed: int, step: int) -> torch.Generator:
    """Return the source of a step's randomness, the same after a resume."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**32)


def train(
    method: Method,
    batches: Iterable[Video | Scan],
    config: OptimConfig,
    generator: torch.Generator,
    *,
    start: int = 0,
    optimizer: Optimizer | None = None,
    augmentation: AugmentConfig | None = None,
    precision: Precision = "fp32",
    share: float = 1.0,
    compiled: Compiled = False,
    team: Team = ALONE,
) -> Iterator[StepRecord]:
    """Train a method and yield a record after every step.

    A run continued from step k, with the method's and the optimiser's states of that moment,
    equals a straight run. A team takes the steps that one process would take with all the
    clips: the same random numbers, the same means, the same weights afterwards.

    Args:
        method: What to train; it is changed in place.
        batches: Normalised clips on the method's device, the first one for step ``start``; with
            their sectors, if the method shall see nothing else. Each process of a team is
            given its own clips, and the sectors of all.
        config: How to optimise.
        generator: Its seed, together with a step's number, decides all that is random in the
            step; it is not advanced.
        start: The step to begin with.
        optimizer: From ``build_optimizer``; a fresh one if left out.
        augmentation: How to vary the clips; not at all if left out.
        precision: ``bf16`` computes matrix products in bfloat16, weights stay float32.
        share: Share of the grid's columns that the method sees, where sectors are given; see
            ``sector.share_of_most``.
        compiled: Compile loss and gradient as one graph, or the ``blocks`` of all networks; it
            takes minutes before the first step and needs a C++ compiler.
        team: Who shares the clips of a step, in equal parts.

    Yields:
        One record a step, until ``config.steps`` are done or the batches end; its numbers are
        those of the whole step.
    """
    optimizer = optimizer or build_optimizer(method, config)
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    method.train()
    method.team = replace(team, parts=config.parts)
    if compiled:
        method.compile(blocks=compiled == "blocks")
    network = replicate(method, team)
    for step, batch in zip(range(start, config.steps), batches, strict=False):
        draw = step_generator(generator.initial_seed(), step)
        video, draws = prepare(method, batch, augmentation, share, draw)
        lr = schedule(optimizer, step, config)
        output = look(method, network, video, draws, precision)
        grad_norm = gathered(shorten(trained, longest_gradient(step, config)))
        optimizer.step()
        optimizer.zero_grad()  # now, or gradients would lie beside the next step's activations
        state = {name: team.mean(number) for name, number in output.state.items()}
        method.after_step(teacher_progress(step, config), state)

        values = {"loss": output.loss, "grad_norm": grad_norm, **output.metrics}
        numbers = team.mean(torch.stack(list(values.values())))
        yield StepRecord(step, lr, tuple(values), numbers)


def prepare(
    method: Method,
    batch: Video | Scan,
    augmentation: AugmentConfig | None,
    share: float,
    generator: torch.Generator,
) -> tuple[Video, Draws]:
    """Draw all that is random in a step, for the clips of all processes; return the own share.

    Args:
        method: Its ``draw`` hides tokens.
        batch: Own clips, and the sectors of all.
        augmentation: How to vary the clips.
        share: Of the grid's columns, if there are sectors.
        generator: Of the step.
    """
    team = method.team
    video, sector = batch if isinstance(batch, Scan) else (batch, None)
    count = len(video) * team.size
    if augmentation is not None:
        changes = draw_changes(count, augmentation, generator)
        video = augment(video, Changes(*map(team.own, changes)))
        if sector is not None:
            sector = crop(sector[:, None, None], changes.boxes)[:, 0, 0]
    grid = method.encoder.grid(video.shape)
    places = None if sector is None else choose_places(sector, grid, share, generator)
    draws = method.draw(count, grid, generator, places)
    return video, {name: team.own(rows) for name, rows in draws.items()}


def look(
    method: Method, network: nn.Module, video: Video, draws: Draws, precision: Precision
) -> StepOutput:
    """Return the loss of a step, its clips looked at in parts, and leave its gradient.

    Args:
        method: Its team says into how many parts.
        network: The method, or what stands for it in a team.
        video: Own clips.
        draws: For them.
        precision: Of matrix products.
    """
    parts, outputs = method.team.parts, []
    for part in range(parts):
        clips = video.chunk(parts)[part]
        mine = {name: rows.chunk(parts)[part] for name, rows in draws.items()}
        with averaging(network, now=part == parts - 1):
            with torch.autocast(video.device.type, torch.bfloat16, enabled=precision == "bf16"):
                output = network(clips, method.ready(mine, video.device))
            (output.loss / parts).backward()
        outputs.append(replace(output, loss=output.loss.detach()))
    return mean_of(outputs)


def mean_of(outputs: list[StepOutput]) -> StepOutput:
    """Return what parts of a batch give together."""

    def mean(numbers: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {
            name: torch.stack([n[name] for n in numbers]).mean(dim=0) for name in numbers[0]
        }

    if len(outputs) == 1:
        return outputs[0]
    return StepOutput(
        loss=torch.stack([output.loss for output in outputs]).mean(),
        metrics=mean([output.metrics for output in outputs]),
        state=mean([output.state for output in outputs]),
    )
