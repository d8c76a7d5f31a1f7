"""Logistic regression of two or more classes with an L2 penalty, several fits at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

CHOOSE, FIT = 1e-6, 1e-14
"""How near to its least the mean loss must come: to choose a penalty, and to fit for good."""
STEPS = 5000
WORSE = 2
"""Penalties in a row without anything better after which weaker ones are not tried."""


class Basis(NamedTuple):
    """Standardised rows in the directions of their own spread.

    There the second derivative of the loss is bounded by numbers, one a direction.
    """

    rows: Float[Tensor, "rows directions"]
    spread: Float[Tensor, " directions"]
    """Weighted sum of squares of each column."""
    total: Float[Tensor, ""]
    """Sum of the weights."""
    back: Float[Tensor, "directions dim"]
    """From coefficients of these to those of the raw features."""
    mean: Float[Tensor, " dim"]

    def single(self) -> Basis:
        """Return it in single precision, which is enough to choose a penalty."""
        return Basis(*(part.float() for part in self))


def basis_of(x: Float[Tensor, "rows dim"], weights: Float[Tensor, " rows"]) -> Basis:
    """Standardise and rotate; a feature that does not vary has no part.

    Args:
        x: Raw features.
        weights: Of the rows; their weighted mean becomes zero, so that the intercept has no
            part in the directions.
    """
    share = weights / weights.sum()
    mean = share @ x
    centred = x - mean
    sd = (share @ centred**2).sqrt()
    varies = sd > 1e-9 * x.abs().amax(dim=0)
    scale = torch.where(varies, sd, 1.0)
    z = centred / scale * varies
    root = z * weights.sqrt()[:, None]
    wide = len(x) < x.shape[1]
    values, vectors = torch.linalg.eigh(root @ root.T if wide else root.T @ root)
    kept = values > 1e-10 * values[-1].clamp(min=1e-30)
    values, vectors = values[kept], vectors[:, kept]
    if wide:
        vectors = root.T @ vectors / values.sqrt()
    back = (vectors * varies[:, None] / scale[:, None]).T
    return Basis(z @ vectors, values, weights.sum(), back, mean)


class Coefficients(NamedTuple):
    """Some fits side by side."""

    slopes: Float[Tensor, "fits classes directions"]
    offsets: Float[Tensor, "fits classes"]

    @classmethod
    def zero(cls, fits: int, classes: int, basis: Basis) -> Coefficients:
        """Return those that tell nothing apart."""
        shape = (fits, classes)
        rows = basis.rows
        return cls(rows.new_zeros(*shape, rows.shape[1]), rows.new_zeros(shape))

    def mean(self) -> Coefficients:
        """Return one fit, the mean of all, in double precision."""
        return Coefficients(*(part.double().mean(dim=0, keepdim=True) for part in self))


def minimise(
    basis: Basis,
    targets: Int[Tensor, " rows"],
    weights: Float[Tensor, "fits rows"],
    start: Coefficients,
    alpha: float,
    tolerance: float,
) -> Coefficients:
    r"""Return the coefficients of least penalised loss, for each set of weights.

    It is :math:`\sum_i w_i \, \mathrm{CE}_i + \frac{\alpha}{2} \lVert B \rVert^2`. The second
    derivative never exceeds half the (weighted) sum of squares of the rows (Boehning 1992,
    Ann Inst Stat Math 44:197), which in this basis is a number a direction, and one for the
    offsets: each step is that of Newton with the bound in place of the derivative, which needs
    no search along a line, with momentum that begins anew where it leads uphill (O'Donoghue,
    Candes 2015, Found Comput Math 15:715). Fewer rows do not allow longer steps: their mean is
    not zero, so that slopes and offsets have a part in each other.

    Args:
        basis: Of the rows; its spread bounds that under every set of weights.
        targets: Class of each row.
        weights: Of the rows, in each fit; none above that of the basis.
        start: Where to begin.
        alpha: Penalty, positive.
        tolerance: See ``FIT``.
    """
    fits, classes, _ = start.slopes.shape
    truth = functional.one_hot(targets, classes).to(basis.rows.dtype)[:, None]
    totals = weights.sum(dim=1)
    by_slope = 1 / (basis.spread / 2 + alpha)
    by_offset = 2 / basis.total
    slopes, offsets = ahead = start
    pace = torch.ones_like(totals)
    for _ in range(STEPS):
        # All fits in one product: the rows are read once.
        flat = basis.rows @ ahead.slopes.flatten(0, 1).T
        logits = flat.view(-1, fits, classes) + ahead.offsets
        off = (logits.softmax(dim=-1) - truth) * weights.T[..., None]
        of_slope = (off.flatten(1).T @ basis.rows).view_as(ahead.slopes) + alpha * ahead.slopes
        of_offset = off.sum(dim=0)
        move_s, move_o = -of_slope * by_slope, -of_offset * by_offset
        gain = -((of_slope * move_s).sum((1, 2)) + (of_offset * move_o).sum(1))
        new_s, new_o = ahead.slopes + move_s, ahead.offsets + move_o
        if bool((gain <= tolerance * totals).all()):
            return Coefficients(new_s, new_o)
        moved_s, moved_o = new_s - slopes, new_o - offsets
        uphill = (of_slope * moved_s).sum((1, 2)) + (of_offset * moved_o).sum(1) > 0
        pace = torch.where(uphill, 1.0, pace)
        faster = (1 + (1 + 4 * pace**2).sqrt()) / 2
        momentum = (pace - 1) / faster
        slopes, offsets, pace = new_s, new_o, faster
        ahead = Coefficients(
            new_s + momentum[:, None, None] * moved_s,
            new_o + momentum[:, None] * moved_o,
        )
    return Coefficients(slopes, offsets)
