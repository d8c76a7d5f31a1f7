"""Small changes to whole batches of clips, on their device."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .shapes import Video


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How much a training clip may differ from the stored one.

    There is no flip: it would swap the ventricles.
    """

    scale: tuple[float, float] = (0.5, 1.0)
    """Least and greatest share of the picture that a crop keeps."""
    aspect: tuple[float, float] = (0.9, 1.1)
    """Least and greatest height of a crop as a multiple of its width."""
    gain: tuple[float, float] = (0.8, 1.25)
    """Least and greatest factor on the brightness above black."""

    def __post_init__(self) -> None:
        for name in ("scale", "aspect", "gain"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} is ({low}, {high}); write least, then greatest.")
        if self.scale[1] > 1:
            raise ValueError(
                f"scale ends at {self.scale[1]}; a crop cannot exceed the picture."
            )


def draw_between(
    low: float, high: float, count: int, generator: torch.Generator
) -> Float[Tensor, " count"]:
    """Draw evenly distributed numbers."""
    draw = torch.rand(count, generator=generator, device=generator.device)
    return low + (high - low) * draw


def draw_boxes(
    batch: int, config: AugmentConfig, generator: torch.Generator
) -> Float[Tensor, "batch 2 3"]:
    """Draw a box inside the picture for every clip, as ``crop`` takes them."""
    area = draw_between(*config.scale, batch, generator)
    low, high = (math.log(side) for side in config.aspect)
    aspect = draw_between(low, high, batch, generator).exp()
    tall = (area * aspect).sqrt().clamp(max=1.0)
    wide = (area / aspect).sqrt().clamp(max=1.0)
    # The centre of a box, in the -1 to 1 of grid_sample, so that the box stays inside.
    down = (1 - tall) * draw_between(-1.0, 1.0, batch, generator)
    right = (1 - wide) * draw_between(-1.0, 1.0, batch, generator)
    zero = torch.zeros_like(tall)
    rows = [torch.stack([wide, zero, right], 1), torch.stack([zero, tall, down], 1)]
    return torch.stack(rows, dim=1)


def crop(video: Video, boxes: Float[Tensor, "batch 2 3"]) -> Video:
    """Cut a box out of every clip, the same in all its frames, and stretch it to full size."""
    batch, channels, frames, height, width = video.shape
    boxes = boxes.to(video.device, video.dtype, non_blocking=True)
    # affine_grid multiplies matrices for every pixel; of a box, rows and columns are enough.
    right, down = (
        boxes[:, side, side, None] * centres(count, boxes) + boxes[:, side, 2:]
        for side, count in enumerate((width, height))
    )
    shape = batch, height, width
    where = torch.stack([right[:, None].expand(shape), down[:, :, None].expand(shape)], dim=-1)
    flat = video.reshape(batch, channels * frames, height, width)
    cut = F.grid_sample(
        flat, where, mode="bilinear", padding_mode="border", align_corners=False
    )
    return cut.reshape(video.shape)


def centres(count: int, like: Tensor) -> Float[Tensor, " count"]:
    """Return where the centres of pixels lie on a side that goes from -1 to 1."""
    return (2 * torch.arange(count, dtype=like.dtype, device=like.device) + 1) / count - 1


def amplify(video: Video, gains: Float[Tensor, " batch"]) -> Video:
    """Multiply every clip's brightness above black; black is the clip's darkest pixel."""
    gain = gains.to(video.device, video.dtype, non_blocking=True).reshape(-1, 1, 1, 1, 1)
    black = video.amin(dim=(1, 2, 3, 4), keepdim=True)
    return (video - black).mul_(gain).add_(black)


class Changes(NamedTuple):
    """What is done to each clip of a batch."""

    boxes: Float[Tensor, "batch 2 3"]
    """What is cut out."""
    gains: Float[Tensor, " batch"]
    """Factors on the brightness above black."""


def draw_changes(batch: int, config: AugmentConfig, generator: torch.Generator) -> Changes:
    """Draw how each clip is changed."""
    boxes = draw_boxes(batch, config, generator)
    return Changes(boxes, draw_between(*config.gain, batch, generator))


def augment(video: Video, changes: Changes) -> Video:
    """Crop every clip and change its gain."""
    return amplify(crop(video, changes.boxes), changes.gains)
