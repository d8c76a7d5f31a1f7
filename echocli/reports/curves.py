"""Long curves in little memory."""

from __future__ import annotations

import numpy as np

from echocli.reports.lines import Values

MOST = 600


class Curve:
    """A curve as the means of equal stretches, which grow longer as the curve does.

    Args:
        most: Stretches that are kept.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._width = 1
        self._sums: list[list[float]] = []
        """Of each stretch: how many points, the sums of their places and of their values."""

    def __len__(self) -> int:
        return len(self._sums)

    def add(self, place: float, value: float) -> None:
        """Add the next point."""
        if not self._sums or self._sums[-1][0] == self._width:
            if len(self._sums) == self._most:
                pairs = zip(self._sums[::2], self._sums[1::2], strict=True)
                self._sums = [[a + b for a, b in zip(*two, strict=True)] for two in pairs]
                self._width *= 2
            self._sums.append([0, 0.0, 0.0])
        last = self._sums[-1]
        last[0] += 1
        last[1] += place
        last[2] += value

    @property
    def points(self) -> tuple[Values, Values]:
        """Where the stretches lie, and their means."""
        counts, places, values = np.array(self._sums, dtype=np.float64).reshape(-1, 3).T
        return places / counts, values / counts

    @property
    def last(self) -> float:
        """The mean of the last stretch."""
        return self._sums[-1][2] / self._sums[-1][0]
