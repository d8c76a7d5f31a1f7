"""Ejection fraction by ridge regression on frozen features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

ALPHAS = tuple(10 ** (exponent / 2) for exponent in range(-2, 15))
"""From 0.1 to 10 million in half decades: from almost none to almost all shrinkage."""


class RidgeProbe:
    """Linear regression with an L2 penalty, in closed form, on standardised features.

    The penalty is the one with the least squared error in cross-validation by patient.

    Args:
        alphas: Penalties to choose from.
        folds: Parts that the patients are dealt into.
    """

    def __init__(self, alphas: Sequence[float] = ALPHAS, folds: int = 5) -> None:
        if not alphas or min(alphas) <= 0 or folds < 2:
            raise ValueError("Penalties must be positive, and there must be two folds or more.")
        self.alphas = tuple(alphas)
        self.folds = folds
        self.coefficients_: Tensor
        self.intercept_: Tensor
        self.alpha_: float
        self.errors_: Tensor
        self.out_of_fold_: Tensor

    def fit(
        self,
        features: Float[Tensor, "clips dim"],
        targets: Float[Tensor, " clips"],
        patients: Int[Tensor, " clips"],
        generator: torch.Generator,
    ) -> RidgeProbe:
        """Choose the penalty, then fit on all rows.

        ``out_of_fold_`` keeps what each row was predicted without its own patient.

        Args:
            features: Frozen features.
            targets: What to predict.
            patients: Number of each clip's patient; all clips of one land in one fold.
            generator: Deals the patients into folds.

        Raises:
            ValueError: If there are fewer than two patients or a value is not finite.
        """
        x, y = features.double(), targets.double()
        if not bool(x.isfinite().all() and y.isfinite().all()):
            raise ValueError("Features and targets must be finite.")
        fold = deal_patients(patients, self.folds, generator)
        held_out_values = torch.zeros(len(y), len(self.alphas), dtype=torch.float64)
        for held_out in range(int(fold.max()) + 1):
            test = fold == held_out
            coefficients, intercepts = ridge_path(x[~test], y[~test], self.alphas)
            held_out_values[test] = x[test] @ coefficients.T + intercepts
        self.errors_ = ((held_out_values - y[:, None]) ** 2).mean(dim=0)
        best = int(self.errors_.argmin())
        self.alpha_, self.out_of_fold_ = self.alphas[best], held_out_values[:, best]
        coefficients, intercepts = ridge_path(x, y, [self.alpha_])
        self.coefficients_, self.intercept_ = coefficients[0], intercepts[0]
        return self

    def predict(self, features: Float[Tensor, "clips dim"]) -> Float[Tensor, " clips"]:
        """Return the predicted values."""
        return (features.double() @ self.coefficients_ + self.intercept_).float()

    def state(self) -> dict[str, Tensor]:
        """Return everything that ``from_state`` needs."""
        return {
            "coefficients": self.coefficients_,
            "intercept": self.intercept_,
            "alpha": torch.tensor(self.alpha_, dtype=torch.float64),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> RidgeProbe:
        """Return the fitted probe."""
        probe = cls()
        probe.coefficients_ = state["coefficients"]
        probe.intercept_ = state["intercept"]
        probe.alpha_ = float(state["alpha"])
        return probe


def ridge_path(
    x: Float[Tensor, "clips dim"], y: Float[Tensor, " clips"], alphas: Sequence[float]
) -> tuple[Float[Tensor, "alphas dim"], Float[Tensor, " alphas"]]:
    r"""Return coefficients and intercepts for raw features, one row for each penalty.

    With standardised features :math:`Z` and centred targets :math:`y` the coefficients are
    :math:`(Z^T Z + \alpha I)^{-1} Z^T y = Z^T (Z Z^T + \alpha I)^{-1} y`; one eigenvalue
    decomposition of the smaller of the two squares serves all penalties. A feature that does
    not vary gets the coefficient 0.
    """
    mean, sd = x.mean(dim=0), x.std(dim=0, unbiased=False)
    varies = sd > 1e-9 * x.abs().amax(dim=0)
    scale = torch.where(varies, sd, 1.0)
    z = (x - mean) / scale * varies
    centre = y.mean()
    penalties = torch.tensor(alphas, dtype=x.dtype)
    wide = x.shape[0] < x.shape[1]
    values, vectors = torch.linalg.eigh(z @ z.T if wide else z.T @ z)
    right = y - centre if wide else z.T @ (y - centre)
    solved = (vectors.T @ right) / (values.clamp(min=0) + penalties[:, None]) @ vectors.T
    coefficients = (solved @ z if wide else solved) * varies / scale
    return coefficients, centre - coefficients @ mean


def deal_patients(
    patients: Int[Tensor, " clips"], folds: int, generator: torch.Generator
) -> Int[Tensor, " clips"]:
    """Return the fold of each clip: patients are shuffled, then dealt round in turn.

    Raises:
        ValueError: If there are fewer than two patients.
    """
    names, of_clip = torch.unique(patients, return_inverse=True)
    if len(names) < 2:
        raise ValueError("Cross-validation by patient needs at least two patients.")
    place = torch.randperm(len(names), generator=generator)
    return (place % min(folds, len(names)))[of_clip]
