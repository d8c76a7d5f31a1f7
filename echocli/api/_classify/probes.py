"""The probes of classification: how each is fitted, and the logits it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from echocli.api._lesson import Lesson
from echocli.api._probe_settings import ATTENTIVE, ProbeConfig
from echocli.api._probes import Fitted, Says, features_of, fit_on_tokens, train_encoder
from echocli.errors import UsageError
from echocli.models.readout import PooledReadout
from echocli.models.tasks.classification import (
    AttentiveClassifier,
    LinearClassifier,
    balanced_weights,
    class_loss,
    linear_part,
)
from echocli.statistics.calibration import KINDS

WEIGHTS = ("none", "balanced")
QUANTILE = "quantile"
THRESHOLDS = ("youden", QUANTILE)


@dataclass(frozen=True, kw_only=True)
class ClassifyConfig(ProbeConfig):
    """What is told apart, and how the probe is fitted."""

    LINEAR: ClassVar[str] = "linear"

    label: str = "normal"
    """Column, or a rule on one such as ``ef_percent<50``."""
    classes: tuple[str, ...] = ()
    """Those to tell apart; all that the column holds if empty."""
    ordered: bool = False
    """Whether ``classes`` stand in their order, as grades do; numbers always have one."""
    positive: str | None = None
    """Of two classes, the one that is looked for."""
    probe: str = LINEAR
    class_weights: str = "none"
    """``balanced`` lets every class weigh the same, however rare."""
    calibration: str = "temperature"
    """How logits become probabilities, fitted on validation patients."""
    threshold: str = "youden"
    """How the threshold of two classes is chosen on validation patients: ``youden``, or
    ``quantile`` of those who are not what is looked for."""
    false_positive_rate: float = 0.05
    """Share of them that a ``quantile`` lets be called."""

    def __post_init__(self) -> None:
        super().__post_init__()
        choices: list[tuple[str, str, tuple[str, ...]]] = [
            ("class-weights", self.class_weights, WEIGHTS),
            ("calibration", self.calibration, KINDS),
            ("threshold", self.threshold, THRESHOLDS),
        ]
        for name, value, allowed in choices:
            if value not in allowed:
                raise UsageError(
                    f"There is no --{name} {value}.", f"Choose among {', '.join(allowed)}."
                )
        if not 0 < self.false_positive_rate < 1:
            raise UsageError(
                f"--false-positive-rate is {self.false_positive_rate}.",
                "Give a share between 0 and 1, such as 0.05.",
            )
        if self.ordered and len(set(self.classes)) < 3:
            raise UsageError(
                "--ordered is of three classes or more, named in their order.",
                "Name them from the least to the most: --classes none,mild,severe --ordered.",
            )
        rate = ClassifyConfig.false_positive_rate
        if self.false_positive_rate != rate and self.threshold != QUANTILE:
            raise UsageError(
                "--false-positive-rate is of a threshold that is a quantile.",
                "Add --threshold quantile, or leave it out.",
            )


def fit_probe(lesson: Lesson, classes: int, class_weights: str) -> Fitted:
    """Fit the probe that the settings ask for; what it says are logits.

    Args:
        lesson: What to fit on.
        classes: How many are told apart.
        class_weights: What a training clip of each class counts: ``none`` or ``balanced``.
    """
    weights = torch.ones(classes, dtype=torch.float64)
    if class_weights == "balanced":
        weights = balanced_weights(lesson.targets[0], classes)
    if lesson.config.tune is not None:
        return _fit_end_to_end(lesson, weights)
    attentive = lesson.config.probe == ATTENTIVE
    return (_fit_attentive if attentive else _fit_linear)(lesson, weights)


def says(head: Mapping[str, Any], tensors: Mapping[str, Tensor], place: torch.device) -> Says:
    """Return what a saved head says of features, or of tokens and places.

    Args:
        head: Its config.
        tensors: Its state.
        place: Where it computes.
    """
    if head["probe"] == ATTENTIVE:
        return AttentiveClassifier.from_state(tensors, place).logits
    return LinearClassifier.from_state(tensors).logits


def _fit_linear(lesson: Lesson, weights: Tensor) -> Fitted:
    features = features_of(lesson, lesson.model)
    probe = LinearClassifier(folds=lesson.config.folds).fit(
        features[torch.from_numpy(lesson.train)], *lesson.targets, lesson.generator, weights
    )
    settings = {"pool": lesson.config.pool, "alpha": probe.alpha_}
    return Fitted(probe.state(), settings, probe.logits(features).numpy())


def _fit_attentive(lesson: Lesson, weights: Tensor) -> Fitted:
    def fit(probe: AttentiveClassifier, tokens: Tensor, places: Tensor | None) -> None:
        probe.fit(tokens, *lesson.targets, lesson.generator, weights, places)

    probe, settings, logits = fit_on_tokens(
        lesson, AttentiveClassifier, fit, lambda p: p.logits, shape=(len(weights),)
    )
    return Fitted(probe.state(), settings, logits)


def _fit_end_to_end(lesson: Lesson, weights: Tensor) -> Fitted:
    network = PooledReadout(lesson.model.encoder, lesson.config.pool, len(weights))
    wanted, _ = lesson.targets
    settings, _, tuned = train_encoder(lesson, network, wanted, class_loss(weights))
    probe = linear_part(network)
    logits = probe.logits(features_of(lesson, tuned)).numpy()
    return Fitted(probe.state(), settings, logits, model=tuned)
