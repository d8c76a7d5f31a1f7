"""One-class anomaly score: how far a clip lies from the normal ones.

The bank holds normal clips only. The two-class vote of the published DISCOVR code is another
thing: it needs abnormal clips and has no threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

NOBODY = -1
"""Patient number of a query whose patient is not in the bank."""


class Neighbours(NamedTuple):
    """The nearest normals of each query, nearest first."""

    distances: Float[Tensor, "queries k"]
    """Cosine distance, 0 to 2; infinite where fewer than k normals of others exist."""
    rows: Int[Tensor, "queries k"]
    """Row in the bank; -1 where there is none."""


class NearestNormals:
    """Mean cosine distance to the k nearest normal clips of other patients.

    Args:
        k: Number of neighbours.
        chunk: Queries, and rows of the bank, that are compared at once: it bounds the memory.
    """

    def __init__(self, k: int = 10, chunk: int = 4096) -> None:
        if k < 1 or chunk < 1:
            raise ValueError(f"k is {k} and chunk is {chunk}; both must be positive.")
        self.k = k
        self.chunk = chunk
        self.bank_: Tensor
        self.patients_: Tensor

    def fit(
        self,
        normals: Float[Tensor, "bank dim"],
        patients: Int[Tensor, " bank"] | None = None,
    ) -> NearestNormals:
        """Keep the bank of normal clips.

        Args:
            normals: Embeddings of normal clips.
            patients: Number of each clip's patient, not negative; each its own if left out.

        Raises:
            ValueError: If the bank is empty or holds NaN or a zero vector.
        """
        if patients is None:
            patients = torch.arange(len(normals), device=normals.device)
        if not len(normals) or bool((patients < 0).any()):
            raise ValueError("The bank needs rows, and patients numbered from 0.")
        self.bank_ = _unit_rows(normals)
        self.patients_ = patients.to(self.bank_.device)
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
        """
        if patients is None:
            patients = torch.full((len(queries),), NOBODY)
        parts = [
            self._nearest(_unit_rows(rows), own.to(self.bank_.device))
            for rows, own in zip(
                torch.split(queries, self.chunk), torch.split(patients, self.chunk), strict=True
            )
        ]
        return Neighbours(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def score(
        self,
        queries: Float[Tensor, "queries dim"],
        patients: Int[Tensor, " queries"] | None = None,
    ) -> Float[Tensor, " queries"]:
        """Return the anomaly scores, 0 to 2, higher stranger; arguments as in ``neighbours``.

        Raises:
            ValueError: If a query has no normal clip of another patient to be compared with.
        """
        return mean_distance(self.neighbours(queries, patients).distances)

    def state(self) -> dict[str, Tensor]:
        """Return everything that ``from_state`` needs."""
        return {"k": torch.tensor(self.k), "bank": self.bank_, "patients": self.patients_}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> NearestNormals:
        """Return the fitted scorer."""
        return cls(int(state["k"])).fit(state["bank"], state["patients"])

    def _nearest(
        self, queries: Float[Tensor, "chunk dim"], patients: Int[Tensor, " chunk"]
    ) -> tuple[Float[Tensor, "chunk k"], Int[Tensor, "chunk k"]]:
        best = queries.new_full((len(queries), self.k), torch.inf)
        rows = torch.full_like(best, -1, dtype=torch.int64)
        for start in range(0, len(self.bank_), self.chunk):
            bank = self.bank_[start : start + self.chunk]
            owners = self.patients_[start : start + self.chunk]
            distances = (1 - queries.to(bank) @ bank.T).clamp(min=0)
            distances = distances.masked_fill(patients[:, None] == owners, torch.inf)
            numbers = torch.arange(start, start + len(bank), device=rows.device)
            both = torch.cat([best, distances], dim=1)
            names = torch.cat([rows, numbers.expand(len(queries), -1)], dim=1)
            best, place = both.topk(self.k, largest=False)
            rows = names.gather(1, place)
        return best, rows.masked_fill(best.isinf(), -1)


def mean_distance(distances: Float[Tensor, "queries k"]) -> Float[Tensor, " queries"]:
    """Return the mean of the finite distances.

    Raises:
        ValueError: If a query has none.
    """
    known = distances.isfinite()
    if not bool(known.any(dim=1).all()):
        raise ValueError("A query has no normal clip of another patient to be compared with.")
    return distances.masked_fill(~known, 0).sum(dim=1) / known.sum(dim=1)


def _unit_rows(rows: Float[Tensor, "rows dim"]) -> Float[Tensor, "rows dim"]:
    rows = rows.float()
    lengths = rows.norm(dim=1)
    if not bool(((lengths > 0) & lengths.isfinite()).all()):
        raise ValueError("An embedding is NaN, infinite or zero: it has no direction.")
    return functional.normalize(rows, dim=1)
