"""How long steps take, and how much of it is waiting for clips."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TypeVar

import torch

T = TypeVar("T")


class Clock:
    """Measures how long steps take, and how much of it is waiting for clips.

    A CPU waits while the training thread does. A GPU has work queued up when that thread begins
    to wait: it waits from the end of that work until the clips have arrived, which two events
    on its own stream tell.
    """

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.waited = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def waiting(self, batches: Iterator[T], device: torch.device) -> Iterator[T]:
        """Pass batches on and count the time until each is there.

        Args:
            batches: What is computed with next, on its way to the device or there.
            device: What may have to wait for it.
        """
        gpu = device.type == "cuda"
        while True:
            asked = time.perf_counter()
            before = _mark(device) if gpu else None
            batch = next(batches, None)
            if batch is None:
                return
            if before is None:
                self.waited += time.perf_counter() - asked
            else:
                self._events.append((before, _mark(device)))
            yield batch

    def lap(self) -> tuple[float, float]:
        """Return seconds, and the share that was waiting, since the last call.

        On a GPU, numbers of the last step must have been read before: the work is then done.
        """
        for before, after in self._events:
            after.synchronize()
            self.waited += before.elapsed_time(after) / 1e3
        self._events.clear()
        now = time.perf_counter()
        seconds, waited = now - self.started, self.waited
        self.started, self.waited = now, 0.0
        return seconds, waited / max(seconds, 1e-9)


def _mark(device: torch.device) -> torch.cuda.Event:
    """Return an event that happens when the GPU has done all it was given so far."""
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(device))
    return event
