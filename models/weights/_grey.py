"""An encoder of colour clips as one of grey clips, exactly."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .base import Converted

STEMS = ("patch_embed.proj", "still_embed.proj")


def fold_to_grey(converted: Converted) -> Converted:
    """Return the same encoder with one channel: features of grey clips stay what they are.

    A colour encoder sees a grey pixel g three times, as ``(g - m_c) / s_c``. With one channel
    it sees ``x = (g - M) / S``, so ``(g - m_c) / s_c = (S x + M - m_c) / s_c``: kernels are
    summed over colours with the weights ``S / s_c``, and the offset takes up the rest. M and S
    are the means of the colours', so that ``x`` has the scale that the encoder is used to.

    Args:
        converted: Of any number of channels, each with a mean and a spread.
    """
    channels = converted.config.channels
    if channels == 1:
        return converted
    mean, std = (
        torch.tensor(values, dtype=torch.float64) for values in (converted.mean, converted.std)
    )
    weights = dict(converted.weights)
    for stem in STEMS:
        if f"{stem}.weight" in weights:
            weights |= fold_stem(weights, stem, mean, std)
    return replace(
        converted,
        config=replace(converted.config, channels=1),
        weights=weights,
        mean=(float(mean.mean()),),
        std=(float(std.mean()),),
    )


def fold_stem(
    weights: dict[str, Tensor], stem: str, mean: Tensor, std: Tensor
) -> dict[str, Tensor]:
    """Return weight and offset of a patch embedding with one channel."""
    weight, bias = weights[f"{stem}.weight"], weights[f"{stem}.bias"]
    mean, std = mean.to(weight.device), std.to(weight.device)
    kernel = weight.double().unflatten(1, (len(std), -1))  # type: ignore[no-untyped-call]
    scale = (std.mean() / std)[:, None]
    shift = ((mean.mean() - mean) / std)[:, None]
    return {
        f"{stem}.weight": (kernel * scale).sum(dim=1).float(),
        f"{stem}.bias": (bias.double() + (kernel * shift).sum(dim=(1, 2))).float(),
    }
