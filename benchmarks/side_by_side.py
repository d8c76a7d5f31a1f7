"""What the benchmarks against public code share: processes that take turns, clocks, tables.

Each of two rivals trains in a process of its own, alone in memory, and they take turns. A rival
is handed a stream of batches; the time from one request to the next is a step, with all that
its own training loop does in it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from echocli.device import choose_device, keep_freed_memory
from echocli.models.methods.base import Method
from echocli.models.optim import OptimConfig
from echocli.models.training import train

Figures = dict[str, Any]
B = TypeVar("B")
PASSIVE = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
"""One thread, which does not spin: processor time is then work done, on a busy machine too."""
TOLERANCE = 1e-4
"""Greatest relative difference of losses in the same precision."""
HALF_TOLERANCE = 2e-2
"""The same between bfloat16 and float32."""


@dataclass(frozen=True, kw_only=True)
class Rival:
    """One way to train, in a process of its own."""

    name: str
    measure: Callable[[Path, Turn], Figures]
    options: Figures = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table: rivals on one shape; the first is what others are compared with."""

    name: str
    shape: Figures
    rivals: Sequence[Rival]
    targets: Mapping[str, str] = field(default_factory=dict)
    """By rival: what is asked for."""


@dataclass(frozen=True)
class Turn:
    """How long one process measures."""

    steps: int
    warm: int
    device: str
    shape: Figures
    options: Figures


class Enough(BaseException):
    """Ends a training loop that catches every ``Exception``."""


class Stream(Generic[B]):
    """Hands out one batch again and again and takes the time between requests."""

    def __init__(self, batch: B, turn: Turn) -> None:
        self.batch = batch
        self.turn = turn
        self.marks: list[float] = []
        self.cpu = turn.device == "cpu"

    def __len__(self) -> int:
        return self.turn.warm + self.turn.steps

    def __iter__(self) -> Iterator[B]:
        return self

    def __next__(self) -> B:
        if not self.marks:
            forget_peak(self.turn.device)
        if not self.cpu:
            torch.cuda.synchronize()
        self.marks.append(time.process_time() if self.cpu else time.perf_counter())
        if len(self.marks) > len(self):
            raise Enough
        return self.batch

    def figures(self) -> Figures:
        """Return seconds of the steps after the warm-up, and the highest memory of all."""
        seconds = [after - before for before, after in pairwise(self.marks)]
        return {
            "seconds": seconds[self.turn.warm :],
            "warm_up_s": sum(seconds[: self.turn.warm]),
            "peak_gb": peak_gb(self.turn.device),
        }


def forget_peak(device: str) -> None:
    """Let the highest memory begin anew, so that setting up does not count."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    elif Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")


def peak_gb(device: str) -> float:
    """Return the highest memory since: of the process, or on the card."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 1e9
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


class Anything(types.ModuleType):
    """A module that public code imports and, here, never uses."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def stand_in(*names: str, **contents: Callable[..., object]) -> None:
    """Put modules without content, or with some, where an import will find them."""
    for name in names:
        module = Anything(name)
        module.__path__ = []
        module.__spec__ = importlib.util.spec_from_loader(name, loader=None)
        for word, content in contents.items():
            setattr(module, word, content)
        sys.modules[name] = module
        parent, _, own = name.rpartition(".")
        if isinstance(sys.modules.get(parent), Anything):
            setattr(sys.modules[parent], own, module)


def ours(method: Method, video: Tensor, draws: dict[str, Tensor], turn: Turn) -> Figures:
    """Train one of our methods with our own loop, on given draws; compiled on a card."""
    keep_freed_memory()  # as a run does
    device = choose_device(turn.device, turn.options.get("precision", "auto"))
    method = method.to(device.torch)
    method.draw = lambda *_, **__: draws  # type: ignore[method-assign]
    video = video.to(device.torch)
    figures: Figures = {"precision": device.precision}
    if turn.device != "cpu":
        figures["flops"] = flops_of(method, video)
        figures["matmul_flops_per_s"] = matmul_rate(turn.device, torch.bfloat16)
    if turn.options.get("compile", turn.device != "cpu"):
        method.compile(fullgraph=True)
    stream = Stream(video, turn)
    config = OptimConfig(steps=10**6, batch=len(video), lr=1e-4, clip=10.0)
    losses = []
    try:
        for record in train(
            method, stream, config, torch.Generator(), precision=device.precision
        ):
            losses.append(record.loss)
    except Enough:
        pass
    return {**figures, **stream.figures(), "losses": losses}


def flops_of(method: Method, video: Tensor) -> int:
    """Return the floating point operations of a step, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        with torch.autocast(video.device.type, torch.bfloat16):
            output = method.step(video, torch.Generator())
        output.loss.backward()  # type: ignore[no-untyped-call]
    method.zero_grad()
    return int(counter.get_total_flops())


