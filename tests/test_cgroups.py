"""The limits of containers, Slurm and systemd are found, wherever in the tree they are set."""

from __future__ import annotations

from pathlib import Path

import pytest

from echocli import device
from echocli.cgroups import allowed_memory, allowed_share


def tree(root: Path, own: str, **files: str) -> tuple[Path, Path]:
    """Write a made-up tree; return where it is mounted, and the file of the own groups."""
    for name, text in files.items():
        path = root / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    (root / "own").write_text(own)
    return root / "fs", root / "own"


VERSION_2 = "0::/system.slice/slurmstepd.scope/job_7/step_0\n"
VERSION_1 = "9:name=systemd:/\n4:memory:/docker/ab12\n1:cpu,cpuacct:/docker/ab12\n0::/\n"


def test_the_tightest_of_all_groups_above_counts(tmp_path: Path) -> None:
    made = tree(
        tmp_path,
        VERSION_2,
        **{
            "system.slice/slurmstepd.scope/job_7/step_0/cpu.max": "max 100000",
            "system.slice/slurmstepd.scope/job_7/cpu.max": "350000 100000",
            "system.slice/cpu.max": "1600000 100000",
            "system.slice/slurmstepd.scope/job_7/step_0/memory.max": "max",
            "system.slice/slurmstepd.scope/memory.max": "8000000000",
            "memory.max": "9000000000",
        },
    )
    assert allowed_share(*made) == 3.5
    assert allowed_memory(*made) == 8_000_000_000


def test_a_container_sees_its_own_group_at_the_top(tmp_path: Path) -> None:
    made = tree(tmp_path, "0::/\n", **{"cpu.max": "50000 100000", "memory.max": "123"})
    assert (allowed_share(*made), allowed_memory(*made)) == (0.5, 123)


def test_the_older_kind_has_a_folder_for_each_controller(tmp_path: Path) -> None:
    made = tree(
        tmp_path,
        VERSION_1,
        **{
            "cpu/docker/ab12/cpu.cfs_quota_us": "200000",
            "cpu/docker/ab12/cpu.cfs_period_us": "100000",
            "cpu/cpu.cfs_quota_us": "-1",
            "cpu/cpu.cfs_period_us": "100000",
            "memory/docker/ab12/memory.limit_in_bytes": "4000",
            "memory/memory.limit_in_bytes": "9223372036854771712",
        },
    )
    assert (allowed_share(*made), allowed_memory(*made)) == (2.0, 4000)


@pytest.mark.parametrize("own", ["", VERSION_1, VERSION_2, "0::/../elsewhere\n"])
def test_no_limit_is_none(tmp_path: Path, own: str) -> None:
    made = tree(tmp_path, own, **{"cpu.max": "max 100000"} if own == VERSION_2 else {})
    assert allowed_share(*made) is None
    assert allowed_memory(*made) is None


@pytest.mark.parametrize(
    ("share", "processors"), [(0.3, 1), (1.6, 2), (1e6, None), (None, None)]
)
def test_the_share_bounds_the_processors(
    monkeypatch: pytest.MonkeyPatch, share: float | None, processors: int | None
) -> None:
    monkeypatch.setattr(device, "allowed_share", lambda: None)
    everything = device.allowed_cpus()
    monkeypatch.setattr(device, "allowed_share", lambda: share)
    assert device.allowed_cpus() == min(processors or everything, everything)


def test_free_memory_is_within_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    place = device.choose_device("cpu").torch
    monkeypatch.setattr(device, "allowed_memory", lambda: 1000)
    assert device.free_memory(place) in (1000, None)
    monkeypatch.setattr(device, "allowed_memory", lambda: None)
    free = device.free_memory(place)
    assert free is None or free > 1000
    monkeypatch.setattr(device, "_proc", lambda file, field: "")
    assert device.free_memory(place) is None
