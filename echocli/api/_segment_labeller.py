"""An encoder and its fitted head, and how well their label maps overlap with known masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from echocli.api._segment_figures import NO_FIGURES, figures
from echocli.api._segment_frames import labels_to_clip
from echocli.api._segment_tokens import predict_frames
from echocli.checkpoint import LoadedModel
from echocli.clips.record import STRUCTURES
from echocli.clips.store import ClipSet
from echocli.device import Device
from echocli.models.tasks.segmentation import LinearSegmenter

CLASSES = 1 + max(STRUCTURES)

Labels = NDArray[np.uint8]


class Tested(NamedTuple):
    """A labelled frame: what was predicted, what the mean map says, the truth, the patient."""

    predicted: Labels
    baseline: Labels
    truth: Labels
    patient: str


@dataclass(frozen=True)
class Labeller:
    """An encoder with its fitted head, on a device."""

    model: LoadedModel
    head: LinearSegmenter
    mean_map: torch.Tensor
    place: Device

    def labels(self, clips: ClipSet, row: int, wanted: Sequence[int] | None = None) -> Labels:
        """Return the label maps of a clip."""
        return predict_frames(self.model, self.head, clips, row, self.place, wanted)

    def compare(self, clips: ClipSet, row: int, predicted: Labels) -> Iterator[Tested]:
        """Yield the labelled frames of a clip."""
        truth = clips.masks(row)
        assert truth is not None
        mean = labels_to_clip(self.mean_map[None], *truth.shape[1:])[0]
        patient = str(clips.manifest["patient_id"].iloc[row])
        for ours, theirs in zip(predicted, truth, strict=True):
            yield Tested(ours, mean, theirs, patient)

    def evaluation(
        self, clips: ClipSet, rows: Sequence[int], seed: int, draws: int
    ) -> dict[str, Any]:
        """Return the figures of the labelled frames of some clips."""
        tested: list[Tested] = []
        for row in rows:
            labels = self.labels(clips, row, clips.mask_frames(row))
            tested += self.compare(clips, row, labels)
        return figures_of(tested, seed, draws)


def figures_of(tested: Sequence[Tested], seed: int, draws: int) -> dict[str, Any]:
    """Return overlap figures of labelled frames.

    Args:
        tested: The frames.
        seed: Start of the bootstrap's random numbers.
        draws: Bootstrap samples.
    """
    if not tested:
        return NO_FIGURES
    predicted, baseline, truth, patients = zip(*tested, strict=True)
    return figures(predicted, baseline, truth, patients, seed=seed, draws=draws)


def mean_map(masks: torch.Tensor) -> torch.Tensor:
    """Return how often each class stands at each pixel, ``(classes, size, size)``."""
    return torch.stack([(masks == c).float().mean(dim=0) for c in range(CLASSES)]).cpu()
