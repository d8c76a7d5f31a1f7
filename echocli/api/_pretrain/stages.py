"""Stages of a training: later steps may see longer, larger clips (V-JEPA 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

from echocli.clips.contract import DataConfig


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """What changes at some point of the training, and stays until the next stage begins.

    V-JEPA 2 learns cheaply from short, small clips, and from long, large ones in the last
    twentieth of the steps, while the learning rate cools down (arXiv 2506.09985).
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    begins: float
    """Share of the steps that are done when the stage begins."""
    frames: int | None = None
    """Frames a window; as before if left out, like all that follows."""
    seconds: float | None = None
    """How long a window lasts. Frames of a ``stride`` last longer by being more."""
    size: int | None = None
    """Height and width of a frame, in pixels."""
    batch: int | None = None
    """Clips a step."""

    def __post_init__(self) -> None:
        if not 0 < self.begins < 1:
            raise ValueError(f"begins is {self.begins}; it must lie between 0 and 1.")
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"batch is {self.batch}; it must be at least 1.")


@dataclass(frozen=True)
class Stage:
    """Steps that see clips in one way."""

    first: int
    """First step."""
    end: int
    """Step before which it ends."""
    data: DataConfig
    """Input contract of these steps."""
    batch: int
    """Clips a step."""


def stages_of(
    steps: int, data: DataConfig, batch: int, changes: Sequence[StageConfig]
) -> list[Stage]:
    """Return the stages of a training, those that have a step.

    Args:
        steps: Of the whole training.
        data: Input contract of the first stage.
        batch: Clips a step of the first stage.
        changes: What changes, in order.

    Raises:
        ValueError: If the order is wrong, or a window makes no sense.
    """
    if any(one.begins >= other.begins for one, other in pairwise(changes)):
        raise ValueError("stages must begin one after the other.")
    stages = [Stage(0, steps, data, batch)]
    for change in changes:
        if change.seconds is not None and data.stride is not None:
            raise ValueError("a stage cannot set seconds where data.stride is set.")
        new = {name: getattr(change, name) for name in ("frames", "seconds", "size")}
        data = replace(
            data, **{name: value for name, value in new.items() if value is not None}
        )
        batch = change.batch or batch
        first = round(steps * change.begins)
        stages[-1] = replace(stages[-1], end=first)
        stages.append(Stage(first, steps, data, batch))
    return [stage for stage in stages if stage.first < stage.end]
