"""Parts of the patients: what is fitted on one is judged on another."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor


def deal_patients(
    patients: Int[Tensor, " clips"], folds: int, generator: torch.Generator
) -> Int[Tensor, " clips"]:
    """Return the fold of each clip: patients are shuffled, then dealt round in turn.

    Args:
        patients: Number of each clip's patient; all clips of one land in one fold.
        folds: Parts; no more than there are patients.
        generator: Shuffles.

    Raises:
        ValueError: If there are fewer than two patients.
    """
    names, of_clip = torch.unique(patients, return_inverse=True)
    if len(names) < 2:
        raise ValueError("Folds of patients need at least two patients.")
    place = torch.randperm(len(names), generator=generator)
    return (place % min(folds, len(names)))[of_clip]
