"""Whether probabilities mean what they say, and how to mend those that do not.

Everything that is fitted here is fitted on validation patients. Each patient has one vote,
shared by the patient's clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from echocli.statistics.bootstrap import Values, divide, weighted_mean

BINS = 10
"""Of equal width, from 0 to 1: the first holds both its ends, the others their upper one."""
KINDS = ("temperature", "platt", "none")
LEAST_SLOPE = 1e-3
"""For logits whose largest is 1."""
Classes = NDArray[np.integer]


@dataclass(frozen=True)
class Scaling:
    """How logits become probabilities: ``softmax(slope * logits + offsets)``."""

    kind: str
    slope: float
    offsets: tuple[float, ...]

    def __call__(self, logits: Values) -> Values:
        """Return the probabilities, ``(rows, classes)``."""
        scaled: Values = special.softmax(self.slope * logits + np.array(self.offsets), axis=1)
        return scaled

    def as_json(self) -> dict[str, Any]:
        """Return what ``from_json`` needs."""
        return asdict(self)

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Scaling:
        """Return the scaling that was saved."""
        return cls(saved["kind"], saved["slope"], tuple(saved["offsets"]))


def unscaled(classes: int) -> Scaling:
    """Return the scaling that changes nothing."""
    return Scaling("none", 1.0, (0.0,) * classes)


def fit_scaling(kind: str, logits: Values, truth: Classes, weights: Values) -> Scaling:
    r"""Fit how logits become probabilities, by least log loss.

    ``temperature`` fits one number for all classes and changes no ranking. ``platt`` fits an
    offset for each class too, which mends what class weights have shifted; for two classes it
    is Platt's. A class is aimed at with :math:`(n_k + 1) / (n_k + K)` instead of 1, its share
    of the rest equally, so that few rows told apart without error give no certainty.

    Args:
        kind: ``temperature``, ``platt`` or ``none``.
        logits: ``(rows, classes)``, of rows that nothing was fitted on.
        truth: Class of each row.
        weights: Of the rows; see ``patient_votes``.

    Source:
        Platt 1999, Probabilistic outputs for support vector machines, section 2.2 (the aims);
        Guo et al. 2017, arXiv 1706.04599, section 4.2 (temperature); Alexandari et al. 2020,
        arXiv 1901.06852, section 2.3 (temperature with an offset a class).
    """
    rows, classes = logits.shape
    if kind == "none":
        return unscaled(classes)
    counts = np.bincount(truth, weights=weights, minlength=classes)
    own = (counts + 1) / (counts + classes)
    aims = np.repeat((1 / (counts + classes))[truth][:, None], classes, axis=1)
    aims[np.arange(rows), truth] = own[truth]
    # Slopes of unlike probes are unlike large: search among like ones.
    unit = 1 / max(float(np.abs(logits - logits.mean(axis=1, keepdims=True)).max()), 1e-9)

    def loss(found: Values) -> tuple[float, Values]:
        shift = found[1:] if kind == "platt" else 0.0
        log_p = special.log_softmax(found[0] * unit * logits + shift, axis=1)
        off = weights[:, None] * (np.exp(log_p) - aims)
        of_shift = off.sum(axis=0) if kind == "platt" else np.zeros(0)
        gradient = np.append(unit * float((off * logits).sum()), of_shift)
        return -float(weights @ (aims * log_p).sum(axis=1)), gradient

    start = np.append(1 / unit, np.zeros(classes if kind == "platt" else 0))
    # A slope below zero would turn the ranking round on the word of a few.
    bounds = [(LEAST_SLOPE, None), *[(None, None)] * (len(start) - 1)]
    how = {"method": "L-BFGS-B", "options": {"ftol": 1e-15, "gtol": 1e-9, "maxiter": 1000}}
    found = optimize.minimize(loss, start, jac=True, bounds=bounds, **how).x
    offsets = found[1:] - found[1:].mean() if kind == "platt" else np.zeros(classes)
    return Scaling(kind, float(found[0] * unit), tuple(offsets.tolist()))


def patient_votes(patients: Sequence[str] | NDArray[np.generic]) -> Values:
    """Return weights with which every patient counts 1, shared by the patient's rows."""
    _, of_row, rows = np.unique(np.asarray(patients), return_inverse=True, return_counts=True)
    votes: Values = 1 / rows[of_row]
    return votes


def brier(truth: Classes, probabilities: Values, weights: Values) -> Values:
    """Return the mean squared distance from the truth, summed over classes: 0 to 2.

    Source:
        Brier 1950, Monthly Weather Review 78:1. For two classes it is twice the mean squared
        error of either's probability.

    Args:
        truth: Class of each row.
        probabilities: ``(rows, classes)``.
        weights: ``(draws, rows)``, as in ``bootstrap``.
    """
    wanted = np.eye(probabilities.shape[1])[truth]
    return weighted_mean(((probabilities - wanted) ** 2).sum(axis=1), weights)


def log_loss(truth: Classes, probabilities: Values, weights: Values) -> Values:
    """Return the mean of minus the logarithm of what the true class was given."""
    said = probabilities[np.arange(len(truth)), truth]
    return weighted_mean(-np.log(np.maximum(said, np.finfo(float).tiny)), weights)


def calibration_error(
    hit: NDArray[np.bool_], confidence: Values, weights: Values, bins: int = BINS
) -> Values:
    """Return the expected calibration error: how far shares lie from confidences, bin by bin.

    Args:
        hit: Whether each row is what it was said to be.
        confidence: With what probability it was said.
        weights: ``(draws, rows)``.
        bins: Of equal width; another number gives another error.

    Source:
        Naeini, Cooper, Hauskrecht 2015, AAAI; Guo et al. 2017, arXiv 1706.04599, equation 3.
    """
    # The weight of a bin cancels the one of its means.
    of_bin = np.eye(bins)[_bin_of(confidence, bins)]
    apart = np.abs((weights * (hit - confidence)) @ of_bin).sum(axis=-1)
    return divide(apart, weights.sum(axis=-1))


@dataclass(frozen=True)
class ReliabilityBin:
    """Rows that were given about the same probability."""

    low: float
    high: float
    rows: int
    said: float
    """Their mean probability."""
    seen: float
    """The share that truly was so."""


def reliability(
    hit: NDArray[np.bool_], confidence: Values, bins: int = BINS
) -> list[ReliabilityBin]:
    """Return the reliability curve: what was said and what was seen, in bins that hold rows."""
    of_row = _bin_of(confidence, bins)
    return [
        ReliabilityBin(
            index / bins,
            (index + 1) / bins,
            int((of_row == index).sum()),
            float(confidence[of_row == index].mean()),
            float(hit[of_row == index].mean()),
        )
        for index in range(bins)
        if (of_row == index).any()
    ]


def _bin_of(confidence: Values, bins: int) -> NDArray[np.intp]:
    edges = np.linspace(0, 1, bins + 1)[1:-1]
    return np.searchsorted(edges, confidence, side="left")
