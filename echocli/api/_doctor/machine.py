"""Threads, limits, disk, network and key: looked at by ``echocli doctor``."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from echocli.api._doctor.check import Check, State, judged
from echocli.cgroups import allowed_memory, allowed_share
from echocli.device import allowed_cpus
from echocli.privacy.pseudonyms import KEY_VARIABLE, default_key_file

FREE_GB = {"fail": 1.0, "warn": 10.0}
"""Below this much free disk, in 10^9 bytes."""
TEMPORARY_GB = 2.0
SLOW_MB_PER_S = 20.0
WRITTEN_MB = 16
SKEW_S = 60.0
"""A disk whose clock is further away makes new files look old to other machines."""
VARIABLES = (
    *("CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE", "MKL_NUM_THREADS", "OMP_NUM_THREADS"),
    *("PYTHONPATH", "SLURM_JOB_ID", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"),
)
"""Variables that change what echocli does, beside its own."""
OPEN_FILES = 512
PROCESSES = 128
MEMORY_GB = 4.0


def threads() -> Iterator[Check]:
    """Check that threads have processors to run on."""
    count, allowed = torch.get_num_threads(), allowed_cpus()
    found = f"{count} threads on {allowed} of {os.cpu_count()} cores"
    share = allowed_share()
    if share is not None:
        found += f" (the control group allows {share:.3g})"
    if count > allowed:
        found += ": they wait for each other"
    yield judged("threads", found, f"export OMP_NUM_THREADS={allowed}", good=count <= allowed)


def limits() -> Iterator[Check]:
    """Check what the system lets a process have."""
    if sys.platform == "win32":  # it has none of these
        return
    import resource

    for name, number, enough, remedy in (
        ("open files", resource.RLIMIT_NOFILE, OPEN_FILES, f"ulimit -n {2 * OPEN_FILES}"),
        ("processes", resource.RLIMIT_NPROC, PROCESSES, f"ulimit -u {4 * PROCESSES}"),
    ):
        soft, _ = resource.getrlimit(number)
        unlimited = soft == resource.RLIM_INFINITY
        found = "without limit" if unlimited else f"at most {soft}"
        yield judged(name, found, remedy, good=unlimited or soft >= enough)
    for name, number, letter in (
        ("size of a file", resource.RLIMIT_FSIZE, "f"),
        ("address space", resource.RLIMIT_AS, "v"),
    ):
        soft, _ = resource.getrlimit(number)
        unlimited = soft == resource.RLIM_INFINITY
        found = "without limit" if unlimited else f"at most {soft / 1e9:.1f} GB"
        yield judged(name, found, f"ulimit -{letter} unlimited", good=unlimited)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    allowed = allowed_memory()
    found = f"{memory / 1e9:.1f} GB"
    if allowed is not None and allowed < memory:
        found += f", of which the control group allows {allowed / 1e9:.1f}"
        memory = allowed
    remedy = "Give the container more memory, or use --preset tiny and --workers 1."
    yield judged("memory", found, remedy, good=memory >= MEMORY_GB * 1e9)


def disk(folder: Path) -> Iterator[Check]:
    """Check room, speed and clock of the disk.

    Args:
        folder: Where results would go.
    """
    free = shutil.disk_usage(folder).free / 1e9
    state = State.OK
    if free < FREE_GB["warn"]:
        state = State.FAIL if free < FREE_GB["fail"] else State.WARN
    remedy = "" if state is State.OK else "Free some space, or write elsewhere with -o."
    yield Check("free disk", state, f"{free:.1f} GB", remedy)
    try:
        rate, skew = write_rate(folder)
    except OSError as error:
        found = f"cannot write here: {error.strerror}"
        yield Check("disk speed", State.WARN, found, "cd to a folder of yours.")
    else:
        remedy = "Work on a local disk, not on a network share."
        yield judged("disk speed", f"{rate:.0f} MB/s", remedy, good=rate >= SLOW_MB_PER_S)
        remedy = "Set the clocks of this machine and of the file server (NTP)."
        yield judged(
            "clock", f"{abs(skew):.0f} s from the disk's", remedy, good=abs(skew) < SKEW_S
        )
    room = shutil.disk_usage(tempfile.gettempdir()).free / 1e9
    remedy = "Set TMPDIR to a folder on a larger disk."
    yield judged("temporary files", f"room for {room:.1f} GB", remedy, good=room > TEMPORARY_GB)


def write_rate(folder: Path) -> tuple[float, float]:
    """Return how many megabytes a second reach the disk, and how far its clock is behind.

    The file is gone afterwards.

    Raises:
        OSError: If the folder cannot be written to.
    """
    data = os.urandom(1 << 20)
    started = time.monotonic()
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(WRITTEN_MB):
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
        skew = time.time() - os.fstat(file.fileno()).st_mtime
    return WRITTEN_MB * len(data) / 1e6 / (time.monotonic() - started), skew


def network() -> Iterator[Check]:
    """Say whether the network is forbidden; nothing is tried."""
    forbidden = os.environ.get("ECHOCLI_OFFLINE", "") not in ("", "0")
    found = (
        "forbidden by ECHOCLI_OFFLINE"
        if forbidden
        else "used by `models import --download` alone"
    )
    yield Check("network", State.OK, found)


def environment() -> Iterator[Check]:
    """Name the variables that change what echocli does; their values may tell of the user."""
    names = [name for name in os.environ if name.startswith("ECHOCLI_") or name in VARIABLES]
    yield Check("environment", State.OK, f"set: {', '.join(sorted(names)) or 'nothing'}")


def key_file() -> Iterator[Check]:
    """Check that the key of the pseudonyms is the user's alone."""
    path = default_key_file()
    if not path.exists():
        yield Check("pseudonym key", State.OK, "made by the first `echocli preprocess`")
    elif os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield Check("pseudonym key", State.FAIL, "others may read it", f"chmod 600 {_called()}")
    else:
        yield Check("pseudonym key", State.OK, "there, readable by you alone")


def _called() -> str:
    """Return the key file in a shell's words: its path may hold the name of the user."""
    if os.environ.get(KEY_VARIABLE):
        return f'"${KEY_VARIABLE}"'
    settings = '"$XDG_CONFIG_HOME"' if os.environ.get("XDG_CONFIG_HOME") else "~/.config"
    return f"{settings}/echocli/pseudonym.key"
