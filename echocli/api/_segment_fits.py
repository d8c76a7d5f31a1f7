"""How a segmentation head is fitted: on frozen tokens, or with blocks of the encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from echocli.api._finetune import (
    TuneConfig,
    sight_of,
    summary_of,
    train_whole,
    tuned_model,
)
from echocli.api._segment_labeller import CLASSES
from echocli.api._segment_tokens import LabelledFrame, encode_frames, frame_masks
from echocli.api._splits import patient_numbers
from echocli.checkpoint import LoadedModel
from echocli.clips.store import ClipSet
from echocli.console import Reporter
from echocli.device import Device
from echocli.models.augment import crop
from echocli.models.finetune import Example
from echocli.models.tasks.segmentation import (
    FrameSegmenter,
    LinearSegmenter,
    SegmentationConfig,
    mask_loss,
)


class Fitted(NamedTuple):
    """A fitted head."""

    head: LinearSegmenter
    masks: Tensor
    """What it was fitted on, at the model's size."""
    settings: dict[str, Any]
    """What describes it, for the head's config."""
    model: LoadedModel | None = None
    """The encoder, if it was trained with the head."""


def fit_on_frozen(
    model: LoadedModel,
    clips: ClipSet,
    frames: Sequence[LabelledFrame],
    config: SegmentationConfig,
    generator: torch.Generator,
    place: Device,
    reporter: Reporter,
) -> Fitted:
    """Fit a linear layer on frozen tokens."""
    known = encode_frames(model, clips, frames, place, reporter)
    head = LinearSegmenter(model.encoder.config.tubelet, CLASSES, config)
    reporter.say(f"fitting a linear head on {len(frames)} views of labelled frames")
    head.fit(known.tokens, known.slots, known.masks, generator)
    return Fitted(head, known.masks, {})


def fit_end_to_end(
    model: LoadedModel,
    clips: ClipSet,
    frames: Sequence[LabelledFrame],
    tune: TuneConfig,
    generator: torch.Generator,
    place: Device,
    reporter: Reporter,
) -> Fitted:
    """Train some or all blocks of an encoder with a linear layer on its tokens."""
    sight = sight_of(model, clips, sorted({f.row for f in frames}), tune, place)
    network = FrameSegmenter(model.encoder, CLASSES, generator)
    masks = frame_masks(clips, frames, model.data).to(place.torch)
    positions = torch.tensor([f.position for f in frames], device=place.torch)

    def look(rows: Tensor, draw: torch.Generator | None) -> Example:
        chosen = [frames[index] for index in rows.tolist()]
        windows = [clips.frames(f.row)[f.indices] for f in chosen]
        seen = sight([f.row for f in chosen], windows, draw)
        wanted = masks[rows] if seen.boxes is None else crop_labels(masks[rows], seen.boxes)
        return (seen.video, positions[rows], seen.keep), wanted

    patients = patient_numbers(clips.manifest["patient_id"])[[f.row for f in frames]]
    reporter.say(f"training on {len(frames)} views of labelled frames")
    trained = train_whole(network, look, mask_loss, patients, tune, generator, place, reporter)
    network.head.never_call(set(range(CLASSES)) - set(torch.unique(masks).tolist()))
    settings = {"end_to_end": summary_of(tune, trained)}
    return Fitted(network.head, masks, settings, tuned_model(model, tune, trained))


def crop_labels(masks: Tensor, boxes: Tensor) -> Tensor:
    """Cut a box out of every mask and stretch it to full size; each pixel keeps one class.

    Args:
        masks: Classes, ``(maps, rows, columns)``.
        boxes: As ``crop`` takes them.
    """
    layers = functional.one_hot(masks.long(), CLASSES).permute(0, 3, 1, 2)
    return crop(layers[:, :, None].float(), boxes)[:, :, 0].argmax(dim=1)
