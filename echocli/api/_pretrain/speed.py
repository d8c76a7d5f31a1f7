"""How fast a training goes, and how much of what the machine can do that is."""

from __future__ import annotations

import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import torch

from echocli.api._pretrain.job import Job
from echocli.device import Device
from echocli.models.memory import build_empty
from echocli.models.sector import choose_places
from echocli.models.vit import ViTConfig
from echocli.models.work import count_operations

SIDES = {"cpu": 1024, "mps": 2048}
"""Of the matrices that are multiplied to learn the machine's rate."""
GPU_SIDE = 8192
"""Smaller ones do not keep a large GPU busy."""
RATE_SECONDS = 0.1
KEPT = 0.9
"""Share of what was known that stays in a running mean after a lap."""


class Speed:
    """Clips a second, share of the machine's matrix rate, and memory, as a training goes.

    The machine's rate and the operations of a step are found once.

    Args:
        job: What is trained.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self._rate = matrix_rate(job.device)
        self._operations: dict[int, int] = {}
        """Of a step of each stage."""
        self._seconds = 0.0
        self._wait = 0.0

    def lap(self, steps: int, seconds: float, wait: float) -> None:
        """Take note of what some steps took.

        Args:
            steps: How many.
            seconds: In all.
            wait: Share of it that was waiting for clips.
        """
        known = KEPT if self._seconds else 0.0
        self._seconds = known * self._seconds + (1 - known) * seconds / steps
        self._wait = known * self._wait + (1 - known) * wait

    @property
    def clips_per_s(self) -> float:
        """Of all processes together, lately."""
        return self.job.stage.batch / max(self._seconds, 1e-9)

    @property
    def matrix_share(self) -> float:
        """What steps compute in matrix products, of what these processes could."""
        at = self.job.at
        if at not in self._operations:
            self._operations[at] = operations(self.job)
        could = self._rate * self.job.ranks.size * max(self._seconds, 1e-9)
        return self._operations[at] / could

    @property
    def metrics(self) -> dict[str, float]:
        """What goes to the metrics of a look."""
        return {
            "clips_per_s": round(self.clips_per_s, 3),
            "matrix_share": round(self.matrix_share, 4),
            "memory_gb": round(memory_bytes(self.job.device) / 1e9, 3),
        }

    @property
    def brief(self) -> str:
        """How fast it goes, short enough for a line of 80 letters with a bar."""
        return (
            f"{self.clips_per_s:.3g} clips/s, matrix {self.matrix_share:.0%}, "
            f"wait {self._wait:.0%}, {memory_bytes(self.job.device) / 1e9:.1f} GB"
        )

    def __str__(self) -> str:
        if not self._seconds:
            return ""
        memory = memory_bytes(self.job.device) / 1e9
        return (
            f"{self.clips_per_s:.3g} clips/s, {self.matrix_share:.0%} of the matrix rate, "
            f"{self._wait:.0%} waiting for clips, {memory:.1f} GB"
        )


@cache
def matrix_rate(device: Device) -> float:
    """Return the operations a second of a large matrix product here, measured once.

    Args:
        device: Where, and in what precision.
    """
    side = SIDES.get(device.torch.type, GPU_SIDE)
    kind = torch.bfloat16 if device.precision == "bf16" else torch.float32
    left, right = torch.ones(2, side, side, dtype=kind, device=device.torch)
    torch.mm(left, right)  # wakes what sleeps
    _finish(device)
    best, begun = 0.0, time.perf_counter()
    while (started := time.perf_counter()) - begun < RATE_SECONDS:
        torch.mm(left, right)
        _finish(device)
        best = max(best, 2 * side**3 / (time.perf_counter() - started))
    return best


def _finish(device: Device) -> None:
    if device.torch.type == "cuda":
        torch.cuda.synchronize(device.torch)
    elif device.torch.type == "mps":
        torch.mps.synchronize()


def operations(job: Job) -> int:
    """Return the floating point operations of a step of the job's stage, of all clips."""
    settings, data = job.settings, job.stage.data
    shape = (job.stage.batch, data.channels, data.frames, data.size, data.size)
    vit = settings.encoder.vit(data)
    return _count(settings.method, vit, settings.method_config, shape, job.share)


@cache
def _count(
    name: str,
    vit: ViTConfig,
    config: Any,  # noqa: ANN401
    shape: tuple[int, ...],
    share: float | None,
) -> int:
    # Built anew, as shapes: the job's own may be spread over processes.
    method, generator = build_empty(name, vit, config), torch.Generator().manual_seed(0)
    places, grid = None, method.encoder.grid(shape)
    if share is not None:  # where a sector lies hardly matters, its size does
        everywhere = torch.ones(shape[0], *shape[-2:])
        places = choose_places(everywhere, grid, share, generator)
    return count_operations(method, shape, generator, places)


def memory_bytes(device: Device) -> int:
    """Return the memory of the GPU that this process holds, or else its own."""
    if device.torch.type == "cuda":
        return torch.cuda.memory_reserved(device.torch)
    if device.torch.type == "mps":
        return torch.mps.driver_allocated_memory()
    if sys.platform == "win32":
        return 0  # it tells no one without a package for it
    import resource

    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize()
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest if sys.platform == "darwin" else highest * 1024
