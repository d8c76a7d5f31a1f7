"""Schedules, one step after the other."""

from __future__ import annotations

import math


def half_cosine(parts: int) -> list[float]:
    """Return ``(1 + cos(pi k / parts)) / 2`` for k from 0 to ``parts``, by recurrence.

    Chebyshev: ``cos((k + 1) x) = 2 cos(x) cos(k x) - cos((k - 1) x)``.
    """
    turn = math.cos(math.pi / parts)
    cosines = [1.0, turn]
    while len(cosines) <= parts:
        cosines.append(2 * turn * cosines[-1] - cosines[-2])
    return [(1 + value) / 2 for value in cosines[: parts + 1]]


def vjepa(
    steps: int, stretched: int, warmup: int, start: float, peak: float, end: float
) -> list[float]:
    """Return the learning rates of V-JEPA (arXiv 2404.08471), cut off after the steps."""
    rates = []
    rate = start
    for _ in range(warmup):
        rate += (peak - start) / warmup
        rates.append(rate)
    fall = half_cosine(stretched - warmup)
    for share in fall[1:]:
        rates.append(end + (peak - end) * share)
    return rates[:steps]


def vjepa2(
    warmup: int, constant: int, cooldown: int, start: float, peak: float, end: float
) -> list[float]:
    """Return the learning rates of V-JEPA 2 (arXiv 2506.09985)."""
    rates = []
    rate = start
    for _ in range(warmup):
        rate += (peak - start) / warmup
        rates.append(rate)
    rates += [peak] * constant
    for _ in range(cooldown):
        rate -= (peak - end) / cooldown
        rates.append(rate)
    return rates


def videomae_fall(steps: int, warmup: int, peak: float, end: float) -> list[float]:
    """Return the learning rates after the warm-up of VideoMAE (arXiv 2203.12602) and DISCOVR.

    The first of them is the peak; the last one is a step short of the end.
    """
    return [end + (peak - end) * share for share in half_cosine(steps - warmup)[:-1]]
