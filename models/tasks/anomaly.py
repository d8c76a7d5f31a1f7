"""One-class anomaly score: how far a clip lies from the normal ones.

The bank holds normal clips only. The two-class vote of the published DISCOVR code is another
thing (``vote.py``): it needs abnormal clips and has no threshold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..neighbours import Bank, Kind, Neighbours, Piece, bank_of, nearest

Distance: TypeAlias = Literal["cosine", "whitened", "mahalanobis"]
DISTANCES: tuple[str, ...] = get_args(Distance)


class Whitening(NamedTuple):
    """Makes the normal clips round: mean 0, spread 1 in every direction.

    Lengths are then Mahalanobis distances of the covariance that it was made of.
    """

    mean: Float[Tensor, " dim"]
    matrix: Float[Tensor, "dim dim"]
    """Symmetric root of the precision matrix."""

    @classmethod
    def of(cls, mean: Float[Tensor, " dim"], covariance: Float[Tensor, "dim dim"]) -> Whitening:
        """Return the whitening of a mean and a covariance of full rank.

        Raises:
            ValueError: If the covariance is not positive definite.
        """
        values, vectors = torch.linalg.eigh(covariance.double())
        if not bool((values > 0).all()):
            raise ValueError("The covariance is not positive definite; shrink it.")
        return cls(mean.double(), vectors * values.rsqrt() @ vectors.T)

    def __call__(self, rows: Float[Tensor, "rows dim"]) -> Float[Tensor, "rows dim"]:
        """Return whitened rows.

        In double precision, so that a row comes out the same among whichever others.
        """
        mean, matrix = self.mean.to(rows.device), self.matrix.to(rows.device)
        return ((rows.double() - mean) @ matrix).float()


class NearestNormals:
    """Mean distance to the k nearest normal clips of other patients.

    Args:
        k: Number of neighbours.
        distance: ``cosine``; ``whitened``, Euclidean after a whitening of the normals; or
            ``mahalanobis``, to the mean of the normals, where neighbours are examples only.
        whitening: That of the normals, for the last two.

    Source:
        kNN on frozen features: Bergman, Cohen, Hoshen 2020 (arXiv 2002.10445), section 3.
        Mahalanobis distance: Rippel, Mertens, Merhof 2021 (arXiv 2005.14140), section III.
    """

    def __init__(
        self, k: int = 10, distance: Distance = "cosine", whitening: Whitening | None = None
    ) -> None:
        if k < 1:
            raise ValueError(f"k is {k}; it must be positive.")
        if (whitening is None) != (distance == "cosine"):
            raise ValueError(f"The distance {distance} and its whitening do not fit together.")
        self.k = k
        self.distance = distance
        self.whitening = whitening
        self.bank_: Bank

    def fit(
        self,
        normals: Float[Tensor, "bank dim"] | Bank,
        patients: Int[Tensor, " bank"] | None = None,
    ) -> NearestNormals:
        """Keep the bank of normal clips.

        Args:
            normals: Embeddings of normal clips, in memory or by the piece.
            patients: Number of each clip's patient, not negative; each its own if left out.
                Pieces bring their own.

        Raises:
            ValueError: If a bank in memory is empty or has negative patients.
        """
        self.bank_ = bank_of(normals, patients) if isinstance(normals, Tensor) else normals
        return self

    def neighbours(
        self,
        queries: Float[Tensor, "queries dim"],
        patients: Int[Tensor, " queries"] | None = None,
    ) -> Neighbours:
        """Return the nearest normals; those of the query's own patient do not count.

        Args:
            queries: Embeddings of any clips.
            patients: Number of each clip's patient, as in ``fit``; ``NOBODY`` if it is not in
                the bank. Left out, no clip's patient is in the bank.

        Raises:
            ValueError: If a row, here or in the bank, has no direction.
        """
        kind: Kind = "cosine" if self.whitening is None else "euclidean"
        return nearest(self._seen(queries), patients, self._bank, self.k, kind)

    def score(
        self,
        queries: Float[Tensor, "queries dim"],
        patients: Int[Tensor, " queries"] | None = None,
    ) -> Float[Tensor, " queries"]:
        """Return the anomaly scores, higher stranger; arguments as in ``neighbours``.

        Raises:
            ValueError: If a query has no normal clip of another patient to be compared with.
        """
        return self.scored(queries, self.neighbours(queries, patients))

    def scored(
        self, queries: Float[Tensor, "queries dim"], found: Neighbours
    ) -> Float[Tensor, " queries"]:
        """Return the anomaly scores of queries whose neighbours are known.

        Raises:
            ValueError: If a query has no normal clip of another patient to be compared with.
        """
        if self.distance == "mahalanobis":
            lengths: Tensor = torch.linalg.vector_norm(self._seen(queries).double(), dim=1)
            return lengths
        return mean_distance(found.distances)

    def _seen(self, rows: Float[Tensor, "rows dim"]) -> Float[Tensor, "rows dim"]:
        return rows if self.whitening is None else self.whitening(rows)

    def _bank(self) -> Iterator[Piece]:
        for piece in self.bank_():
            yield piece._replace(rows=self._seen(piece.rows))


def mean_distance(distances: Float[Tensor, "queries k"]) -> Float[Tensor, " queries"]:
    """Return the mean of the finite distances.

    Raises:
        ValueError: If a query has none.
    """
    known = distances.isfinite()
    if not bool(known.any(dim=1).all()):
        raise ValueError("A query has no normal clip of another patient to be compared with.")
    return distances.masked_fill(~known, 0).sum(dim=1) / known.sum(dim=1)
