"""What draws label maps: windows of a clip go in, logits of their frames come out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from echocli.api._encode import clip_size
from echocli.api._sector import alike
from echocli.api._segment.frames import (
    labels_to_clip,
    one_tubelet,
    plan_every_frame,
    shown_times,
)
from echocli.api._segment.tokens import BATCH, tokens_of
from echocli.checkpoint import LoadedModel
from echocli.clips.contract import DataConfig
from echocli.clips.store import ClipSet
from echocli.device import Device
from echocli.models.tasks.dense_segmentation import Segmenter


class Network(Protocol):
    """A network that draws, on its device."""

    @property
    def data(self) -> DataConfig:
        """What a window is."""

    @property
    def least(self) -> DataConfig:
        """What a loop must fill at least."""

    @property
    def clip_size(self) -> int:
        """Side at which sources must be read."""

    @property
    def tubelet(self) -> int | None:
        """Frames of a tubelet, where short loops may fill a part of a window."""

    def logits(
        self,
        clips: ClipSet,
        row: int,
        windows: Sequence[NDArray[np.intp]],
        place: Device,
    ) -> Tensor:
        """Return logits, ``(windows, frames, classes, size, size)``.

        Args:
            clips: The clips.
            row: Which of them the windows are of.
            windows: Frames of each; the same tubelets of all are filled.
            place: Where to compute.
        """

    def state(self) -> dict[str, Tensor]:
        """Return what was fitted, to be saved."""


@dataclass(frozen=True)
class TokenNetwork:
    """An encoder, and a head that reads its tokens."""

    model: LoadedModel
    head: Segmenter
    part: bool = False
    """Whether it was fitted to draw what loops shorter than a window fill of one."""

    @property
    def data(self) -> DataConfig:
        """What a window is."""
        return self.model.data

    @property
    def least(self) -> DataConfig:
        """What a loop must fill at least: a window, or a single tubelet of it."""
        return self.data if self.tubelet is None else one_tubelet(self.data, self.tubelet)

    @property
    def tubelet(self) -> int | None:
        """Frames of a tubelet, where short loops may fill a part of a window."""
        return self.model.encoder.config.tubelet[0] if self.part else None

    @property
    def clip_size(self) -> int:
        """Side at which sources must be read."""
        return clip_size(self.model)

    def logits(
        self,
        clips: ClipSet,
        row: int,
        windows: Sequence[NDArray[np.intp]],
        place: Device,
    ) -> Tensor:
        """Return logits; see ``Network``."""
        tokens = tokens_of(self.model, clips, [row] * len(windows), windows, place)
        return self.head.logits(tokens)

    def state(self) -> dict[str, Tensor]:
        """Return what was fitted; the encoder is not part of it."""
        return self.head.state()


def predict_frames(
    network: Network,
    clips: ClipSet,
    row: int,
    place: Device,
    wanted: Sequence[int] | None = None,
) -> NDArray[np.uint8]:
    """Return label maps of a clip at its own size, frames seen at the model's time step.

    Args:
        network: What draws.
        clips: The clips.
        row: Which of them; it can fill what the network needs at least.
        place: Where to compute.
        wanted: Frames to predict; all if left out.

    Returns:
        ``(wanted frames, height, width)``, in the order of ``wanted``.
    """
    times, (count, height, width) = clips.times_s(row), clips.frames(row).shape
    frames = list(range(count) if wanted is None else wanted)
    place_of = {frame: index for index, frame in enumerate(frames)}
    labels = np.zeros((len(frames), height, width), np.uint8)
    plan = plan_every_frame(times, count, network.data, network.tubelet)
    needed = [w for w in plan if any(frame in place_of for _, frame in w.kept)]
    filled = (shown_times(w.indices, network.tubelet or 1) for w in needed)
    for group in alike(filled, BATCH):
        batch = [needed[index] for index in group]
        logits = network.logits(clips, row, [w.indices for w in batch], place)
        for window, of_window in zip(batch, logits, strict=True):
            kept = [(p, f) for p, f in window.kept if f in place_of]
            maps = labels_to_clip(of_window[[p for p, _ in kept]], height, width)
            labels[[place_of[f] for _, f in kept]] = maps
    return labels
