"""The encoder: a clip becomes tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .layers import NORM_EPS, Blocks, PatchEmbedding, learned_token
from .positions import Positions
from .shapes import Grid, Video

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"dim": 192, "depth": 12, "heads": 3},
    "small": {"dim": 384, "depth": 12, "heads": 6},
    "base": {"dim": 768, "depth": 12, "heads": 12},
    "large": {"dim": 1024, "depth": 24, "heads": 16},
    "huge": {"dim": 1280, "depth": 32, "heads": 16},
    "giant": {"dim": 1408, "depth": 40, "heads": 22, "mlp_ratio": 48 / 11},
}
"""Widths, depths and heads of the ViT family (V-JEPA, table of architectures)."""


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """Shape of an encoder."""

    frames: int = 16
    """Frames of a usual clip; others work too."""
    size: int = 112
    """Rows and columns of a usual clip, in pixels; others work too."""
    channels: int = 1
    """Channels of a clip; ultrasound is grey."""
    tubelet: tuple[int, int, int] = (2, 16, 16)
    """Frames, rows and columns that become one token."""
    dim: int = 192
    """Width of a token."""
    depth: int = 12
    """Number of blocks."""
    heads: int = 3
    """Attention heads; they share the width."""
    mlp_ratio: float = 4.0
    """Width inside a block's MLP, as a multiple of ``dim``."""
    cls_token: bool = False
    """Whether a learned token gathers the whole clip; DISCOVR has one, V-JEPA has none."""

    def __post_init__(self) -> None:
        t, h, w = self.tubelet
        if self.dim % self.heads:
            raise ValueError(f"dim is {self.dim}; {self.heads} heads do not divide it.")
        if self.frames % t or self.size % h or self.size % w:
            raise ValueError(
                f"{self.frames} frames of {self.size} pixels are not whole tubelets of "
                f"{t} frames, {h} rows and {w} columns; change size, frames or tubelet."
            )

    @classmethod
    def named(cls, name: str, /, **changes: Any) -> ViTConfig:  # noqa: ANN401
        """Return a published size, with changes.

        Args:
            name: One of ``SIZES``.
            changes: Fields to set differently.

        Raises:
            ValueError: If there is no such size.
        """
        if name not in SIZES:
            raise ValueError(f"There is no encoder size {name}; sizes are {', '.join(SIZES)}.")
        return cls(**{**SIZES[name], **changes})

    @property
    def grid(self) -> Grid:
        """Tubelets of a usual clip."""
        t, h, w = self.tubelet
        return self.frames // t, self.size // h, self.size // w


class VisionTransformer(nn.Module):
    """Video transformer with fixed positions; hidden tokens cost nothing, not even embedding.

    Args:
        config: The shape.
        generator: Source of the weights.

    Example:
        >>> config = ViTConfig(frames=4, size=32, dim=48, depth=1)
        >>> encoder = VisionTransformer(config, torch.Generator().manual_seed(0))
        >>> encoder(torch.zeros(1, 1, 4, 32, 32)).shape
        torch.Size([1, 8, 48])
    """

    def __init__(self, config: ViTConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.patch_embed = PatchEmbedding(config.channels, config.tubelet, dim, generator)
        self.cls_token = learned_token(dim, generator) if config.cls_token else None
        self.positions = Positions(config.grid, dim)
        self.blocks = Blocks(dim, config.depth, config.heads, config.mlp_ratio, generator)
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)

    def grid(self, shape: Sequence[int]) -> Grid:
        """Return the tubelets along time, height and width of clips of a shape.

        Args:
            shape: Shape of a batch of clips; its last three numbers count.

        Raises:
            ValueError: If the tubelets do not fit a whole number of times.
        """
        sides, tubelet = tuple(shape[-3:]), self.config.tubelet
        if any(side % step for side, step in zip(sides, tubelet, strict=True)):
            raise ValueError(
                f"Clips of {sides} frames, rows and columns do not divide into tubelets "
                f"of {tubelet}."
            )
        frames, height, width = (
            side // step for side, step in zip(sides, tubelet, strict=True)
        )
        return frames, height, width

    def embed(
        self, video: Video, keep: Int[Tensor, "rows kept"] | None = None
    ) -> tuple[Float[Tensor, "rows dim"] | None, Float[Tensor, "rows kept dim"]]:
        """Return the class token, if there is one, and the other tokens.

        Args:
            video: Normalised clips.
            keep: Ids of the tokens to look at, several views of a clip in neighbouring rows;
                all tokens of every clip if left out.
        """
        positions = self.positions(self.grid(video.shape))
        if keep is not None:
            positions = positions[0][keep]
        tokens = self.patch_embed(video, keep) + positions
        if self.cls_token is not None:
            cls = self.cls_token.expand(tokens.shape[0], -1, -1)
            tokens = torch.cat([cls, tokens], dim=1)
        tokens = self.norm(self.blocks(tokens))
        if self.cls_token is None:
            return None, tokens
        return tokens[:, 0], tokens[:, 1:]

    def forward(
        self, video: Video, keep: Int[Tensor, "rows kept"] | None = None
    ) -> Float[Tensor, "rows kept dim"]:
        """Return the tokens of clips, in the order of their ids, without the class token."""
        return self.embed(video, keep)[1]
