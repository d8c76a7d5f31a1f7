"""Looks at the machine: what echocli needs, what is there, and what mends the rest."""

from __future__ import annotations

import ctypes
import io
import os
import platform
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import torch

from echocli.api._decoders import SYNTAXES, faults
from echocli.console import SILENT, Reporter
from echocli.device import allowed_cpus, choose_device
from echocli.privacy.pseudonyms import default_key_file

OLDEST_PYTHON = (3, 11)
LIBRARIES = ("timm", "pydicom", "pyarrow", "safetensors", "scikit-learn", "av", "pillow")
VIDEO_CODECS = {"mjpeg": "AVI", "mpeg4": "MP4", "libx264": "MP4, H.264", "ffv1": "MKV"}
"""Encoders whose pictures are decoded again, and where they are met."""
FREE_GB = {"fail": 1.0, "warn": 10.0}
"""Below this much free disk, in 10^9 bytes."""
SLOW_MB_PER_S = 20.0
WRITTEN_MB = 16
OPEN_FILES = 512
MEMORY_GB = 4.0


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: State
    found: str
    """What is there."""
    remedy: str = ""
    """The command or action that mends it; empty if nothing needs mending."""


@dataclass(frozen=True)
class DoctorResult:
    """Everything that was looked at."""

    checks: tuple[Check, ...]
    seconds: float

    @property
    def is_fit(self) -> bool:
        """Whether nothing that is needed failed."""
        return all(check.state is not State.FAIL for check in self.checks)


def doctor(folder: Path = Path(), *, reporter: Reporter = SILENT) -> DoctorResult:
    """Check the machine.

    Args:
        folder: Where the results of a study would go; its disk is measured.
        reporter: Who watches.
    """
    started = time.monotonic()
    checks: list[Check] = []
    with reporter.progress("checks", None) as advance:
        for group in (
            _python(),
            _libraries(),
            _torchvision(),
            _devices(),
            _transfer_syntaxes(),
            _video_codecs(),
            _threads(),
            _limits(),
            _disk(folder),
            _network(),
            _key_file(),
        ):
            for check in group:
                checks.append(check)
                advance(1)
    return DoctorResult(tuple(checks), round(time.monotonic() - started, 2))


def _python() -> Iterator[Check]:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < OLDEST_PYTHON:
        yield Check("Python", State.FAIL, found, "Install Python 3.11 or newer.")
    else:
        yield Check("Python", State.OK, found)


def _libraries() -> Iterator[Check]:
    for name in LIBRARIES:
        try:
            yield Check(name, State.OK, version(name))
        except PackageNotFoundError:
            yield Check(name, State.FAIL, "not installed", f"pip install {name}")


def _torchvision() -> Iterator[Check]:
    """Check that torchvision fits torch: timm imports it, and dies if it does not."""
    yield Check("torch", State.OK, torch.__version__)
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        remedy = "pip install --index-url https://download.pytorch.org/whl/cpu torchvision"
        yield Check("torchvision", State.WARN, "not installed; timm needs it", remedy)
        return
    found = version("torchvision")
    remedy = f"pip install torchvision=={torchvision_for(torch.__version__)}"
    if torch.version.cuda is None:
        remedy += " --index-url https://download.pytorch.org/whl/cpu"
    for library in Path(spec.origin).parent.glob("_C*.so"):
        try:
            ctypes.CDLL(str(library))
        except OSError:
            found += ", built for another torch; echocli works around it"
            yield Check("torchvision", State.WARN, found, remedy)
            return
    yield Check("torchvision", State.OK, found)


def torchvision_for(torch_version: str) -> str:
    """Return the torchvision release that belongs to a torch 2 release.

    Source:
        The table of releases in torchvision's README: 2.0 goes with 0.15, 2.1 with 0.16 ...
    """
    major, minor = (int(part) for part in torch_version.split(".")[:2])
    return f"0.{minor + 15}.*" if major == 2 else "*"


def _devices() -> Iterator[Check]:
    device = choose_device()
    exact = torch.bfloat16 if device.precision == "bf16" else torch.float32
    matrix = torch.eye(64, device=device.torch, dtype=exact)
    if not bool(((matrix @ matrix) == matrix).all()):
        remedy = "Update the driver, or work with --device cpu."
        yield Check("device", State.FAIL, f"{device}: a product of matrices is wrong", remedy)
    elif device.name == "cpu" and shutil.which("nvidia-smi"):
        remedy = "Install torch for CUDA: https://pytorch.org/get-started/locally"
        yield Check("device", State.WARN, f"{device}; there is a GPU that torch misses", remedy)
    else:
        yield Check("device", State.OK, str(device))


