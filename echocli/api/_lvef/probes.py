"""The probes of the ejection fraction task: how each is fitted, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from echocli.api._lesson import Lesson
from echocli.api._probe_settings import ATTENTIVE, ProbeConfig
from echocli.api._probes import (
    Fitted,
    Floats,
    Says,
    features_of,
    fit_on_tokens,
    train_encoder,
)
from echocli.errors import UsageError
from echocli.models.tasks.lvef import AttentiveProbe, PooledRegressor, RidgeProbe, ef_loss


@dataclass(frozen=True, kw_only=True)
class LvefConfig(ProbeConfig):
    """How the probe is fitted."""

    LINEAR: ClassVar[str] = "ridge"

    probe: str = LINEAR
    level: float = 0.9
    """Coverage of the prediction intervals; 0.9 needs 9 validation patients, 0.95 19."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.level < 1:
            raise UsageError(f"--level is {self.level}.", "Give a share between 0 and 1.")


def fit_probe(lesson: Lesson) -> Fitted:
    """Fit the probe that the settings ask for; what it says is in percent."""
    if lesson.config.tune is not None:
        return _fit_end_to_end(lesson)
    return _fit_attentive(lesson) if lesson.config.probe == ATTENTIVE else _fit_ridge(lesson)


def says(head: Mapping[str, Any], tensors: Mapping[str, Tensor], place: torch.device) -> Says:
    """Return what a saved head says of features, or of tokens and places.

    Args:
        head: Its config.
        tensors: Its state.
        place: Where it computes.
    """
    if head.get("probe") == ATTENTIVE:
        return AttentiveProbe.from_state(tensors, place).predict
    return RidgeProbe.from_state(tensors).predict


def in_range(found: Floats) -> Floats:
    """Return ejection fractions, none below 0 or above 100 percent."""
    values: Floats = found.clip(0, 100)
    return values


def _fit_ridge(lesson: Lesson) -> Fitted:
    features = features_of(lesson, lesson.model)
    probe = RidgeProbe(folds=lesson.config.folds).fit(
        features[torch.from_numpy(lesson.train)], *lesson.targets, lesson.generator
    )
    settings = {"pool": lesson.config.pool, "alpha": probe.alpha_}
    said = in_range(probe.predict(features).double().numpy())
    return Fitted(probe.state(), settings, said, _placed(probe.out_of_fold_, lesson))


def _fit_attentive(lesson: Lesson) -> Fitted:
    def fit(probe: AttentiveProbe, tokens: Tensor, places: Tensor | None) -> None:
        probe.fit(tokens, *lesson.targets, lesson.generator, places)

    probe, settings, said = fit_on_tokens(lesson, AttentiveProbe, fit, lambda p: p.predict)
    out_of_fold = _placed(probe.out_of_fold_, lesson)
    return Fitted(probe.state(), settings, in_range(said), out_of_fold)


def _fit_end_to_end(lesson: Lesson) -> Fitted:
    """Train some or all blocks of an encoder with a linear layer on its pooled tokens."""
    targets, _ = lesson.targets
    network = PooledRegressor(lesson.model.encoder, lesson.config.pool, targets.float())
    wanted = ((targets - network.centre) / network.spread).float()
    settings, trained, tuned = train_encoder(lesson, network, wanted, ef_loss)
    probe = network.probe()
    said = in_range(probe.predict(features_of(lesson, tuned)).double().numpy())
    out_of_fold = np.full(len(said), np.nan)
    held_out = np.flatnonzero(lesson.train)[trained.held_out]
    out_of_fold[held_out] = said[held_out]
    return Fitted(probe.state(), settings, said, out_of_fold, tuned)


def _placed(of_train: Tensor, lesson: Lesson) -> Floats:
    """Return one value a unit, NaN for those that are not of the training."""
    values = np.full(len(lesson.units), np.nan)
    values[lesson.train] = in_range(of_train.double().numpy())
    return values
