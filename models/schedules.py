"""What changes from step to step: learning rate, weight decay, and the progress of the rest."""

from __future__ import annotations

import math

from torch.optim import Optimizer

from .optim import OptimConfig


def cosine(progress: float, start: float, end: float) -> float:
    """Return the value at a share of the way from ``start`` to ``end``, on half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def learning_rate(step: int, config: OptimConfig) -> float:
    """Return the learning rate of a step: a straight rise, then half a cosine down."""
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    rest = max(1, config.steps - 1 - config.warmup_steps)
    return cosine((step - config.warmup_steps) / rest, config.lr, config.min_lr)


def schedule(optimizer: Optimizer, step: int, config: OptimConfig) -> float:
    """Set learning rate and weight decay of a step; return the learning rate."""
    lr = learning_rate(step, config)
    decay = cosine(step / config.steps, config.weight_decay, config.weight_decay_end)
    for group in optimizer.param_groups:
        group["lr"] = lr
        group["weight_decay"] = decay if group["decays"] else 0.0
    return lr
