"""The training loop, a generator: the caller decides what to log, draw and keep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from .augment import AugmentConfig, augment, crop, draw_boxes
from .methods.base import Method
from .optim import OptimConfig, build_optimizer
from .schedules import longest_gradient, schedule, teacher_progress
from .sector import Scan, choose_places
from .shapes import Video

Precision: TypeAlias = Literal["fp32", "bf16"]


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
    compiled: bool = False,
) -> Iterator[StepRecord]:
    """Train a method and yield a record after every step.

    A run continued from step k, with the method's and the optimiser's states of that moment,
    equals a straight run.

    Args:
        method: What to train; it is changed in place.
        batches: Normalised clips on the method's device, the first one for step ``start``; with
            their sectors, if the method shall see nothing else.
        config: How to optimise.
        generator: Its seed, together with a step's number, decides all that is random in the
            step; it is not advanced.
        start: The step to begin with.
        optimizer: From ``build_optimizer``; a fresh one if left out.
        augmentation: How to vary the clips; not at all if left out.
        precision: ``bf16`` computes matrix products in bfloat16, weights stay float32.
        share: Share of the grid's columns that the method sees, where sectors are given; see
            ``sector.share_of_most``.
        compiled: Compile loss and gradient as one graph; it takes minutes before the first step
            and needs a C++ compiler.

    Yields:
        One record a step, until ``config.steps`` are done or the batches end.
    """
    optimizer = optimizer or build_optimizer(method, config)
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    method.train()
    if compiled:
        method.compile()
    for step, batch in zip(range(start, config.steps), batches, strict=False):
        draw = step_generator(generator.initial_seed(), step)
        video, sector = batch if isinstance(batch, Scan) else (batch, None)
        if augmentation is not None:
            boxes = draw_boxes(len(video), augmentation, draw)
            video = augment(video, augmentation, draw, boxes)
            sector = None if sector is None else crop(sector[:, None, None], boxes)[:, 0, 0]
        grid = method.encoder.grid(video.shape)
        places = None if sector is None else choose_places(sector, grid, share, draw)
        lr = schedule(optimizer, step, config)

        with torch.autocast(video.device.type, torch.bfloat16, enabled=precision == "bf16"):
            output = method.step(video, draw, places)
        output.loss.backward()  # type: ignore[no-untyped-call]
        grad_norm = nn.utils.clip_grad_norm_(trained, longest_gradient(step, config))
        optimizer.step()
        optimizer.zero_grad()  # now, or gradients would lie beside the next step's activations
        method.after_step(teacher_progress(step, config), output.state)

        values = {"loss": output.loss.detach(), "grad_norm": grad_norm, **output.metrics}
        yield StepRecord(step, lr, tuple(values), torch.stack(list(values.values())).detach())
