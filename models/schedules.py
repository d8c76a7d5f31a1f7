"""What changes from step to step: learning rate, weight decay, and the progress of the rest.

Steps count from 0, and all is a function of the step: a run that goes on knows where it is.
The first step already has risen from ``start_lr``, the last one has arrived.

Source:
    V-JEPA (arXiv 2404.08471) and its published schedules: linear warm-up, half a cosine for
    learning rate and weight decay, a straight line for the teacher's momentum, all laid out
    for ``ipe_scale`` times the steps. V-JEPA 2 (arXiv 2506.09985): warm-up, constant, cooldown.
    VideoMAE (arXiv 2203.12602), whose table DISCOVR builds, is the same cosine one step later.
"""

from __future__ import annotations

import math

from torch.optim import Optimizer

from .optim import OptimConfig


def cosine(progress: float, start: float, end: float) -> float:
    """Return the value at a share of the way from ``start`` to ``end``, on half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def line(progress: float, start: float, end: float) -> float:
    """Return the value at a share of the way from ``start`` to ``end``, on a straight line."""
    return start + (end - start) * progress


def learning_rate(step: int, config: OptimConfig) -> float:
    """Return the learning rate of a step."""
    done = step + 1
    if done <= config.warmup_steps:
        return line(done / config.warmup_steps, config.start_lr, config.lr)
    if config.after_warmup == "cosine":
        rest = config.steps * config.stretch - config.warmup_steps
        return cosine((done - config.warmup_steps) / rest, config.lr, config.min_lr)
    fall = round(config.steps * config.cooldown)
    fallen = done - (config.steps - fall)
    return line(fallen / fall, config.lr, config.min_lr) if fallen > 0 else config.lr


def weight_decay(step: int, config: OptimConfig) -> float:
    """Return the weight decay of a step."""
    progress = (step + 1) / (config.steps * config.stretch)
    return cosine(progress, config.weight_decay, config.weight_decay_end)


def teacher_progress(step: int, config: OptimConfig) -> float:
    """Return the progress, from 0 to 1, that ``Method.after_step`` is told after a step."""
    return step / (config.steps * config.stretch)


def longest_gradient(step: int, config: OptimConfig) -> float:
    """Return the length to which a step's gradient is shortened; infinite for any length."""
    clipped = config.clip > 0 and (config.clip_in_warmup or step >= config.warmup_steps)
    return config.clip if clipped else math.inf


def schedule(optimizer: Optimizer, step: int, config: OptimConfig) -> float:
    """Set learning rate and weight decay of a step; return the learning rate."""
    lr, decay = learning_rate(step, config), weight_decay(step, config)
    for group in optimizer.param_groups:
        group["lr"] = lr
        group["weight_decay"] = decay if group["decays"] else 0.0
    return lr
