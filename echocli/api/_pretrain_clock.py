"""How long steps take, and how much of it is waiting for clips."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from torch import Tensor

from echocli.clips.batches import Batch
from echocli.models.sector import Scan


class Clock:
    """Measures how long steps take, and how much of it is waiting for clips."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.waited = 0.0

    def waiting(
        self, batches: Iterator[Batch], convert: Callable[[Batch], Tensor | Scan]
    ) -> Iterator[Tensor | Scan]:
        """Pass batches on and count the time until each is there."""
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - asked
            if batch is None:
                return
            yield convert(batch)

    def lap(self) -> tuple[float, float]:
        """Return seconds, and the share that was waiting, since the last call."""
        now = time.perf_counter()
        seconds, waited = now - self.started, self.waited
        self.started, self.waited = now, 0.0
        return seconds, waited / max(seconds, 1e-9)
