"""V-JEPA with 3D localisation: predict the features of hidden tokens, and where they lie.

Bardes et al. 2024, "Revisiting feature prediction for learning visual representations from
video" (arXiv 2404.08471); V-JEPA 2 (Assran et al. 2025, arXiv 2506.09985) turns tokens by
rotary positions, which is a matter of the encoder; V-JEPA 2.1 (arXiv 2603.14482) predicts
visible tokens too, at several levels; Ellis et al. 2025, V-JEPA for heart ultrasound with
frozen blocks and a localisation loss (arXiv 2507.18424).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from ..block_masks import BlockConfig, block_mask, context_and_targets
from ..checks import check_counts, check_positive, check_shares
from ..ema import make_teacher, momentum_at, update_teacher
from ..layers import NORM_EPS, take
from ..localisation import (
    PairLocator,
    coordinates,
    localisation_loss,
    offsets_between,
    sample_pairs,
)
from ..masking import tokens_at
from ..predictor import Predictor, jepa_loss, nearness
from ..shapes import Grid, Places, Scalar, TokenIds, Tokens, Video
from ..vit import VisionTransformer, ViTConfig, nearest_multiple
from .base import Draws, Method, StepOutput, check_hideable

KINDS = {"short": (0,), "long": (1,), "both": (0, 1)}
"""Kinds of masks by name."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of V-JEPA."""

    short_range: BlockConfig = field(default_factory=lambda: BlockConfig(blocks=8, scale=0.15))
    """Many small blocks (section 3.2)."""
    long_range: BlockConfig = field(default_factory=lambda: BlockConfig(blocks=2, scale=0.7))
    """Few large blocks; both kinds are used in every step."""
    truncate: Literal["random", "tail"] = "random"
    """What clips lose that show or hide more tokens than others of their batch: tokens at
    ``random``, or those of the last frames (``tail``, published)."""
    predictor: Literal["scaled", "reference"] = "scaled"
    """``scaled`` has half the width and half the blocks of the encoder. ``reference`` is 384
    wide and 12 blocks deep (24 for several levels), which was meant for ViT-L and would be most
    of the cost of a small encoder. The next three change one of its numbers."""
    predictor_dim: int | None = None
    """Width of the predictor."""
    predictor_depth: int | None = None
    """Blocks of the predictor."""
    predictor_heads: int | None = None
    """Heads of the predictor. Left out, as many as give the encoder's width a head; those of
    the ``reference`` are the encoder's (V-JEPA), or 12 with rotary positions (V-JEPA 2)."""
    mask_tokens: int = 2
    """Learned tokens that stand for hidden ones: one for each kind of mask (V-JEPA), or 1 for
    both (what V-JEPA 2 trains, of its ten)."""
    momentum: float = 0.99
    """Of the target encoder at the start. V-JEPA: 0.998, for 90,000 steps of 3,072 clips; a run
    of a thousand steps would never leave its random start with that. V-JEPA 2: 0.99925."""
    momentum_end: float = 1.0
    """Of the target encoder at the end, on a straight line. V-JEPA 2: 0.99925, constant."""
    frozen_blocks: int = 0
    """First blocks that stay as they are, with all below them; 12 and 16 of 24 in Ellis et al.
    Both encoders share them. Only of use with weights to start from."""
    exponent: float = 1.0
    """Of the error of features; 1 as published."""
    context_weight: float = 0.0
    """Weight of the loss on visible tokens. V-JEPA 2.1: 0.5."""
    context_ramp: tuple[float, float] = (0.0, 0.0)
    """Shares of the training between which this weight rises from 0."""
    context_near: bool = False
    """Whether visible tokens count the more, the nearer they are to a hidden one: by one over
    the root of the distance (an option of V-JEPA 2.1)."""
    jepa_weight: float = 0.25
    """Lambda of Ellis et al.: share of the feature loss; the rest is localisation. 1 is V-JEPA
    as published, 0.25 was their best."""
    pairs: int = 100
    """Pairs of hidden tokens a clip and mask whose offset is guessed. Drawn with replacement,
    never a token with itself; the paper does not say. Of 1,000 tokens, one of 100 pairs comes
    twice in one clip of 200."""
    locate_from: Literal["features", "inside"] = "features"
    """What pairs are located by: predicted ``features``, or tokens ``inside`` the predictor,
    before its last layer. Not stated: "the predictor's outputs"."""
    locate_masks: Literal["both", "short", "long"] = "both"
    """Masks whose hidden tokens are located; the mean over both. Not stated."""
    locator_hidden: int = 512
    """Width of the guessing network. Not stated; that of its ancestor (arXiv 2106.03746)."""

    def __post_init__(self) -> None:
        if not 0 <= self.jepa_weight <= 1:
            raise ValueError(f"jepa_weight is {self.jepa_weight}; it must lie from 0 to 1.")
        if self.frozen_blocks < 0:
            raise ValueError(f"frozen_blocks is {self.frozen_blocks}; it must not be negative.")
        check_counts(self, "mask_tokens", "pairs", "locator_hidden")
        check_counts(self, "predictor_dim", "predictor_depth", "predictor_heads")
        check_shares(self, "momentum", "momentum_end")
        check_positive(self, "exponent")
        if self.context_weight < 0:
            raise ValueError(f"context_weight is {self.context_weight}; it is not negative.")
        if not 0 <= self.context_ramp[0] <= self.context_ramp[1] <= 1:
            raise ValueError(f"context_ramp is {self.context_ramp}; it must rise from 0 to 1.")


