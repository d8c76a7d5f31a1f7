"""TensorBoard: event files in the run's folder ``tensorboard``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

NEEDS = ("tensorboard",)
INSTALL = "pip install tensorboard"
FOLDER = "tensorboard"


class Events:
    """Event files. Look at them with ``tensorboard --logdir runs``."""

    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Take the figures of a step."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def flush(self) -> None:
        """Write what was taken."""
        self._writer.flush()

    def close(self) -> None:
        """Write everything and let go."""
        self._writer.close()


def open_tracker(folder: Path, name: str, settings: Mapping[str, Any], start: int) -> Events:
    """Begin a file of events, or another one; those from ``start`` on are purged."""
    from torch.utils.tensorboard.writer import SummaryWriter

    return Events(SummaryWriter(folder / FOLDER, purge_step=start))