def _transfer_syntaxes() -> Iterator[Check]:
    fault_of = faults()
    for syntax in SYNTAXES:
        fault = fault_of[syntax.uid]
        name = f"DICOM {syntax.name}"
        if fault is None:
            yield Check(name, State.OK, "decoded")
        else:
            yield Check(name, State.FAIL, fault, syntax.remedy)


def _video_codecs() -> Iterator[Check]:
    for codec, container in VIDEO_CODECS.items():
        name = f"video {container.split(', ')[-1] if codec == 'libx264' else codec}"
        try:
            frames = _round_trip(codec, container.split(",")[0])
        except (av.error.FFmpegError, ValueError) as error:
            remedy = "pip install --force-reinstall av"
            yield Check(name, State.WARN, f"{type(error).__name__} ({container})", remedy)
        else:
            yield Check(name, State.OK, f"decoded {frames} frames ({container})")


def _round_trip(codec: str, container: str) -> int:
    """Encode four frames into memory and return how many come back."""
    formats = {"AVI": "avi", "MP4": "mp4", "MKV": "matroska"}
    buffer = io.BytesIO()
    ramp = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    with av.open(buffer, "w", format=formats[container]) as video:
        stream = video.add_stream(codec, rate=30)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for _ in range(4):
            video.mux(stream.encode(av.VideoFrame.from_ndarray(ramp, format="gray")))
        video.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer) as video:
        return sum(1 for _ in video.decode(video=0))


def _threads() -> Iterator[Check]:
    threads, allowed = torch.get_num_threads(), allowed_cpus()
    found = f"{threads} threads on {allowed} of {os.cpu_count()} cores"
    if threads > allowed:
        remedy = f"export OMP_NUM_THREADS={allowed}"
        yield Check("threads", State.WARN, f"{found}: they wait for each other", remedy)
    else:
        yield Check("threads", State.OK, found)


def _limits() -> Iterator[Check]:
    if sys.platform == "win32":  # it has neither limit
        return
    import resource

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = files < OPEN_FILES
    remedy = f"ulimit -n {2 * OPEN_FILES}" if few else ""
    yield Check("open files", State.WARN if few else State.OK, f"at most {files}", remedy)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text().strip()) != "max":
        memory = min(memory, int(text) / 1e9)
    if memory < MEMORY_GB:
        remedy = "Give the container more memory, or use --preset tiny and --workers 1."
        yield Check("memory", State.WARN, f"{memory:.1f} GB", remedy)
    else:
        yield Check("memory", State.OK, f"{memory:.1f} GB")


def _disk(folder: Path) -> Iterator[Check]:
    free = shutil.disk_usage(folder).free / 1e9
    state = State.OK
    if free < FREE_GB["warn"]:
        state = State.FAIL if free < FREE_GB["fail"] else State.WARN
    remedy = "" if state is State.OK else "Free some space, or write elsewhere with -o."
    yield Check("free disk", state, f"{free:.1f} GB", remedy)
    try:
        rate = write_rate(folder)
    except OSError as error:
        found = f"cannot write here: {error.strerror}"
        yield Check("disk speed", State.WARN, found, "cd to a folder of yours.")
        return
    slow = rate < SLOW_MB_PER_S
    remedy = "Work on a local disk, not on a network share." if slow else ""
    yield Check("disk speed", State.WARN if slow else State.OK, f"{rate:.0f} MB/s", remedy)


def write_rate(folder: Path) -> float:
    """Return how many megabytes a second reach the disk; the file is gone afterwards."""
    data = os.urandom(1 << 20)
    started = time.monotonic()
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(WRITTEN_MB):
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return WRITTEN_MB * len(data) / 1e6 / (time.monotonic() - started)


def _network() -> Iterator[Check]:
    forbidden = os.environ.get("ECHOCLI_OFFLINE", "") not in ("", "0")
    found = "forbidden by ECHOCLI_OFFLINE" if forbidden else "used only when you ask for it"
    yield Check("network", State.OK, found)


def _key_file() -> Iterator[Check]:
    path = default_key_file()
    if not path.exists():
        yield Check("pseudonym key", State.OK, "made by the first `echocli preprocess`")
    elif os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield Check("pseudonym key", State.FAIL, "others may read it", f"chmod 600 '{path}'")
    else:
        yield Check("pseudonym key", State.OK, "there, readable by you alone")
