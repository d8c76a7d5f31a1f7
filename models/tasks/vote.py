"""Two-class vote of the nearest clips, as the published DISCOVR code judges its features."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..neighbours import Bank, Neighbours, bank_of, nearest

TEMPERATURE = 0.07


class WeightedVote:
    """Share of the vote for abnormal among the k nearest labelled clips of other patients.

    A neighbour's vote weighs exp(cosine / temperature).

    Args:
        k: Number of neighbours that vote.
        temperature: The lower, the more the nearest decide.

    Source:
        DISCOVR release, the evaluation within its pretraining (k 10, temperature 0.07); there
        clips vote on themselves. Weighted vote: Wu et al. 2018 (arXiv 1805.01978), section 3.4.
    """

    def __init__(self, k: int = 10, temperature: float = TEMPERATURE) -> None:
        if k < 1 or temperature <= 0:
            raise ValueError(f"k is {k}, temperature {temperature}; both must be positive.")
        self.k = k
        self.temperature = temperature
        self.bank_: Bank
        self.abnormal_: Tensor

    def fit(
        self,
        clips: Float[Tensor, "bank dim"] | Bank,
        abnormal: Bool[Tensor, " bank"],
        patients: Int[Tensor, " bank"] | None = None,
    ) -> WeightedVote:
        """Keep the clips that vote.

        Args:
            clips: Their embeddings, in memory or by the piece.
            abnormal: What each of them is.
            patients: Number of each clip's patient, not negative; pieces bring their own.

        Raises:
            ValueError: If all are of one class.
        """
        if bool(abnormal.all()) or not bool(abnormal.any()):
            raise ValueError("A vote between two classes needs clips of both.")
        self.bank_ = bank_of(clips, patients) if isinstance(clips, Tensor) else clips
        self.abnormal_ = abnormal
        return self

    def neighbours(
        self,
        queries: Float[Tensor, "queries dim"],
        patients: Int[Tensor, " queries"] | None = None,
    ) -> Neighbours:
        """Return those who vote on each query; see ``nearest``."""
        return nearest(queries, patients, self.bank_, self.k)

    def score(
        self,
        queries: Float[Tensor, "queries dim"],
        patients: Int[Tensor, " queries"] | None = None,
    ) -> Float[Tensor, " queries"]:
        """Return the share of the vote for abnormal, 0 to 1; above a half it is called so."""
        return self.scored(self.neighbours(queries, patients))

    def scored(self, found: Neighbours) -> Float[Tensor, " queries"]:
        """Return the share of the vote for abnormal of queries whose neighbours are known.

        Raises:
            ValueError: If nobody can vote on a query.
        """
        nearest = found.distances[:, :1]
        if not bool(nearest.isfinite().all()):
            raise ValueError("A query has no clip of another patient to be compared with.")
        # Shares are the same whatever is taken off: with the nearest at exp(0) no temperature
        # makes infinity of it, or 0 of all. A missing neighbour is exp(-inf), no vote.
        votes = torch.exp((nearest - found.distances) / self.temperature)
        abnormal = self.abnormal_.to(found.rows.device)[found.rows.clamp_min(0)]
        return (votes * abnormal).sum(dim=1) / votes.sum(dim=1)
