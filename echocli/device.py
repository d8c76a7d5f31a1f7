"""The device that computes: found by itself, told in one line."""

from __future__ import annotations

import ctypes
import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from echocli.cgroups import allowed_memory, allowed_share
from echocli.errors import MachineError, UsageError

if TYPE_CHECKING:
    import torch

PRECISIONS = ("auto", "fp32", "bf16")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of settings in glibc's malloc.h."""
BF16_FLAGS = {"amx_bf16", "avx512_bf16"}
"""Processor flags that say bfloat16 products are computed, not emulated."""


@dataclass(frozen=True)
class Device:
    """Where to compute, and how exactly."""

    name: str
    """As PyTorch calls it: cpu, cuda:0, mps."""
    precision: Literal["fp32", "bf16"]
    description: str
    """What a user may call it."""

    @property
    def torch(self) -> torch.device:
        """The device for PyTorch."""
        import torch

        return torch.device(self.name)

    def __str__(self) -> str:
        return f"{self.description} ({self.name}, {self.precision})"


def choose_device(wanted: str = "auto", precision: str = "auto") -> Device:
    """Choose a device: CUDA, then MPS, then CPU, unless told otherwise.

    Args:
        wanted: ``auto`` or PyTorch's name of a device.
        precision: ``auto`` takes bf16 where the hardware has it.

    Raises:
        UsageError: If there is no such device or precision on any machine.
        MachineError: If this machine lacks the device.
    """
    import torch

    if precision not in PRECISIONS:
        raise UsageError(
            f"There is no precision {precision}.", f"Choose among {', '.join(PRECISIONS)}."
        )
    if wanted == "auto":
        if torch.cuda.is_available():
            wanted = "cuda:0"
        else:
            wanted = "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise UsageError(
            f"There is no device {wanted}.", "Use --device auto, cpu, cuda, cuda:1 or mps."
        ) from None
    _check_present(device)
    if precision == "auto":
        precision = "bf16" if _has_bf16(device) else "fp32"
    exact = cast(Literal["fp32", "bf16"], precision)
    return Device(str(device), exact, _describe(device))


def allowed_cpus() -> int:
    """Return how many processors this process may use: affinity, then its groups' share."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    share = allowed_share()
    return count if share is None else max(1, min(count, round(share)))


def free_memory(device: torch.device) -> int | None:
    """Return how many bytes are free: on a GPU, else for this process and what it reads.

    Memory of a GPU that this process took for one step and keeps for the next is not free.

    Returns:
        ``None`` where the system does not tell.
    """
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    kilobytes = _proc("meminfo", "MemAvailable").split()
    if not kilobytes:
        return None
    free = int(kilobytes[0]) * 1024
    return min(free, allowed_memory() or free)


def limit_threads() -> int:
    """Keep PyTorch from using more threads than there are processors; return how many.

    Threads beyond the container's share stop each other. ``OMP_NUM_THREADS`` is obeyed, as
    PyTorch has read it.
    """
    import torch

    threads = min(torch.get_num_threads(), allowed_cpus())
    torch.set_num_threads(threads)
    return threads


def keep_compiled() -> None:
    """Keep what PyTorch compiles in the user's cache, where a restart of the machine leaves it.

    ``TORCHINDUCTOR_CACHE_DIR`` is obeyed.
    """
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(caches / "echocli" / "compiled"))


def keep_freed_memory() -> None:
    """Let this process keep memory that it frees: the next step asks for as much again.

    glibc gives large blocks back, and the system hands out and clears every page anew: 3 % of
    a step (docs/performance.md). Other C libraries are left as they are.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_TRIM_THRESHOLD, -1)
        # Older versions know nothing above 32 MiB.
        libc.mallopt(M_MMAP_THRESHOLD, 2**30) or libc.mallopt(M_MMAP_THRESHOLD, 2**25)


def _check_present(device: torch.device) -> None:
    import torch

    if device.type == "cuda" and not torch.cuda.is_available():
        raise MachineError(
            "This machine shows no CUDA device to PyTorch.",
            "Run `echocli doctor`, or use --device cpu.",
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise MachineError(
            f"There are {torch.cuda.device_count()} CUDA device(s), none is {device}.",
            "Name one of them, counted from 0.",
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise MachineError(
            "This machine shows no MPS device to PyTorch.",
            "Run `echocli doctor`, or use --device cpu.",
        )
    if device.type not in ("cpu", "cuda", "mps"):
        raise UsageError(f"echocli does not compute on {device.type}.", "Use cpu, cuda or mps.")


def _has_bf16(device: torch.device) -> bool:
    import torch

    if device.type == "cuda":
        with torch.cuda.device(device):  # it asks the current one
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(BF16_FLAGS & cpu_flags())


def _describe(device: torch.device) -> str:
    import torch

    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    if device.type == "mps":
        return "Apple GPU"
    return f"{_cpu_name()}, {allowed_cpus()} core(s)"


@cache
def cpu_flags() -> frozenset[str]:
    """Return what the processor says it can do; nothing where the system does not tell."""
    return frozenset(_proc("cpuinfo", "flags").split())


def _cpu_name() -> str:
    return _proc("cpuinfo", "model name") or platform.processor() or platform.machine() or "CPU"


def _proc(file: str, field: str) -> str:
    try:
        lines = Path("/proc", file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    for line in lines.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""
