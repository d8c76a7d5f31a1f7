"""The device is found, told, and refused where it is missing."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest
import torch

from echocli import device as module
from echocli.device import allowed_cpus, choose_device, limit_threads
from echocli.errors import MachineError, UsageError


def test_cpu_is_there_and_described_in_one_line() -> None:
    chosen = choose_device("cpu")
    assert chosen.name == "cpu"
    assert chosen.torch == torch.device("cpu")
    assert "\n" not in str(chosen)
    assert chosen.precision in str(chosen)


@pytest.mark.parametrize("flags", [set(), {"amx_bf16"}, {"avx2", "avx512_bf16"}, {"avx2"}])
def test_bf16_only_where_the_processor_computes_it(
    monkeypatch: pytest.MonkeyPatch, flags: set[str]
) -> None:
    monkeypatch.setattr(module, "cpu_flags", lambda: frozenset(flags))
    wanted = "bf16" if flags & {"amx_bf16", "avx512_bf16"} else "fp32"
    assert choose_device("cpu").precision == wanted
    assert choose_device("cpu", "fp32").precision == "fp32"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("name", ["cuda", "cuda:3"])
def test_a_missing_device_is_the_machines_fault(name: str) -> None:
    with pytest.raises(MachineError, match="CUDA"):
        choose_device(name)


@pytest.mark.parametrize(
    ("name", "precision"), [("gpu", "auto"), ("cpu", "fp8"), ("xla", "auto")]
)
def test_nonsense_is_wrong_usage(name: str, precision: str) -> None:
    with pytest.raises(UsageError):
        choose_device(name, precision)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity")
def test_affinity_is_respected() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert allowed_cpus() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_threads_are_never_more_than_processors() -> None:
    assert 1 <= limit_threads() <= allowed_cpus()


FAULTS = """
import resource, sys
from echocli.device import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"x" * 2**25
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
if sys.argv[1] == "kept":
    keep_freed_memory()
print(min(faults() for _ in range(6)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_freed_memory_is_kept() -> None:
    given_back, kept = (
        int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True).stdout)
        for how in ("not kept", "kept")
    )
    assert kept < 1000 < given_back
