"""Python, the libraries, and what computes: looked at by ``echocli doctor``."""

from __future__ import annotations

import ctypes
import platform
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

import torch

import echocli
from echocli.api._doctor.check import Check, State, judged
from echocli.device import Device, cpu_flags

OLDEST_PYTHON = (3, 11)
DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
CPU_INDEX = "--index-url https://download.pytorch.org/whl/cpu"


def python() -> Iterator[Check]:
    """Check Python."""
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < OLDEST_PYTHON:
        yield Check("Python", State.FAIL, found, "Install Python 3.11 or newer.")
    else:
        yield Check("Python", State.OK, found)


def libraries() -> Iterator[Check]:
    """Check that every library that the package asks for is there, and new enough."""
    yield Check("echocli", State.OK, echocli.__version__)
    for name, lowest in required().items():
        try:
            found = version(name)
        except PackageNotFoundError:
            yield Check(name, State.FAIL, "not installed", f"pip install '{name}>={lowest}'")
            continue
        if numbers(found) < numbers(lowest):
            wanted = f"{found}, older than {lowest}"
            yield Check(name, State.FAIL, wanted, f"pip install '{name}>={lowest}'")
        else:
            yield Check(name, State.OK, found)


def required() -> dict[str, str]:
    """Return the lowest version of each library that echocli always needs, by name."""
    lines = requires("echocli") or []
    always = (line for line in lines if "extra ==" not in line)
    return {
        name.group(): "".join(re.findall(r">=([\w.]+)", line)[:1])
        for line in always
        if (name := re.match(r"[\w.-]+", line))
    }


def numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of a version, without what follows a plus sign."""
    return tuple(int(part) for part in re.findall(r"\d+", text.partition("+")[0]))


def torchvision() -> Iterator[Check]:
    """Check that torchvision fits torch: timm imports it, and dies if it does not."""
    spec = find_spec("torchvision")
    remedy = f"pip install torchvision=={torchvision_for(torch.__version__)}"
    if torch.version.cuda is None:
        remedy += f" {CPU_INDEX}"
    if spec is None or spec.origin is None:
        yield Check("torchvision", State.WARN, "not installed; timm needs it", remedy)
        return
    found = version("torchvision")
    fits = True
    for library in Path(spec.origin).parent.glob("_C*.so"):
        try:
            ctypes.CDLL(str(library))
        except OSError:
            found += ", built for another torch; echocli works around it"
            fits = False
    yield judged("torchvision", found, remedy, good=fits)


def torchvision_for(torch_version: str) -> str:
    """Return the torchvision release that belongs to a torch 2 release.

    Source:
        The table of releases in torchvision's README: 2.0 goes with 0.15, 2.1 with 0.16 ...
    """
    major, minor = (int(part) for part in torch_version.split(".")[:2])
    return f"0.{minor + 15}.*" if major == 2 else "*"


def gpus() -> Iterator[Check]:
    """Check that PyTorch can use the GPUs which the machine has."""
    driver, built = driver_version(), torch.version.cuda
    if driver is None:
        told = "no driver of NVIDIA's" + (f"; torch is built for CUDA {built}" if built else "")
        yield Check("CUDA", State.OK, told)
    elif built is None:
        remedy = "Install torch for CUDA: https://pytorch.org/get-started/locally"
        told = f"a driver for CUDA {driver}, but torch is built for processors"
        yield Check("CUDA", State.WARN, told, remedy)
    elif not torch.cuda.is_available():
        told = f"a driver for CUDA {driver}, torch for {built}: no GPU can be used"
        yield Check("CUDA", State.WARN, told, _newer_driver(driver, built))
    else:
        cards = ", ".join(
            torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())
        )
        yield Check("CUDA", State.OK, f"a driver for CUDA {driver}, torch for {built}: {cards}")


def _newer_driver(driver: str, built: str) -> str:
    if numbers(driver)[0] < numbers(built)[0]:
        return f"Update NVIDIA's driver to one for CUDA {built}, or install an older torch."
    return "Check CUDA_VISIBLE_DEVICES, and run nvidia-smi: it says what the driver sees."


def driver_version() -> str | None:
    """Return the newest CUDA that the driver of this machine knows; ``None`` without driver."""
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return None
    number = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(number))
    return f"{number.value // 1000}.{number.value % 1000 // 10}"


def device(chosen: Device) -> Iterator[Check]:
    """Check that the device which commands would choose computes rightly, and in 16 bits."""
    matrix = torch.eye(64, device=chosen.torch)
    product = (matrix @ matrix) == matrix
    if bool(product.all()):
        yield Check("device", State.OK, str(chosen))
    else:
        remedy = "Update the driver, or work with --device cpu."
        yield Check("device", State.FAIL, f"{chosen}: a product of matrices is wrong", remedy)
    short = matrix.bfloat16()
    if not bool(((short @ short) == short).all()):
        remedy = "Update the driver, or work with --precision fp32."
        yield Check("bf16", State.FAIL, "a product of matrices is wrong", remedy)
        return
    told = "in hardware" if chosen.precision == "bf16" else "not in hardware: fp32 is chosen"
    if chosen.name == "cpu" and "amx_bf16" in cpu_flags():
        told += ", with AMX"
    yield Check("bf16", State.OK, told)
