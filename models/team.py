"""Processes that share a step: what is said of a whole batch is reduced over all of them.

A team of one needs no process group: its sums are the numbers themselves, and a compiled graph
holds no trace of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.autograd import Function


@dataclass(frozen=True)
class Team:
    """Who shares the clips of a step: each process has equally many, in the order of ranks.

    Args:
        rank: Of this process, from 0.
        size: How many processes there are.
        parts: Into how many parts each cuts its clips, to look at one after another.
    """

    rank: int = 0
    size: int = 1
    parts: int = 1

    @property
    def pieces(self) -> int:
        """Into how many pieces the clips of a step are cut: parts of all processes."""
        return self.size * self.parts

    def own(self, rows: Shaped[Tensor, "all ..."]) -> Shaped[Tensor, "own ..."]:
        """Return this process's rows of those of all clips."""
        return rows.chunk(self.size)[self.rank]

    def sum(self, numbers: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Add numbers up over all processes. No gradient passes."""
        if self.size == 1:
            return numbers
        total = numbers.detach().clone()
        dist.all_reduce(total)
        return total

    def mean(self, numbers: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Average numbers over all processes. No gradient passes."""
        return numbers if self.size == 1 else self.sum(numbers) / self.size

    def gather(self, rows: Float[Tensor, "own ..."]) -> Float[Tensor, "all ..."]:
        """Return the rows of all processes; their gradient goes back to where they came from.

        If every process minimises its own loss, the gradient is that of the sum of all losses.
        """
        if self.size == 1:
            return rows
        found: Tensor = _Gather.apply(rows, self)  # type: ignore[no-untyped-call]
        return found

    def std(self, rows: Float[Tensor, "own ..."]) -> Float[Tensor, "..."]:
        """Return the spread over the rows of all processes. No gradient passes."""
        within, means = torch.var_mean(rows.detach(), dim=0, correction=0)
        # The variance of equal groups: the mean of theirs, and that of their means.
        all_within, all_means = self.gather(torch.stack([within, means])[None]).unbind(1)
        return (all_within.mean(dim=0) + all_means.var(dim=0, correction=0)).sqrt()

    def logsumexp(self, logs: Float[Tensor, "own columns"]) -> Float[Tensor, " columns"]:
        """Return the logarithm of the sums of exponentials down the columns. No gradient."""
        return self.gather(logs.detach().logsumexp(dim=0)[None]).logsumexp(dim=0)


class _Gather(Function):
    """All rows, in the order of ranks; backwards, the sum of what all ask of the own ones."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, team: Team) -> Tensor:  # noqa: ANN401
        ctx.team = team
        every = rows.new_zeros(team.size, *rows.shape)
        every[team.rank] = rows
        return team.sum(every).flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, asked: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        team: Team = ctx.team
        return team.own(team.sum(asked)), None


ALONE = Team()
