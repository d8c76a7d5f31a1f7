"""Ejection fraction: a ridge or an attentive probe on frozen features, or end to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from ..folds import deal_patients
from ..readout import AttentiveFit, PooledReadout
from ..shapes import TokenIds, Video
from ..vit import VisionTransformer

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


class AttentiveProbe(AttentiveFit):
    """An attentive pooler and a linear layer on frozen tokens; see ``AttentiveFit``.

    It starts by always saying the mean of the targets.
    """

    centre_: Tensor
    spread_: Tensor
    out_of_fold_: Tensor

    def fit(
        self,
        tokens: Float[Tensor, "clips windows tokens dim"],
        targets: Float[Tensor, " rows"],
        patients: Int[Tensor, " rows"],
        generator: torch.Generator,
        places: Int[Tensor, "rows places"] | None = None,
    ) -> AttentiveProbe:
        """Fit; ``out_of_fold_`` keeps what the patients held out were predicted, else NaN.

        Args:
            tokens: Frozen tokens, of any precision, in memory or mapped from a file: only the
                rows of a batch are read at once.
            targets: What to predict.
            patients: Number of each row's patient; all rows of one are held out together.
            generator: Draws first weights, the patients held out, batches and windows.
            places: With ``views``: the clip in each place of a study, -1 where there is none.

        Raises:
            ValueError: If there are fewer than two patients or a target is not finite.
        """
        if not bool(targets.isfinite().all()):
            raise ValueError("Targets must be finite.")
        targets = targets.float()
        self.centre_ = targets.mean()
        self.spread_ = targets.std(correction=0).clamp(min=1e-6)
        wanted = ((targets - self.centre_) / self.spread_)[:, None]
        held_out = self.learn(tokens, wanted, 1, ef_loss, patients, generator, places=places)
        self.out_of_fold_ = torch.full((len(targets),), torch.nan)
        for rows in torch.split(held_out.nonzero()[:, 0], self.config.batch):
            said = (
                self.predict(tokens[rows])
                if places is None
                else self.predict(tokens, places[rows])
            )
            self.out_of_fold_[rows] = said
        return self

    def predict(
        self,
        tokens: Float[Tensor, "clips windows tokens dim"],
        places: Int[Tensor, "rows places"] | None = None,
    ) -> Float[Tensor, " rows"]:
        """Return the predicted values, each the mean over windows.

        Args:
            tokens: Frozen tokens.
            places: With ``views``: the clip in each place of a study, -1 where there is none.
        """
        return self.answers(tokens, places)[:, 0] * self.spread_ + self.centre_

    def state(self) -> dict[str, Tensor]:
        """Return everything that ``from_state`` needs."""
        return {**super().state(), "centre": self.centre_, "spread": self.spread_}

    @classmethod
    def from_state(
        cls, state: Mapping[str, Tensor], device: torch.device | str = "cpu"
    ) -> AttentiveProbe:
        """Return the fitted probe."""
        rest = dict(state)
        centre, spread = rest.pop("centre"), rest.pop("spread")
        probe = super().from_state(rest, device)
        probe.centre_, probe.spread_ = centre, spread
        return probe


class PooledRegressor(PooledReadout):
    """An encoder in training and a linear layer on its pooled tokens.

    Args:
        encoder: Changed by training.
        kind: How tokens become one vector; see ``pooling.py``.
        targets: Their mean and spread are the zero and the unit of what it says.
    """

    def __init__(
        self, encoder: VisionTransformer, kind: str, targets: Float[Tensor, " clips"]
    ) -> None:
        super().__init__(encoder, kind, 1)
        self.centre = float(targets.mean())
        self.spread = max(1e-6, float(targets.std(correction=0)))

    def forward(self, video: Video, keep: TokenIds | None = None) -> Float[Tensor, " batch"]:
        """Return the target in units of its spread around its centre.

        Args:
            video: Normalised clips.
            keep: Ids of the tokens to look at, equally many at every time; all if left out.
        """
        return super().forward(video, keep)[:, 0]

    def probe(self) -> RidgeProbe:
        """Return the linear layer as a probe of the encoder's raw features."""
        probe = RidgeProbe()
        slopes, offsets = self.on_raw_features()
        probe.coefficients_ = self.spread * slopes[0]
        probe.intercept_ = self.centre + self.spread * offsets[0]
        probe.alpha_ = 0.0
        return probe


def ef_loss(
    said: Float[Tensor, "*rows"], wanted: Float[Tensor, "*rows"]
) -> Float[Tensor, "*rows"]:
    """Return the error of each row: squared where small, so that no label outweighs all."""
    return functional.smooth_l1_loss(said, wanted, reduction="none")