def matmul_rate(
    device: str, dtype: torch.dtype, side: int = 8192, seconds: float = 2.0
) -> float:
    """Return the floating point operations a second of a large matrix product."""
    cpu = device == "cpu"
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    clock = time.process_time if cpu else time.perf_counter
    a @ b
    if not cpu:
        torch.cuda.synchronize()
    done, start = 0, clock()
    while clock() - start < seconds:
        a @ b
        done += 1
        if not cpu:
            torch.cuda.synchronize()
    return done * 2 * side**3 / (clock() - start)


# --- Side by side --------------------------------------------------------------------------


def arguments(description: str, *, public: bool = True) -> argparse.ArgumentParser:
    """Return the options that these benchmarks share.

    Args:
        description: What the program is.
        public: Whether it needs published code.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--public", type=Path, required=public, default=Path(), help="clone of the public code"
    )
    parser.add_argument("--only", nargs="*", default=[""], help="beginnings of row names")
    parser.add_argument(
        "--quick", action="store_true", help="a minute: only to see that it runs"
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--steps", type=int, default=3, help="a turn, after the warm-up")
    parser.add_argument("--turns", type=int, default=2, help="of each rival")
    parser.add_argument("--json", type=Path, help="write all figures there, too")
    parser.add_argument("--turn", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser


def run(rows: Sequence[Row], options: argparse.Namespace) -> None:
    """Measure one turn if asked for one by name; otherwise everything, and print the table."""
    if options.turn:
        row = next(row for row in rows if row.name == options.turn[0])
        rival = next(rival for rival in row.rivals if rival.name == options.turn[1])
        warm = rival.options.get("warm", 1)
        turn = Turn(options.steps, warm, options.device, row.shape, rival.options)
        print(json.dumps(rival.measure(options.folder, turn)))
        return
    chosen = [row for row in rows if row.name.startswith(tuple(options.only))]
    results: dict[str, dict[str, Figures]] = {}
    print("| shape | | s / step | ratio | asked | GB | ratio | loss differs by |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for row in chosen:
        found: dict[str, list[Figures]] = {rival.name: [] for rival in row.rivals}
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            for _ in range(options.turns):
                for rival in row.rivals:
                    found[rival.name].append(apart(row, rival, Path(folder), options))
        results[row.name] = {name: together(turns) for name, turns in found.items()}
        show(row, results[row.name])
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


def apart(row: Row, rival: Rival, folder: Path, options: argparse.Namespace) -> Figures:
    """Measure one turn of a rival in a fresh process."""
    words = [sys.executable, sys.argv[0], "--public", str(options.public)]
    words += ["--steps", str(options.steps), "--device", options.device]
    words += ["--quick"] * options.quick
    words += ["--turn", row.name, rival.name, "--folder", str(folder)]
    done = subprocess.run(
        words, env={**os.environ, **PASSIVE}, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise SystemExit(f"{row.name}, {rival.name}: ended with {done.returncode}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def together(turns: Sequence[Figures]) -> Figures:
    """Return the median step of all turns, and the highest memory."""
    seconds = [second for turn in turns for second in turn["seconds"]]
    return {
        **turns[0],
        "seconds": seconds,
        "median_s": statistics.median(seconds),
        "peak_gb": max(turn["peak_gb"] for turn in turns),
    }


def show(row: Row, found: Mapping[str, Figures]) -> None:
    """Print the lines of a row.

    Raises:
        SystemExit: If a rival of the same precision computes another loss.
    """
    first = next(iter(found.values()))
    for rival in row.rivals:
        one = found[rival.name]
        faster = first["median_s"] / one["median_s"]
        larger = one["peak_gb"] / first["peak_gb"]
        off = abs(one["losses"][0] / first["losses"][0] - 1)
        same = rival.options.get("same_loss", True)
        allowed = TOLERANCE if one.get("precision", "fp32") == "fp32" else HALF_TOLERANCE
        if same and off > allowed:
            raise SystemExit(f"{row.name}, {rival.name}: its loss is off by {off:.2g}")
        print(
            f"| {row.name} | {rival.name} | {one['median_s']:.2f} | {faster:.2f}x "
            f"| {row.targets.get(rival.name, '')} | {one['peak_gb']:.2f} | {larger:.2f} "
            f"| {format(off, '.0e') if same else 'another loss'} |",
            flush=True,
        )
        if "flops" in one:
            reached = one["flops"] / one["median_s"]
            share = reached / one["matmul_flops_per_s"]
            print(
                f"\n{row.shape['batch'] / one['median_s']:.1f} clips/s, {reached / 1e12:.0f} "
                f"TFLOP/s, {share:.0%} of the card's {one['matmul_flops_per_s'] / 1e12:.0f}\n"
            )
