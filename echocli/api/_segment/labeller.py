"""A fitted network on a device, and how well its label maps agree with known masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from echocli.api._segment.figures import Tested, measure
from echocli.api._segment.frames import CLASSES, labels_to_clip
from echocli.api._segment.networks import Network, predict_frames
from echocli.clips.record import STRUCTURES
from echocli.clips.store import ClipSet
from echocli.device import Device

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Labeller:
    """A fitted network, and the mean of the masks that it was fitted on."""

    network: Network
    mean_map: torch.Tensor
    place: Device

    @property
    def structures(self) -> list[int]:
        """Values of the structures that some mask showed it; it draws no others."""
        shown = self.mean_map.flatten(1).amax(dim=1)
        return [value for value in STRUCTURES if shown[value] > 0]

    def labels(self, clips: ClipSet, row: int, wanted: Sequence[int] | None = None) -> Labels:
        """Return the label maps of a clip."""
        return predict_frames(self.network, clips, row, self.place, wanted)

    def compare(self, clips: ClipSet, row: int, predicted: Labels) -> Iterator[Tested]:
        """Yield what is measured in the labelled frames of a clip, given their label maps."""
        truth, spacing = clips.masks(row), clips.spacing_mm(row)
        assert truth is not None
        mean = labels_to_clip(self.mean_map[None], *truth.shape[1:])[0]
        for frame, ours, theirs in zip(clips.mask_frames(row), predicted, truth, strict=True):
            yield measure(row, frame, ours, theirs, mean, spacing)

    def tested(self, clips: ClipSet, rows: Sequence[int]) -> list[Tested]:
        """Return what is measured in the labelled frames of some clips."""
        found: list[Tested] = []
        for row in rows:
            labels = self.labels(clips, row, clips.mask_frames(row))
            found += self.compare(clips, row, labels)
        return found


def mean_map(masks: torch.Tensor) -> torch.Tensor:
    """Return how often each class stands at each pixel, ``(classes, size, size)``."""
    return torch.stack([(masks == c).float().mean(dim=0) for c in range(CLASSES)]).cpu()
