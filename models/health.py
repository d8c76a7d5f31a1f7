"""Signs of collapse in a batch of features."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Health:
    """How differently the clips of a batch are described."""

    feature_std: float
    """Spread of unit-length features, 1 when they point everywhere, 0 when all are equal."""
    effective_rank: float
    """How many directions the features fill (exponential of the spectrum's entropy)."""
    mean_cosine: float
    """Mean cosine between two different clips; 1 when all point one way."""


@torch.no_grad()
def health(features: Float[Tensor, "clips dim"]) -> Health:
    """Measure how far features are from collapse.

    Args:
        features: One row a clip, at least two rows.

    Returns:
        NaN throughout if a feature is no number.

    Raises:
        ValueError: If there are fewer than two rows.

    Source:
        Effective rank: Roy and Vetterli 2007, "The effective rank".
    """
    clips, dim = features.shape
    if clips < 2:
        raise ValueError("Health needs at least two clips.")
    if not features.isfinite().all():
        return Health(feature_std=math.nan, effective_rank=math.nan, mean_cosine=math.nan)
    unit = F.normalize(features.double(), dim=1)
    spread = unit.std(dim=0, correction=0).mean() * dim**0.5
    centred = features.double() - features.double().mean(dim=0)
    singular = torch.linalg.svdvals(centred)
    share = singular / singular.sum().clamp_min(torch.finfo(singular.dtype).tiny)
    entropy = -torch.special.xlogy(share, share).sum()
    total = unit.sum(dim=0).square().sum()
    cosine = (total - clips) / (clips * (clips - 1))
    return Health(
        feature_std=spread.item(),
        effective_rank=entropy.exp().item(),
        mean_cosine=cosine.item(),
    )
