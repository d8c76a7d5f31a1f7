"""What DISCOVR's paper leaves to the code, and what the published code makes of it.

``Paper`` is how we do it; ``Release`` repeats github.com/mdivyanshu97/DISCOVR at 81587c9, its
defects included, so that its checkpoints and curves can be reproduced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .distillation import Branch, DistillationConfig
from .positions import Positions, sincos_line
from .shapes import Grid, Scalar
from .vit import ViTConfig

NEEDED: Mapping[str, Any] = {
    "image_frames": "all",
    "pairing": "released",
    "targets": "hard",
    "separate_prototypes": False,
    "standardised": True,
    "koleo_weight": 0.0,
}
"""Settings of the method without which it is not the published one."""
EPOCHS, WARM_EPOCHS = 400, 30
"""Of the published training, and those in which the teachers' temperature rises."""
FRAMES = 256
"""Frames a step for which the published image loss has its weight."""


class Paper:
    """How the paper is read where it is silent."""

    branch: type[Branch] = Branch

    def clip_shape(self, shape: ViTConfig) -> ViTConfig:
        """Return the shape of the encoder of clips."""
        return shape

    def frame_shape(self, shape: ViTConfig) -> ViTConfig:
        """Return the shape of the encoder of frames: "same architecture", without time."""
        drawn = shape.drawn_for
        return replace(
            shape,
            frames=1,
            tubelet=(1, *shape.tubelet[1:]),
            drawn_for=None if drawn is None else (1, *drawn[1:]),
            stills=False,
            levels=1,
        )

    def decoder_positions(self, grid: Grid, dim: int) -> Positions:
        """Return the positions of the decoder's tokens."""
        return Positions(grid, dim)

    def hidden_share(self, ratio: float, places: int) -> float:
        """Return the share of the places that is hidden."""
        return ratio

    def image_scale(self, frames: int) -> float:
        """Return by how much the image loss is scaled, beside its weight.

        Args:
            frames: Of all clips of the step.
        """
        return 1.0

    def reverse(self, loss: Scalar) -> Scalar:
        """Return the loss of image tokens that predict the clusters of video tokens."""
        return loss

    def draw_weights(self, method: nn.Module, generator: torch.Generator) -> None:
        """Draw again what has other random weights at the start."""


class ReleasedBranch(Branch):
    """A branch that is centred on probabilities, and whose temperature rises in epochs."""

    def __init__(
        self, shape: ViTConfig, config: DistillationConfig, generator: torch.Generator
    ) -> None:
        super().__init__(shape, config, generator)
        self.centred.fill_(True)  # on zeros

    def centre_of(
        self, logits: Float[Tensor, "batch outputs"], targets: Float[Tensor, "batch outputs"]
    ) -> Float[Tensor, " outputs"]:
        """Return the mean of the targets, though they are subtracted from logits."""
        return targets.mean(dim=0)

    def temperature_at(self, progress: float) -> float:
        """Return the teacher's temperature in an epoch of the training."""
        cold, hot = self.config.teacher_temperature, self.config.teacher_temperature_end
        epoch = int(progress * EPOCHS + 1e-6)
        return cold + (hot - cold) * min(1.0, epoch / (WARM_EPOCHS - 1))


class Release(Paper):
    """What the published code does."""

    branch = ReleasedBranch

    def clip_shape(self, shape: ViTConfig) -> ViTConfig:
        """Number tokens on a line."""
        return replace(shape, positions="line", drawn_for=None)

    def frame_shape(self, shape: ViTConfig) -> ViTConfig:
        """Leave out offsets of queries and values, and take PyTorch's own epsilon.

        Two arguments do not reach the constructor of the published encoder of frames.
        """
        return replace(super().frame_shape(shape), qkv_bias=False, norm_eps=1e-5)

    def decoder_positions(self, grid: Grid, dim: int) -> Positions:
        """Number the decoder's tokens from 1."""
        return NumbersFromOne(grid, dim, kind="line")

    def hidden_share(self, ratio: float, places: int) -> float:
        """Round the number of hidden places down."""
        return int(ratio * places) / places

    def image_scale(self, frames: int) -> float:
        """Weigh the images by how few frames a step sees.

        From 1,024 frames on, the published code trains on its last chunk of 1,024 only; we
        train on all.
        """
        return FRAMES / frames

    def reverse(self, loss: Scalar) -> Scalar:
        """Keep the number and drop the gradient."""
        return loss.detach()

    def draw_weights(self, method: nn.Module, generator: torch.Generator) -> None:
        """Draw heads and learned tokens from a normal distribution cut off at one deviation."""
        for name, weight in method.named_parameters():
            token = name.endswith(("cls_token", "mask_token"))
            inside = "student_head." in name and name.endswith("weight")
            if weight.requires_grad and (token or inside):
                nn.init.trunc_normal_(weight, std=0.02, a=-0.02, b=0.02, generator=generator)
        for part in method.modules():
            if isinstance(part, Branch):
                part.move_teacher(0.0)


RULES: Mapping[str, Paper] = {"paper": Paper(), "release": Release()}


class NumbersFromOne(Positions):
    """Running numbers from 1: the published table has a first row for a class token."""

    def compute(self, grid: Grid) -> Float[Tensor, "tokens dim"]:
        """Return the table of a grid."""
        frames, rows, columns = grid
        return sincos_line(frames * rows * columns + 1, self.dim)[1:]


def mispair(
    decoded: Float[Tensor, "batch tokens dim"],
    images: Float[Tensor, "batch all_tokens dim"],
    visible: Int[Tensor, "batch kept"],
    seen: Int[Tensor, "batch tokens"] | None,
    tubelet: int,
) -> tuple[Float[Tensor, "batch tokens dim"], Float[Tensor, "batch tokens dim"]]:
    """Pair tokens as the published code does, hardly any with that of its own pixels.

    The decoder's come visible ones first, hidden ones after; of the frames', written one after
    another, every second is taken, where every second frame was meant.

    Args:
        decoded: Tokens of clips, in the order of the grid.
        images: Tokens of all frames of a clip, frame after frame.
        visible: Ids of the tokens that the decoder was given.
        seen: Ids of the tokens that there are; all if left out.
        tubelet: Frames of a tubelet.
    """
    if seen is not None:
        visible = torch.searchsorted(seen, visible.contiguous())
    hidden = torch.ones(decoded.shape[:2], dtype=torch.int8, device=decoded.device)
    order = hidden.scatter(1, visible, 0).argsort(dim=1, stable=True)
    return decoded.gather(1, order[..., None].expand_as(decoded)), images[:, ::tubelet]
