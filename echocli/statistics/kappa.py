"""How far two ways of naming classes agree beyond chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from echocli.statistics.bootstrap import Values, divide

Codes = NDArray[np.integer]
NOMINAL, LINEAR, QUADRATIC = 0, 1, 2
"""Powers of the distance between classes; classes without an order are all equally far."""


def kappa(
    truth: Codes, called: Codes, classes: int, weights: Values, power: int = NOMINAL
) -> Values:
    """Return Cohen's kappa: 1 is perfect, 0 is what chance would reach.

    NaN where everything was, and was called, one class.

    Args:
        truth: Class of each row, from 0.
        called: What it was called.
        classes: How many there are; in their order, if they have one.
        weights: ``(draws, rows)``.
        power: How a disagreement grows with the distance of the classes: ``NOMINAL`` (all
            weigh alike), ``LINEAR``, or ``QUADRATIC`` (two apart weigh four times as much).

    Source:
        Cohen 1960, Educ Psychol Meas 20:37; weighted: Cohen 1968, Psychol Bull 70:213.
    """
    pair = np.eye(classes**2)[truth * classes + called]
    seen = (weights @ pair).reshape(*weights.shape[:-1], classes, classes)
    by_truth, by_call = seen.sum(axis=-1), seen.sum(axis=-2)
    by_chance = by_truth[..., :, None] * by_call[..., None, :]
    places = np.arange(classes)
    apart = np.abs(places[:, None] - places)
    cost = np.sign(apart) * apart**power
    return 1 - divide(
        weights.sum(axis=-1) * (cost * seen).sum(axis=(-2, -1)),
        (cost * by_chance).sum(axis=(-2, -1)),
    )
