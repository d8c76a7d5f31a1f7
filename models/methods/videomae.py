"""VideoMAE: rebuild the pixels of hidden tubes.

Tong et al. 2022, "VideoMAE: masked autoencoders are data-efficient learners for self-supervised
video pre-training" (arXiv 2203.12602). The baseline of DISCOVR and of Ellis et al.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..checks import check_counts
from ..ema import make_teacher
from ..heads import TokenDecoder
from ..layers import cut_patches, take
from ..masking import every_place, tokens_at, tube_ids
from ..positions import Positions, Table
from ..shapes import Grid, Places, Video
from ..vit import VisionTransformer, ViTConfig
from .base import Draws, Method, StepOutput, check_hideable

PIXEL_EPS = 1e-6
"""Added to the deviation of a tubelet's pixels (published code)."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of VideoMAE."""

    mask_ratio: float = 0.9
    """Share of the places that are hidden, at all times (section 3.3; figure 3)."""
    decoder_depth: int | None = None
    """Blocks of the decoder. Left out, a third of the encoder's: 4, the paper's best, for 12
    (table 1a)."""
    decoder_dim: int | None = None
    """Its width. Left out, that of half of the encoder's heads, as published."""
    decoder_heads: int | None = None
    """Its heads. Left out, half of the encoder's, as published."""

    def __post_init__(self) -> None:
        if not 0 < self.mask_ratio < 1:
            raise ValueError(f"mask_ratio is {self.mask_ratio}; it must lie between 0 and 1.")
        check_counts(self, "decoder_depth", "decoder_dim", "decoder_heads")


class VideoMAE(Method):
    """An encoder that sees a tenth of a clip, and a narrow decoder of the rest.

    Args:
        encoder_config: Shape of the encoder; a class token is left out.
        config: The settings.
        generator: Source of the weights.

    Raises:
        ValueError: If nothing could be hidden.
    """

    def __init__(
        self, encoder_config: ViTConfig, config: Config, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.config = config
        check_hideable(encoder_config)
        shape = replace(encoder_config, cls_token=False)
        self.autoencoder = VisionTransformer(shape, generator)
        self.autoencoder.freeze_lower_levels()
        heads = config.decoder_heads or max(1, shape.heads // 2)
        width = config.decoder_dim or heads * shape.dim // shape.heads
        table: Table = "line" if shape.positions == "line" else "sincos"
        self.decoder = TokenDecoder(
            Positions(shape.grid, width, kind=table),
            shape.dim,
            config.decoder_depth or max(1, shape.depth // 3),
            heads,
            shape.channels * math.prod(shape.tubelet),
            generator,
            qkv_bias=shape.qkv_bias,
        )

    @property
    def encoder(self) -> VisionTransformer:
        """The encoder."""
        return self.autoencoder

    def draw(
        self, batch: int, grid: Grid, generator: torch.Generator, places: Places | None = None
    ) -> Draws:
        """Hide the same places at all times."""
        visible = tube_ids(batch, grid, self.config.mask_ratio, generator, places)
        there = tokens_at(every_place(batch, grid) if places is None else places, grid)
        everywhere = torch.ones(batch, math.prod(grid), dtype=torch.bool)
        left = everywhere.scatter(1, visible, False).gather(1, there)
        return {"visible": visible, "hidden": there[left].view(batch, -1)}

    def forward(self, video: Video, draws: Draws) -> StepOutput:
        """Encode what is visible, rebuild what is not."""
        grid, visible, hidden = (
            self.encoder.grid(video.shape),
            draws["visible"],
            draws["hidden"],
        )
        tokens = self.autoencoder(video, visible)
        everything = torch.cat([visible, hidden], dim=1)
        rebuilt = self.decoder(tokens, visible, grid, everything)[:, visible.shape[1] :].float()

        patches = take(cut_patches(video, self.encoder.config.tubelet), hidden)
        wanted = standard_pixels(patches, video.shape[1])
        loss = F.mse_loss(rebuilt, wanted)
        # 1 is what the mean grey of every hidden tubelet would leave.
        there = self.team.mean(wanted.square().mean()).clamp(min=PIXEL_EPS)
        unexplained = self.team.mean(loss.detach()) / there
        return StepOutput(loss=loss, metrics={"unexplained": unexplained})

    def after_step(self, progress: float, state: dict[str, Tensor]) -> None:
        """Move nothing: there is no teacher."""

    def export_encoder(self) -> VisionTransformer:
        """Return a frozen copy of the encoder."""
        return make_teacher(self.autoencoder)


def standard_pixels(
    patches: Float[Tensor, "batch tokens pixels"], channels: int
) -> Float[Tensor, "batch tokens pixels"]:
    r"""Return the pixels of tubelets with mean 0 and deviation 1, channel by channel.

    .. math:: (x - \bar{x}) / (s + 10^{-6}), \quad s^2 = \sum (x - \bar{x})^2 / (n - 1)

    Args:
        patches: Pixels of one channel after another; black tubelets stay 0.
        channels: How many there are.

    Source:
        VideoMAE, section 3.1 on normalised targets (after MAE, arXiv 2111.06377, section 3);
        unbiased variance and epsilon: published code.
    """
    pixels = patches.float().view(*patches.shape[:2], channels, -1)
    pixels = pixels - pixels[..., :1]  # else 1e-6 would magnify rounding where all are equal
    deviation = pixels.std(dim=3, keepdim=True)
    standard: Tensor = (pixels - pixels.mean(dim=3, keepdim=True)) / (deviation + PIXEL_EPS)
    return standard.flatten(2)


def build(encoder_config: ViTConfig, config: Config, generator: torch.Generator) -> VideoMAE:
    """Make VideoMAE with fresh weights."""
    return VideoMAE(encoder_config, config, generator)
