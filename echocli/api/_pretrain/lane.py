"""Bytes on their way to a device: memory that is filled, sent and filled again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor


class Arrival(Protocol):
    """Numbers that were sent."""

    def wait_until_left(self) -> None:
        """Wait until the memory that they were sent from may be filled anew."""

    def take(self) -> Tensor:
        """Return them on the device, once, for the stream that computes there."""


class Lane:
    """Slots of memory that are used in turn, each only after what was in it has left.

    A slot is filled and sent by whichever thread reads, so that nothing waits for the thread
    that trains.

    Args:
        shape: Of what a slot holds.
        kind: Of its numbers.
        slots: How many are under way at once.
        device: Where they go.
        send: Starts the way; that of the device if left out.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        kind: torch.dtype,
        slots: int,
        device: torch.device,
        send: Callable[[Tensor], Arrival] | None = None,
    ) -> None:
        pinned = device.type == "cuda"
        self._slots = [torch.empty(shape, dtype=kind, pin_memory=pinned) for _ in range(slots)]
        self._sent: list[Arrival | None] = [None] * slots
        self._send = send or sender_to(device)

    def carry(self, number: int, fill: Callable[[NDArray[Any]], None]) -> Arrival:
        """Fill the slot whose turn it is and send it.

        Args:
            number: Counts what is carried; that of ``slots`` numbers before was taken.
            fill: Writes into the memory that it is given.
        """
        place = number % len(self._slots)
        before = self._sent[place]
        if before is not None:
            before.wait_until_left()
        fill(self._slots[place].numpy())
        arrival = self._sent[place] = self._send(self._slots[place])
        return arrival


def sender_to(device: torch.device) -> Callable[[Tensor], Arrival]:
    """Return what sends memory to a device: on CUDA beside all that is computed there."""
    if device.type != "cuda":
        return lambda slot: _Here(slot, device)
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def send(slot: Tensor) -> Arrival:
        with torch.cuda.stream(stream):
            there = slot.to(device, non_blocking=True)
        return _Sent(there, stream.record_event())

    return send


class _Here:
    """Numbers that need no way, or one that the thread that computes goes itself."""

    def __init__(self, slot: Tensor, device: torch.device) -> None:
        self._slot, self._device = slot, device

    def wait_until_left(self) -> None:
        """Nothing: what was taken from this slot is computed with already."""

    def take(self) -> Tensor:
        return self._slot.to(self._device)


class _Sent:
    """Numbers on a side stream of a GPU."""

    def __init__(self, there: Tensor, copied: torch.cuda.Event) -> None:
        self._there: Tensor | None = there
        self._copied = copied

    def wait_until_left(self) -> None:
        self._copied.synchronize()

    def take(self) -> Tensor:
        assert self._there is not None, "taken twice"
        # Given away: it would lie on the GPU until the slot's next turn.
        there, self._there = self._there, None
        computes = torch.cuda.current_stream(there.device)
        computes.wait_event(self._copied)
        there.record_stream(computes)  # or the side stream might use its memory too early
        return there
