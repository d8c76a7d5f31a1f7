"""Classes of clips: a linear or an attentive probe on frozen features, or end to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from ..finetune import RowLoss
from ..folds import deal_patients
from ..logistic import CHOOSE, FIT, WORSE, Basis, Coefficients, basis_of, minimise
from ..readout import AttentiveFit, PooledReadout

ALPHAS = tuple(10.0**exponent for exponent in range(5, -4, -1))
"""From 100 thousand to a thousandth: from almost none to almost all freedom."""


def balanced_weights(targets: Int[Tensor, " clips"], classes: int) -> Float[Tensor, " classes"]:
    """Return a weight for each class with which all weigh the same; their mean over clips is 1.

    Args:
        targets: Class of each clip.
        classes: How many there are.

    Raises:
        ValueError: If a class has no clip.
    """
    counts = torch.bincount(targets, minlength=classes).double()
    if not bool(counts.all()):
        raise ValueError("A class has no clip to be weighted.")
    return len(targets) / (classes * counts)


class LinearClassifier:
    """Logistic regression with an L2 penalty on standardised features; softmax over classes.

    The penalty is the one with the least log loss in cross-validation by patient. Features are
    standardised once, on all rows, since that takes no label into account.

    Args:
        alphas: Penalties to choose from, strongest first; the weak ones are not tried once two
            in a row have brought nothing.
        folds: Parts that the patients are dealt into.
    """

    def __init__(self, alphas: Sequence[float] = ALPHAS, folds: int = 5) -> None:
        if not alphas or min(alphas) <= 0 or list(alphas) != sorted(alphas, reverse=True):
            raise ValueError("Penalties must be positive, strongest first.")
        if folds < 2:
            raise ValueError("There must be two folds or more.")
        self.alphas = tuple(alphas)
        self.folds = folds
        self.slopes_: Tensor
        self.offsets_: Tensor
        self.alpha_: float
        self.losses_: list[float]

    def fit(
        self,
        features: Float[Tensor, "clips dim"],
        targets: Int[Tensor, " clips"],
        patients: Int[Tensor, " clips"],
        generator: torch.Generator,
        class_weights: Float[Tensor, " classes"],
    ) -> LinearClassifier:
        """Choose the penalty, then fit on all rows.

        ``losses_`` keeps the mean log loss, by held-out patients, of each penalty tried.

        Args:
            features: Frozen features.
            targets: Class of each clip.
            patients: Number of each clip's patient; all clips of one land in one fold.
            generator: Deals the patients into folds.
            class_weights: What a clip of each class counts; ones, or ``balanced_weights``.

        Raises:
            ValueError: If there are fewer than two patients or a value is not finite.
        """
        x = features.double()
        if not bool(x.isfinite().all()):
            raise ValueError("Features must be finite.")
        weights = class_weights.double()[targets]
        fold = deal_patients(patients, self.folds, generator)
        basis = basis_of(x, weights)
        of_fold = torch.stack([weights * (fold != held) for held in range(int(fold.max()) + 1)])
        classes = len(class_weights)
        self.alpha_, near = self._choose(
            basis.single(), targets, of_fold.float(), fold, classes
        )
        fitted = minimise(basis, targets, weights[None], near.mean(), self.alpha_, FIT)
        self.slopes_ = fitted.slopes[0] @ basis.back
        self.offsets_ = fitted.offsets[0] - self.slopes_ @ basis.mean
        return self

    def logits(self, features: Float[Tensor, "clips dim"]) -> Float[Tensor, "clips classes"]:
        """Return the logarithms of the classes' odds, up to a constant a clip."""
        return features.double() @ self.slopes_.T + self.offsets_

    def state(self) -> dict[str, Tensor]:
        """Return everything that ``from_state`` needs."""
        return {"slopes": self.slopes_, "offsets": self.offsets_}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> LinearClassifier:
        """Return the fitted probe."""
        probe = cls()
        probe.slopes_, probe.offsets_ = state["slopes"], state["offsets"]
        return probe

    def _choose(
        self,
        basis: Basis,
        targets: Int[Tensor, " clips"],
        of_fold: Float[Tensor, "folds clips"],
        fold: Int[Tensor, " clips"],
        classes: int,
    ) -> tuple[float, Coefficients]:
        """Return the penalty that served the patients of the folds best, and its fits."""
        weights, rows = of_fold.amax(dim=0), torch.arange(len(targets))
        found = best = Coefficients.zero(len(of_fold), classes, basis)
        self.losses_ = []
        for alpha in self.alphas:
            found = minimise(basis, targets, of_fold, found, alpha, CHOOSE)
            flat = basis.rows @ found.slopes.flatten(0, 1).T
            logits = flat.view(len(rows), *found.offsets.shape) + found.offsets
            # Each row by the fit that has not seen its patient.
            losses = -logits[rows, fold].log_softmax(dim=1)[rows, targets]
            self.losses_.append(float(weights @ losses / weights.sum()))
            if self.losses_[-1] == min(self.losses_):
                best = found
            if len(self.losses_) - 1 - self.losses_.index(min(self.losses_)) == WORSE:
                break
        return self.alphas[self.losses_.index(min(self.losses_))], best


class AttentiveClassifier(AttentiveFit):
    """An attentive pooler and a linear layer on frozen tokens; see ``AttentiveFit``."""

    def fit(
        self,
        tokens: Float[Tensor, "clips windows tokens dim"],
        targets: Int[Tensor, " rows"],
        patients: Int[Tensor, " rows"],
        generator: torch.Generator,
        class_weights: Float[Tensor, " classes"],
        places: Int[Tensor, "rows places"] | None = None,
    ) -> AttentiveClassifier:
        """Fit; arguments as for ``LinearClassifier``, but for tokens.

        Args:
            tokens: Frozen tokens, of any precision, in memory or mapped from a file.
            targets: Class of each row.
            patients: Number of each row's patient; all rows of one are held out together.
            generator: Draws first weights, the patients held out, batches and windows.
            class_weights: What a row of each class counts.
            places: With ``views``: the clip in each place of a study, -1 where there is none.

        Raises:
            ValueError: If there are fewer than two patients.
        """
        loss = class_loss(class_weights)
        self.learn(
            tokens, targets, len(class_weights), loss, patients, generator, places=places
        )
        return self

    def logits(
        self,
        tokens: Float[Tensor, "clips windows tokens dim"],
        places: Int[Tensor, "rows places"] | None = None,
    ) -> Float[Tensor, "rows classes"]:
        """Return the logits, each the mean over windows.

        Args:
            tokens: Frozen tokens.
            places: With ``views``: the clip in each place of a study, -1 where there is none.
        """
        return self.answers(tokens, places)


def linear_part(network: PooledReadout) -> LinearClassifier:
    """Return the linear layer of a trained encoder as a probe of its raw features."""
    probe = LinearClassifier()
    probe.slopes_, probe.offsets_ = network.on_raw_features()
    return probe


def class_loss(class_weights: Float[Tensor, " classes"]) -> RowLoss:
    """Return the weighted cross entropy of each row, as a function of logits and classes."""
    weights = class_weights.float()

    def loss(said: Tensor, wanted: Tensor) -> Tensor:
        return functional.cross_entropy(said, wanted, weights.to(said.device), reduction="none")

    return loss
