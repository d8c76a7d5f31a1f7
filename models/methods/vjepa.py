"""V-JEPA with 3D localisation: predict the features of hidden tokens, and where they lie.

Bardes et al. 2024, "Revisiting feature prediction for learning visual representations from
video" (arXiv 2404.08471); Ellis et al. 2025, V-JEPA for heart ultrasound with a localisation
loss (arXiv 2507.18424).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..block_masks import BlockConfig, block_mask, context_and_targets
from ..ema import make_teacher, momentum_at, update_teacher
from ..layers import take
from ..localisation import PairLocator, grid_places, localisation_loss, sample_pairs
from ..predictor import Predictor, jepa_loss
from ..shapes import Grid, Places, Scalar, Tokens, Video
from ..vit import VisionTransformer, ViTConfig
from .base import Draws, Method, StepOutput


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of V-JEPA."""

    short_range: BlockConfig = field(default_factory=lambda: BlockConfig(blocks=8, scale=0.15))
    """Many small blocks (section 3.2)."""
    long_range: BlockConfig = field(default_factory=lambda: BlockConfig(blocks=2, scale=0.7))
    """Few large blocks; both kinds are used in every step."""
    predictor_dim: int | None = None
    """Width of the predictor. Left out, half the encoder's: the published 384 was meant for
    ViT-L and would be most of the cost of a small encoder."""
    predictor_depth: int | None = None
    """Blocks of the predictor. Left out, half the encoder's, as 12 for the published ViT-L."""
    predictor_heads: int | None = None
    """Heads of the predictor. Left out, as many as give the encoder's width a head."""
    momentum: float = 0.99
    """Of the target encoder at the start. Published: 0.998, for 90,000 steps of 3,072 clips; a
    run of a thousand steps would never leave its random start with that."""
    momentum_end: float = 1.0
    """Of the target encoder at the end, on a straight line."""
    jepa_weight: float = 0.25
    """Lambda of Ellis et al.: share of the feature loss; the rest is localisation. 1 is V-JEPA
    as published, 0.25 was their best."""
    pairs: int = 100
    """Pairs of hidden tokens a clip and mask whose offset is guessed. Drawn with replacement,
    never a token with itself; the paper does not say."""
    locator_hidden: int = 512
    """Width of the guessing network. Not stated; that of its ancestor (arXiv 2106.03746)."""

    def __post_init__(self) -> None:
        if not 0 <= self.jepa_weight <= 1:
            raise ValueError(f"jepa_weight is {self.jepa_weight}; it must lie from 0 to 1.")


class VJEPA(Method):
    """Context encoder, target encoder, predictor and locator.

    Args:
        encoder_config: Shape of the encoder; a class token is left out.
        config: The settings.
        generator: Source of the weights.
    """

    def __init__(
        self, encoder_config: ViTConfig, config: Config, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.config = config
        self.kinds = (config.short_range, config.long_range)
        shape = replace(encoder_config, cls_token=False)
        self.context_encoder = VisionTransformer(shape, generator)
        self.target_encoder = make_teacher(self.context_encoder)
        self.predictor = build_predictor(encoder_config, config, len(self.kinds), generator)
        self.locator = PairLocator(encoder_config.dim, config.locator_hidden, generator)

    @property
    def encoder(self) -> VisionTransformer:
        """The context encoder."""
        return self.context_encoder

    def draw(
        self, batch: int, grid: Grid, generator: torch.Generator, places: Places | None = None
    ) -> Draws:
        """Draw context, targets and pairs of targets for every kind of mask."""
        draws: Draws = {}
        for kind, config in enumerate(self.kinds):
            mask = block_mask(batch, grid, config, generator)
            context, targets = context_and_targets(mask, generator)
            draws |= {f"context{kind}": context, f"targets{kind}": targets}
            if self.config.jepa_weight < 1:
                pairs = sample_pairs(batch, targets.shape[1], self.config.pairs, generator)
                draws |= {f"first{kind}": pairs[0], f"second{kind}": pairs[1]}
        return draws

    def forward(self, video: Video, draws: Draws) -> StepOutput:
        """Hide blocks, predict the target encoder's features there, locate the predictions."""
        grid = self.encoder.grid(video.shape)
        with torch.no_grad():
            features = self.target_encoder(video).float()
            targets = F.layer_norm(features, features.shape[-1:])

        losses = [
            self.masked_step(video, targets, grid, kind, draws)
            for kind in range(len(self.kinds))
        ]
        feature_loss, place_loss = torch.stack([torch.stack(pair) for pair in losses]).mean(0)
        share = self.config.jepa_weight
        loss = share * feature_loss + (1 - share) * place_loss
        return StepOutput(
            loss=loss,
            metrics={
                "jepa": feature_loss.detach(),
                "localisation": place_loss.detach(),
                # Falls to 0 when the target encoder describes all tokens alike.
                "target_std": features.flatten(0, 1).std(dim=0, correction=0).mean(),
            },
        )

    def masked_step(
        self, video: Video, targets: Tokens, grid: Grid, kind: int, draws: Draws
    ) -> tuple[Scalar, Scalar]:
        """Return feature loss and localisation loss under one kind of mask."""
        context_ids, target_ids = draws[f"context{kind}"], draws[f"targets{kind}"]
        context = self.context_encoder(video, context_ids)
        predicted = self.predictor(context, context_ids, target_ids, grid, kind)
        feature_loss = jepa_loss(predicted, take(targets, target_ids))
        if self.config.jepa_weight == 1:
            return feature_loss, feature_loss.new_zeros(())

        first, second = draws[f"first{kind}"], draws[f"second{kind}"]
        places = grid_places(target_ids, grid)
        offsets = take(places, first) - take(places, second)
        return feature_loss, localisation_loss(self.locator(predicted, first, second), offsets)

    def after_step(self, progress: float, state: dict[str, Tensor]) -> None:
        """Move the target encoder towards the encoder."""
        momentum = momentum_at(progress, self.config.momentum, self.config.momentum_end)
        update_teacher(self.target_encoder, self.context_encoder, momentum)

    def export_encoder(self) -> VisionTransformer:
        """Return the target encoder, which the paper evaluates."""
        return self.target_encoder


def build_predictor(
    encoder: ViTConfig, config: Config, mask_kinds: int, generator: torch.Generator
) -> Predictor:
    """Make a predictor in proportion to the encoder.

    Raises:
        ValueError: If the predictor's heads do not divide its width.
    """
    head = encoder.dim // encoder.heads
    heads = config.predictor_heads or max(1, (config.predictor_dim or encoder.dim // 2) // head)
    width = config.predictor_dim or heads * head
    depth = config.predictor_depth or max(1, encoder.depth // 2)
    if width % heads:
        raise ValueError(f"predictor_dim is {width}; {heads} heads do not divide it.")
    return Predictor(encoder.grid, encoder.dim, width, depth, heads, mask_kinds, generator)


def build(encoder_config: ViTConfig, config: Config, generator: torch.Generator) -> VJEPA:
    """Make V-JEPA with fresh weights."""
    return VJEPA(encoder_config, config, generator)
