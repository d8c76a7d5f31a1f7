"""What the control groups of this process allow it: containers, Slurm and systemd set them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MOUNTED = Path("/sys/fs/cgroup")
GROUPS = Path("/proc/self/cgroup")


def allowed_share(mounted: Path = MOUNTED, groups: Path = GROUPS) -> float | None:
    """Return how many processors' time the process may use; ``None`` if there is no limit.

    Args:
        mounted: Where the groups are.
        groups: The file that says which of them are the process's own.
    """
    shares = []
    for folder in _folders("cpu", mounted, groups):
        words = _read(folder / "cpu.max").split()  # version 2: "quota period", or "max period"
        if not words:
            words = [_read(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
        if all(word.isdigit() for word in words) and int(words[1]) > 0:
            shares.append(int(words[0]) / int(words[1]))
    return min(shares, default=None)


def allowed_memory(mounted: Path = MOUNTED, groups: Path = GROUPS) -> int | None:
    """Return how many bytes the process may use, what it reads included; ``None`` if any.

    Args:
        mounted: Where the groups are.
        groups: The file that says which of them are the process's own.
    """
    limits = []
    for folder in _folders("memory", mounted, groups):
        text = _read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes")
        if text.isdigit():
            limits.append(int(text))
    return min(limits, default=None)


def _folders(controller: str, mounted: Path, groups: Path) -> Iterator[Path]:
    """Yield the folders that limit the process: its group's and all above it."""
    for line in _read(groups).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = mounted / controller if controllers else mounted  # version 2 names none
        group = PurePosixPath(path.lstrip("/"))
        yield from (top / part for part in (group, *group.parents))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
