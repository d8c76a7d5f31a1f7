"""The encoder: a clip becomes tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .layers import NORM_EPS, Blocks, Normalise, PatchEmbedding, Rotation, learned_token, take
from .positions import Positions, RopePairing, Rotary
from .shapes import Grey, Grid, Video

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"dim": 192, "depth": 12, "heads": 3},
    "small": {"dim": 384, "depth": 12, "heads": 6},
    "base": {"dim": 768, "depth": 12, "heads": 12},
    "large": {"dim": 1024, "depth": 24, "heads": 16},
    "huge": {"dim": 1280, "depth": 32, "heads": 16},
    "giant": {"dim": 1408, "depth": 40, "heads": 22, "mlp_ratio": 48 / 11},
    "gigantic": {"dim": 1664, "depth": 48, "heads": 26, "mlp_ratio": 64 / 13},
}
"""Widths, depths and heads of the ViT family (V-JEPA, V-JEPA 2, V-JEPA 2.1)."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What an encoder is made of, whatever it sees."""

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
    qkv_bias: bool = True
    """Whether queries, keys and values have an offset."""
    norm_eps: float = NORM_EPS
    """Added to the variance in every LayerNorm."""
    positions: Literal["sincos", "line", "rotary"] = "sincos"
    """How tokens know their place: ``sincos`` of time, row and column (V-JEPA), of the running
    number on a ``line`` (VideoMAE, DISCOVR), or ``rotary`` (V-JEPA 2)."""
    uniform_power: bool = True
    """Whether ``sincos`` gives time, rows and columns equal shares of the width."""
    drawn_for: tuple[int, int, int] | None = None
    """Grid whose fixed table other grids interpolate, as public encoders do; each grid's own
    table is computed if left out."""
    rope_pairing: RopePairing = "interleaved"
    """Which channels share a ``rotary`` angle; the published V-JEPA 2 needs ``tiled``."""
    rope_side: int | None = None
    """Rows and columns over which ``rotary`` positions are spread; V-JEPA 2.1 has 16."""
    levels: int = 1
    """Depths whose tokens have a LayerNorm; V-JEPA 2.1 has 4. The last is the output."""
    stills: bool = False
    """Whether pictures have a patch embedding, and pictures and clips a learned token, of their
    own (V-JEPA 2.1)."""

    def __post_init__(self) -> None:
        if min(*self.tubelet, self.dim, self.depth, self.heads) < 1:
            raise ValueError("tubelet, dim, depth and heads must be at least 1.")
        if self.dim * self.mlp_ratio < 1:
            raise ValueError(f"mlp_ratio is {self.mlp_ratio}; blocks have no width inside.")
        if self.dim % self.heads:
            raise ValueError(
                f"dim is {self.dim}; {self.heads} heads do not divide it: {self._near_heads}."
            )
        if self.positions == "rotary" and self.dim // self.heads % 2:
            raise ValueError(
                f"{self.heads} heads of width {self.dim} have no pairs to turn: "
                f"{self._near_heads}."
            )
        if not 1 <= self.levels <= self.depth:
            raise ValueError(
                f"levels is {self.levels}; {self.depth} block(s) have 1 to {self.depth}."
            )

    @property
    def _near_heads(self) -> str:
        """The heads and the width nearest to those that are not possible."""
        pairs = 2 if self.positions == "rotary" else 1
        fit = [n for n in range(1, self.dim + 1) if self.dim % (n * pairs) == 0]
        heads = min(fit, key=lambda n: abs(n - self.heads), default=None)
        dim = nearest_multiple(self.dim, self.heads * pairs)
        return f"heads={heads} or dim={dim} do" if heads else f"dim={dim} does"

    @property
    def level_blocks(self) -> tuple[int, ...]:
        """The blocks, from 0, after which a level ends."""
        if (self.depth, self.levels) == (48, 4):
            return 11, 23, 37, 47  # as published; evenly it would be 35
        ends = range(1, self.levels + 1)
        return tuple(self.depth * end // self.levels - 1 for end in ends)


@dataclass(frozen=True, kw_only=True)
class ViTConfig(Architecture):
    """Shape of an encoder."""

    frames: int = 16
    """Frames of a usual clip; others work too."""
    size: int = 112
    """Rows and columns of a usual clip, in pixels; others work too."""
    channels: int = 1
    """Channels of a clip; ultrasound is grey."""
    cls_token: bool = False
    """Whether a learned token gathers the whole clip; DISCOVR has one, V-JEPA has none."""
    recompute: bool = False
    """Whether training computes the inside of blocks twice instead of keeping it: a third more
    time for a fraction of the memory (activation checkpointing)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        t, h, w = self.tubelet
        if self.frames % t or self.size % h or self.size % w:
            frames = nearest_multiple(self.frames, t)
            size = nearest_multiple(self.size, math.lcm(h, w))
            raise ValueError(
                f"{self.frames} frames of {self.size} pixels are not whole tubelets of "
                f"{t} frames, {h} rows and {w} columns; frames={frames} and size={size} are."
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


def nearest_multiple(number: int, step: int) -> int:
    """Return the multiple of a step that is nearest to a number, one step at least."""
    return step * max(1, round(number / step))


class VisionTransformer(nn.Module):
    """Video transformer with fixed positions; hidden tokens cost nothing, not even embedding.

    Args:
        config: The shape.
        generator: Source of the weights. Without one they are shapes that hold no numbers, to
            be given some by ``load_state_dict(weights, assign=True)``.

    Example:
        >>> config = ViTConfig(frames=4, size=32, dim=48, depth=1)
        >>> encoder = VisionTransformer(config, torch.Generator().manual_seed(0))
        >>> encoder(torch.zeros(1, 1, 4, 32, 32)).shape
        torch.Size([1, 8, 48])
    """

    def __init__(self, config: ViTConfig, generator: torch.Generator | None) -> None:
        super().__init__()
        self.config = config
        dim, eps = config.dim, config.norm_eps
        self.patch_embed = PatchEmbedding(config.channels, config.tubelet, dim, generator)
        self.cls_token = learned_token(dim, generator) if config.cls_token else None
        self.positions, self.rotary = make_positions(config)
        self.blocks = Blocks(
            dim,
            config.depth,
            config.heads,
            config.mlp_ratio,
            generator,
            qkv_bias=config.qkv_bias,
            norm_eps=eps,
            recompute=config.recompute,
        )
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.level_norms = nn.ModuleList(
            nn.LayerNorm(dim, eps=eps) for _ in range(config.levels - 1)
        )
        if config.stills:
            patch = (1, *config.tubelet[1:])
            self.still_embed = PatchEmbedding(config.channels, patch, dim, generator)
            self.still_token = learned_token(dim, generator)
            self.clip_token = learned_token(dim, generator)

    def grid(self, shape: Sequence[int]) -> Grid:
        """Return the tubelets along time, height and width of clips of a shape.

        Args:
            shape: Shape of a batch of clips; its last three numbers count.

        Raises:
            ValueError: If the tubelets do not fit a whole number of times.
        """
        sides, tubelet = tuple(shape[-3:]), self.config.tubelet
        if self.config.stills and sides[0] == 1:
            tubelet = (1, *tubelet[1:])
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
        self,
        video: Video | Grey,
        keep: Int[Tensor, "rows kept"] | None = None,
        normalise: Normalise | None = None,
    ) -> tuple[Float[Tensor, "rows dim"] | None, Float[Tensor, "rows kept dim"]]:
        """Return the class token, if there is one, and the other tokens.

        Args:
            video: Normalised clips, or grey ones with ``normalise``.
            keep: Ids of the tokens to look at, several views of a clip in neighbouring rows;
                all tokens of every clip if left out.
            normalise: Normalises tubelets of grey pixels; see ``PatchEmbedding``.
        """
        tokens, rotation = self.begin(video, keep, normalise)
        tokens = self.norm(self.blocks(tokens, rotation))
        if self.cls_token is None:
            return None, tokens
        return tokens[:, 0], tokens[:, 1:]

    def summarise(
        self, video: Video, keep: Int[Tensor, "rows kept"] | None = None
    ) -> Float[Tensor, "rows dim"]:
        """Return the class tokens alone: the last block works for them only.

        Args:
            video: Normalised clips.
            keep: See ``embed``.
        """
        tokens, rotation = self.begin(video, keep)
        cls: Tensor = self.norm(self.blocks(tokens, rotation, 1))[:, 0]
        return cls

    def begin(
        self,
        video: Video | Grey,
        keep: Int[Tensor, "rows kept"] | None,
        normalise: Normalise | None = None,
    ) -> tuple[Float[Tensor, "rows tokens dim"], Rotation | None]:
        """Return what enters the first block: tokens and, if they are rotary, positions."""
        grid = self.grid(video.shape)
        still = self.config.stills and video.shape[2] == 1
        embed = self.still_embed if still else self.patch_embed
        tokens: Tensor = embed(video, keep, normalise)
        if self.config.stills:
            tokens = tokens + (self.still_token if still else self.clip_token)
        if self.positions is not None:
            places = self.positions(grid)
            tokens = tokens + (places if keep is None else take(places, keep))
        if self.cls_token is not None:
            cls = self.cls_token.expand(tokens.shape[0], -1, -1)
            tokens = torch.cat([cls, tokens], dim=1)
        return tokens, self.rotation(grid, keep)

    def rotation(self, grid: Grid, keep: Int[Tensor, "rows kept"] | None) -> Rotation | None:
        """Return what turns the tokens of every block; ``None`` for fixed positions."""
        if self.rotary is None:
            return None
        table: Tensor = self.rotary(grid)
        rows = table[:, None]
        if keep is not None:
            rows = take(table, keep.flatten().expand(2, -1)).view(2, *keep.shape, -1)
        if self.cls_token is not None:
            still = torch.zeros_like(rows[:, :, :1])
            still[0] = 1  # the cosine of no angle: the class token does not turn
            rows = torch.cat([still, rows], dim=2)
        return rows[:, :, None]

    def levels(
        self, video: Video, keep: Int[Tensor, "rows kept"] | None = None
    ) -> Float[Tensor, "rows kept levels_dim"]:
        """Return the tokens of every level, each normalised, side by side (V-JEPA 2.1)."""
        tokens, rotation = self.begin(video, keep)
        norms = dict(zip(self.config.level_blocks, [*self.level_norms, self.norm], strict=True))
        found = []
        for index, after in enumerate(self.blocks.each(tokens, rotation)):
            if index in norms:
                found.append(norms[index](after))
        first = 0 if self.cls_token is None else 1
        return torch.cat(found, dim=-1)[:, first:]

    def freeze_lower_levels(self) -> None:
        """Leave the LayerNorms of all levels but the last as they are.

        For methods that read the output alone: what has no gradient is nothing to train, and
        processes that share a step would wait for it.
        """
        self.level_norms.requires_grad_(False)

    def bottom(self, blocks: int) -> list[nn.Parameter]:
        """Return all parameters up to the end of the first so many blocks; none for no block.

        Raises:
            ValueError: If there are not so many blocks, or none would be left.
        """
        if not 0 <= blocks < self.config.depth:
            raise ValueError(
                f"{blocks} blocks of {self.config.depth} cannot be the bottom; "
                f"{min(max(blocks, 0), self.config.depth - 1)} can."
            )
        if not blocks:
            return []
        top: list[nn.Module] = list(self.blocks)[blocks:]
        norms = zip(self.config.level_blocks, [*self.level_norms, self.norm], strict=True)
        top += [norm for after, norm in norms if after >= blocks]
        above = {id(parameter) for part in top for parameter in part.parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in above]

    def forward(
        self, video: Video, keep: Int[Tensor, "rows kept"] | None = None
    ) -> Float[Tensor, "rows kept dim"]:
        """Return the tokens of clips, in the order of their ids, without the class token."""
        return self.embed(video, keep)[1]


def make_positions(config: ViTConfig) -> tuple[Positions | None, Rotary | None]:
    """Return what is added to tokens and what turns them; one of the two is ``None``."""
    if config.positions == "rotary":
        head = config.dim // config.heads
        return None, Rotary(config.grid, head, config.rope_pairing, config.rope_side)
    fixed = Positions(
        config.grid,
        config.dim,
        kind=config.positions,
        uniform=config.uniform_power,
        drawn_for=config.drawn_for,
    )
    return fixed, None