class VJEPA(Method):
    """Context encoder, target encoder, predictor and locator.

    Args:
        encoder_config: Shape of the encoder; a class token is left out.
        config: The settings.
        generator: Source of the weights.

    Raises:
        ValueError: If not one block of the encoder would be trained, or nothing could be
            hidden.
    """

    context_weight: Tensor
    ragged = ("context", "targets")

    def __init__(
        self, encoder_config: ViTConfig, config: Config, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.config = config
        self.kinds = (config.short_range, config.long_range)
        check_hideable(encoder_config)
        shape = replace(encoder_config, cls_token=False)
        self.context_encoder = VisionTransformer(shape, generator)
        # Frozen blocks exist once: no gradient, no momentum and no optimiser knows them.
        frozen = self.context_encoder.bottom(config.frozen_blocks)
        for parameter in frozen:
            parameter.requires_grad_(False)
        self.target_encoder = make_teacher(self.context_encoder, sharing=frozen)
        self.predictor = build_predictor(shape, config, generator)
        if config.jepa_weight < 1:
            inside = config.locate_from == "inside"
            layer = self.predictor.proj
            width = layer.in_features if inside else layer.out_features
            self.locator = PairLocator(width, config.locator_hidden, generator)
        self.register_buffer("context_weight", torch.tensor(self.context_weight_at(0.0)))

    @property
    def encoder(self) -> VisionTransformer:
        """The context encoder."""
        return self.context_encoder

    def draw(
        self, batch: int, grid: Grid, generator: torch.Generator, places: Places | None = None
    ) -> Draws:
        """Draw context, targets and pairs of targets for every kind of mask."""
        visible = None if places is None else tokens_at(places, grid)
        draws: Draws = {} if visible is None else {"visible": visible}
        for kind, config in enumerate(self.kinds):
            mask = block_mask(batch, grid, config, generator, places)
            context, targets = context_and_targets(
                mask, generator, visible=visible, truncate=self.config.truncate
            )
            draws |= {f"context{kind}": context, f"targets{kind}": targets}
            if self.locates(kind):
                pairs = sample_pairs(batch, targets.shape[1], self.config.pairs, generator)
                draws |= {f"first{kind}": pairs[0], f"second{kind}": pairs[1]}
        return draws

    def locates(self, kind: int) -> bool:
        """Return whether hidden tokens of a kind of mask are located."""
        return self.config.jepa_weight < 1 and kind in KINDS[self.config.locate_masks]

    def forward(self, video: Video, draws: Draws) -> StepOutput:
        """Hide blocks, predict the target encoder's features there, locate the predictions."""
        grid = self.encoder.grid(video.shape)
        features, targets = self.teach(video, draws.get("visible"))
        found: dict[str, list[Scalar]] = {}
        for kind in range(len(self.kinds)):
            for name, value in self.masked_step(video, targets, grid, kind, draws).items():
                found.setdefault(name, []).append(value)
        losses = {name: torch.stack(values).mean() for name, values in found.items()}
        loss = losses["jepa"]
        if "context" in losses:
            loss = loss + self.context_weight * losses["context"]
        if "localisation" in losses:
            share = self.config.jepa_weight
            loss = share * loss + (1 - share) * losses["localisation"]
        # Falls to 0 when the target encoder describes all tokens alike.
        spread = self.team.std(features.flatten(0, 1)).mean()
        metrics = {name: value.detach() for name, value in losses.items()}
        return StepOutput(loss=loss, metrics={**metrics, "target_std": spread})

    @torch.no_grad()
    def teach(self, video: Video, visible: TokenIds | None) -> tuple[Tokens, Tokens]:
        """Return the target encoder's features of all that may be seen, raw and normalised.

        Every level is normalised by itself (V-JEPA 2.1).
        """
        features = self.target_encoder.levels(video, visible).float()
        levels = torch.split(features, self.encoder.config.dim, dim=-1)
        normed = [F.layer_norm(level, level.shape[-1:]) for level in levels]
        return features, torch.cat(normed, dim=-1)

    def masked_step(
        self, video: Video, targets: Tokens, grid: Grid, kind: int, draws: Draws
    ) -> dict[str, Scalar]:
        """Return the losses under one kind of mask: of features, context and places."""
        context_ids, target_ids = draws[f"context{kind}"], draws[f"targets{kind}"]
        visible, exponent = draws.get("visible"), self.config.exponent
        context = self.context_encoder.levels(video, context_ids)
        predicted = self.predictor(context, context_ids, target_ids, grid, kind)
        true = take(targets, among(target_ids, visible))
        losses = {"jepa": jepa_loss(predicted.targets, true, exponent=exponent)}
        if predicted.context is not None:
            seen = take(targets, among(context_ids, visible))
            near = None
            if self.config.context_near:
                near = nearness(coordinates(context_ids, grid), coordinates(target_ids, grid))
            losses["context"] = jepa_loss(
                predicted.context, seen, exponent=exponent, weights=near
            )
        if self.locates(kind):
            inside = self.config.locate_from == "inside"
            tokens = predicted.inner if inside else predicted.targets
            first, second = draws[f"first{kind}"], draws[f"second{kind}"]
            guessed = self.locator(tokens, first, second)
            offsets = offsets_between(target_ids, first, second, grid)
            losses["localisation"] = localisation_loss(guessed, offsets)
        return losses

    def after_step(self, progress: float, state: dict[str, Tensor]) -> None:
        """Move the target encoder towards the encoder."""
        momentum = momentum_at(progress, self.config.momentum, self.config.momentum_end)
        update_teacher(self.target_encoder, self.context_encoder, momentum)
        self.context_weight.fill_(self.context_weight_at(progress))

    def context_weight_at(self, progress: float) -> float:
        """Return the weight of the loss on visible tokens at a share of the training."""
        start, end = self.config.context_ramp
        if progress >= end:
            return self.config.context_weight
        if progress <= start:  # a ramp of no length is a step
            return 0.0
        return self.config.context_weight * (progress - start) / (end - start)

    def export_encoder(self) -> VisionTransformer:
        """Return the target encoder, which the paper evaluates."""
        return self.target_encoder


def among(ids: TokenIds, visible: Int[Tensor, "rows visible"] | None) -> TokenIds:
    """Return where ids stand among those that may be seen."""
    return ids if visible is None else torch.searchsorted(visible, ids)


def build_predictor(
    encoder: ViTConfig, config: Config, generator: torch.Generator | None
) -> Predictor:
    """Make a predictor in proportion to the encoder, or of the published size.

    Args:
        encoder: Shape of the encoder.
        config: The settings.
        generator: Source of the weights; without one they are shapes that hold no numbers.

    Raises:
        ValueError: If the predictor's heads do not divide its width.
    """
    head = encoder.dim // encoder.heads
    heads, width, depth = config.predictor_heads, config.predictor_dim, config.predictor_depth
    if config.predictor == "reference":
        width = width or 384
        heads = heads or (12 if encoder.positions == "rotary" else encoder.heads)
        depth = depth or (12 if encoder.levels == 1 else 24)
    heads = heads or max(1, (width or encoder.dim // 2) // head)
    width = width or heads * head
    if width % heads:
        raise ValueError(
            f"predictor_dim is {width}; {heads} heads do not divide it: "
            f"{nearest_multiple(width, heads)} does."
        )
    shape = replace(
        encoder,
        dim=width,
        depth=depth or max(1, encoder.depth // 2),
        heads=heads,
        mlp_ratio=4.0,
        norm_eps=NORM_EPS,
        levels=1,
        stills=False,
        drawn_for=None,
    )
    return Predictor(
        shape,
        encoder.dim,
        levels=encoder.levels,
        outputs=encoder.levels * encoder.dim,
        mask_tokens=config.mask_tokens,
        dense=config.context_weight > 0,
        generator=generator,
    )


def build(encoder_config: ViTConfig, config: Config, generator: torch.Generator) -> VJEPA:
    """Make V-JEPA with fresh weights."""
    return VJEPA(encoder_config, config, generator)
