"""How weights are changed: settings, and AdamW over what decays and what does not."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.optim import AdamW


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """How to optimise."""

    steps: int = 1000
    """Steps of the whole training, those before a resume included."""
    batch: int = 16
    """Clips a step."""
    lr: float = 5e-4
    """Learning rate once warm."""
    min_lr: float = 1e-6
    """Learning rate of the last step."""
    warmup_steps: int = 100
    """Steps over which the learning rate rises from 0."""
    weight_decay: float = 0.04
    """Weight decay at the start, on weight matrices only."""
    weight_decay_end: float = 0.4
    """Weight decay at the end (V-JEPA's schedule)."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Of AdamW."""
    clip: float = 3.0
    """Greatest length of the gradient."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "lr", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0.")


def build_optimizer(method: nn.Module, config: OptimConfig) -> AdamW:
    """Return AdamW over what is trained; weights of linear layers alone can decay."""
    named = [(name, p) for name, p in method.named_parameters() if p.requires_grad]
    matrices = [p for name, p in named if p.ndim == 2 and name.endswith("weight")]
    others = [p for name, p in named if not (p.ndim == 2 and name.endswith("weight"))]
    groups = [{"params": matrices, "decays": True}, {"params": others, "decays": False}]
    return AdamW(groups, lr=config.lr, betas=config.betas, weight_decay=0.0, fused=True)
