"""How weights are changed: settings, AdamW over what decays and what does not, clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import AdamW


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """How to optimise. The schedules themselves are in ``schedules``."""

    steps: int = 1000
    """Steps of the whole training, those before a resume included."""
    batch: int = 16
    """Clips a step, of all processes together."""
    parts: int = 1
    """Parts in which a process looks at its clips of a step, one after another: a fraction of
    the memory for the same step. DISCOVR's clusters are those of a part: they are balanced over
    all its tokens, and the tokens of the others are not known yet."""
    lr: float = 5e-4
    """Learning rate once warm."""
    start_lr: float = 0.0
    """Learning rate from which the warm-up rises. V-JEPA: 2e-4, V-JEPA 2: 1e-4."""
    min_lr: float = 1e-6
    """Learning rate of the last step."""
    warmup_steps: int = 100
    """Steps over which the learning rate rises."""
    after_warmup: Literal["cosine", "constant"] = "cosine"
    """How the learning rate goes on: down half a ``cosine`` (V-JEPA, VideoMAE), or
    ``constant`` until it cools down (V-JEPA 2)."""
    cooldown: float = 0.0
    """Share of the steps, the last ones, in which a ``constant`` learning rate falls straight
    to ``min_lr``. V-JEPA 2: 12,000 of 252,000 steps, 1/21."""
    stretch: float = 1.0
    """Learning rate, weight decay and the teacher's momentum are laid out for so many times the
    steps and cut off where the training ends, before they reach their ends. V-JEPA's
    ``ipe_scale``: 1.25."""
    weight_decay: float = 0.04
    """Weight decay at the start."""
    weight_decay_end: float = 0.4
    """Weight decay at the end, on half a cosine (V-JEPA)."""
    decayed: Literal["matrices", "published"] = "matrices"
    """What decays: the ``matrices`` of linear layers, or, as V-JEPA, VideoMAE and DISCOVR have
    it (``published``), all but biases and vectors: tokens of masks and clips, and prototypes
    too."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Of AdamW. V-JEPA: 0.9 and 0.999."""
    clip: float = 3.0
    """Greatest length of the gradient; 0 leaves it as it is. V-JEPA: 10."""
    clip_in_warmup: bool = True
    """Whether gradients are shortened during the warm-up too. V-JEPA: no."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "parts", "lr"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0.")
        for name in (
            *("start_lr", "min_lr", "warmup_steps", "clip"),
            *("weight_decay", "weight_decay_end"),
        ):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must not be negative.")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas are {self.betas}; both must lie from 0 to below 1.")
        if not self.stretch >= 1:
            raise ValueError(f"stretch is {self.stretch}; it must be at least 1.")
        if not 0 <= self.cooldown <= 1:
            raise ValueError(f"cooldown is {self.cooldown}; it must lie from 0 to 1.")
        if self.cooldown and self.after_warmup == "cosine":
            raise ValueError("A cosine has no cooldown; set after_warmup to constant.")


def build_optimizer(method: nn.Module, config: OptimConfig) -> AdamW:
    """Return AdamW over what is trained, in two groups: what decays, and what does not.

    ``schedules.schedule`` sets their learning rate and weight decay before every step.
    """
    trained = [(name, p) for name, p in method.named_parameters() if p.requires_grad]
    decayed = [p for name, p in trained if decays(name, p, config)]
    spared = [p for name, p in trained if not decays(name, p, config)]
    groups = [{"params": decayed, "decays": True}, {"params": spared, "decays": False}]
    return AdamW(groups, lr=config.lr, betas=config.betas, weight_decay=0.0, fused=True)


def decays(name: str, parameter: Tensor, config: OptimConfig) -> bool:
    """Return whether a parameter is drawn towards zero."""
    if config.decayed == "published":
        return parameter.ndim > 1 and "bias" not in name
    return parameter.ndim == 2 and name.endswith("weight")


@torch.no_grad()
def shorten(weights: Iterable[nn.Parameter], longest: float) -> Float[Tensor, ""]:
    """Shorten the gradient of weights, and return how long it was before.

    ``nn.utils.clip_grad_norm_`` computes the same numbers, but sorts tensors by device and type
    and, on a processor, calls each by itself: an eighth slower (82 tensors of 1 M numbers).

    Args:
        weights: All of one device and type; those without a gradient are passed over.
        longest: Length to keep at most; infinite leaves the gradient as it is.
    """
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    length: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    if longest < math.inf:
        # Times 1 where it is short enough: to ask would make a GPU wait.
        torch._foreach_mul_(gradients, (longest / (length + 1e-6)).clamp(max=1.0))
    return length
