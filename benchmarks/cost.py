"""Seconds a step against tokens, batch and size of the model; and the share of the matrix rate.

Every method trains encoders of several sizes on noise of several sizes, and a law is fitted to
what the steps take, for each method and encoder:

    seconds = a + clips * (b * tokens + c * tokens^2)

The share is the operations of a step's matrix products (``echocli/models/work.py``), over its
seconds, over the rate of a large matrix product, measured before and after every step. On a
processor, seconds are processor time of one thread.

    export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE
    python benchmarks/cost.py --json cost.json               # 15 minutes
    python benchmarks/cost.py --draw cost.json docs/cost.png
    python benchmarks/cost.py --methods vjepa --sizes base --precision fp32
    python benchmarks/cost.py --quick
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls
from side_by_side import matmul_rate
from torch import Tensor

from echocli.device import choose_device
from echocli.models.methods.base import Method, available, load
from echocli.models.optim import OptimConfig
from echocli.models.training import step_generator, train
from echocli.models.vit import ViTConfig
from echocli.models.work import count_operations

FRAMES = 16
SIDES = (64, 112, 160, 224)
"""Pixels of a side: 128, 392, 800 and 1,568 tokens of 2 x 16 x 16."""
BATCHES = {"tiny": (2, 4, 8), "small": (1, 2, 4), "base": (1, 2, 4)}
"""Clips a step: the first at every side, the others at the second side."""
HEADS = {
    "tiny": {"head_hidden": 512, "head_bottleneck": 256, "head_outputs": 2048},
    "small": {"head_hidden": 1024, "head_bottleneck": 256, "head_outputs": 4096},
    "base": {"head_hidden": 2048, "head_bottleneck": 256, "head_outputs": 16384},
}
"""Of DISCOVR: published for ViT-B, and in proportion below."""
NAMES = {"discovr": "DISCOVR", "videomae": "VideoMAE", "vjepa": "V-JEPA"}
GOAL = {"cpu": 0.55, "cuda": 0.35}
"""Asked share of the matrix rate, for ViT-B."""
SEED = 5
Point = dict[str, Any]


def build(method: str, size: str, side: int) -> Method:
    """Return a method on an encoder of a published size."""
    vit = ViTConfig.named(size, frames=FRAMES, size=side)
    module = load(method)
    config = module.Config(
        **({**HEADS[size], "prototypes": 1024} if method == "discovr" else {})
    )
    return module.build(vit, config, torch.Generator().manual_seed(0))


class Marks:
    """Hands out one batch and measures the matrix rate between steps, which does not count."""

    def __init__(self, video: Tensor, steps: int, dtype: torch.dtype) -> None:
        self.video, self.steps, self.dtype = video, steps, dtype
        self.seconds: list[float] = []
        self.rates: list[float] = []

    def __iter__(self) -> Iterator[Tensor]:
        """Yield the batch once a step, one to warm up."""
        device = self.video.device.type
        clock = time.process_time if device == "cpu" else time.perf_counter
        side = 2048 if device == "cpu" else 8192
        for _ in range(self.steps + 1):
            self.rates.append(matmul_rate(device, self.dtype, side, seconds=0.2))
            begun = clock()
            yield self.video
            if device == "cuda":
                torch.cuda.synchronize()
            self.seconds.append(clock() - begun)
        self.rates.append(matmul_rate(device, self.dtype, side, seconds=0.2))


def measure(
    method: str, size: str, side: int, batch: int, options: argparse.Namespace
) -> Point:
    """Train a few steps and return what they took."""
    place = choose_device(options.device, options.precision)
    dtype = torch.bfloat16 if place.precision == "bf16" else torch.float32
    trained = build(method, size, side).to(place.torch)
    shape = (batch, 1, FRAMES, side, side)
    video = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(place.torch)
    marks = Marks(video, options.steps, dtype)
    generator = torch.Generator().manual_seed(SEED)
    config = OptimConfig(batch=batch, lr=1e-5)  # the batches end before its steps
    for _ in train(trained, marks, config, generator, precision=place.precision):
        pass
    work = [
        count_operations(trained, shape, step_generator(SEED, step))
        for step in range(1, options.steps + 1)
    ]
    taken = marks.seconds[1:]
    rates = [(before + after) / 2 for before, after in pairwise(marks.rates[1:])]
    return {
        "method": method,
        "size": size,
        "tokens": math.prod(trained.encoder.grid(shape)),
        "batch": batch,
        "precision": place.precision,
        "parameters": sum(p.numel() for p in trained.parameters() if p.requires_grad),
        "seconds": fmean(taken),
        "gflop": fmean(work) / 1e9,
        "matrix_gflop_per_s": fmean(rates) / 1e9,
        "share": fmean(w / s / r for w, s, r in zip(work, taken, rates, strict=True)),
    }


def fit(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    """Return the law of some points, none of its numbers negative, and its relative errors."""
    tokens = np.array([point["tokens"] for point in points], dtype=float)
    batch = np.array([point["batch"] for point in points], dtype=float)
    seconds = np.array([point["seconds"] for point in points])
    columns = np.stack([np.ones_like(tokens), batch * tokens, batch * tokens**2], axis=1)
    law, _ = nnls(columns / seconds[:, None], np.ones_like(seconds))
    return law.tolist(), (columns @ law / seconds - 1).tolist()


# --- Tables and figure ----------------------------------------------------------------------


def groups(points: Sequence[Point]) -> dict[tuple[str, str], list[Point]]:
    """Return points by method and size of the encoder."""
    found: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        found.setdefault((point["method"], point["size"]), []).append(point)
    return found


def tell_laws(points: Sequence[Point]) -> None:
    """Print the fitted laws and what they miss."""
    print("\n| method | encoder | a, s | b, ms | c, us | mean error | greatest |")
    print("|---|---|---|---|---|---|---|")
    for (method, size), own in groups(points).items():
        (a, b, c), errors = fit(own)
        mean, most = fmean(map(abs, errors)), max(map(abs, errors))
        print(
            f"| {method} | {size} | {a:.3f} | {b * 1e3:.3f} | {c * 1e6:.3f} "
            f"| {mean:.1%} | {most:.1%} |"
        )


def draw(points: Sequence[Point], path: Path) -> None:
    """Draw seconds a step with the laws, and the share of the matrix rate below."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    by_group = groups(points)
    methods = sorted({method for method, _ in by_group})
    figure, axes = plt.subplots(
        2, len(methods), figsize=(3.6 * len(methods), 6), sharex=True, sharey="row"
    )
    for (method, size), own in by_group.items():
        top, bottom = axes[:, methods.index(method)]
        law, _ = fit(own)
        colour = f"C{list(BATCHES).index(size)}"
        for batch in sorted({point["batch"] for point in own}):
            alike = [point for point in own if point["batch"] == batch]
            alike.sort(key=lambda point: point["tokens"])
            tokens = [point["tokens"] for point in alike]
            reach = np.linspace(tokens[0], tokens[-1], 50)
            curve = law[0] + batch * (law[1] * reach + law[2] * reach**2)
            marker = "os^Dv"[int(math.log2(batch))]
            label = f"{size}, {batch} clip{'s' if batch > 1 else ''}"
            top.plot(reach, curve, color=colour, linewidth=1)
            top.plot(
                tokens,
                [p["seconds"] for p in alike],
                marker,
                color=colour,
                label=label,
                markersize=5,
            )
            shares = [p["share"] for p in alike]
            bottom.plot(tokens, shares, marker, color=colour, markersize=5)
        top.set(title=NAMES[method], xscale="log", yscale="log")
        bottom.axhline(GOAL["cpu"], color="grey", linewidth=0.8, linestyle=":")
        lengths = sorted({point["tokens"] for point in own})
        bottom.set(xlabel="tokens a clip", ylim=(0, 1), xticks=lengths)
        bottom.set_xticks([], minor=True)
        bottom.set_xticklabels(map(str, lengths))
    axes[0, 0].set_ylabel("seconds a step")
    axes[1, 0].set_ylabel("share of the matrix rate")
    figure.tight_layout()
    labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(*labels, loc="outside lower center", ncols=5, fontsize=7)
    figure.subplots_adjust(bottom=0.16)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, or draw what was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="*", default=available())
    parser.add_argument("--sizes", nargs="*", default=list(BATCHES), choices=list(BATCHES))
    parser.add_argument("--sides", nargs="*", type=int, default=SIDES, help="in pixels")
    parser.add_argument("--steps", type=int, default=2, help="after one to warm up")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"])
    parser.add_argument("--quick", action="store_true", help="tiny encoders, small clips")
    parser.add_argument("--json", type=Path, help="write all figures there, too")
    parser.add_argument("--draw", nargs=2, type=Path, help="figures written before, picture")
    options = parser.parse_args()
    if options.draw:
        points = json.loads(options.draw[0].read_text())
        tell_laws(points)
        draw(points, options.draw[1])
        return
    if options.quick:
        options.sizes, options.sides = ["tiny"], SIDES[:3]
    print("| method | encoder | tokens | clips | s / step | GFLOP | matrix GFLOP/s | share |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    points = []
    for method in options.methods:
        for size in options.sizes:
            first, *others = BATCHES[size]
            wanted = [(side, first) for side in options.sides]
            wanted += [(SIDES[1], batch) for batch in others if SIDES[1] in options.sides]
            for side, batch in wanted:
                point = measure(method, size, side, batch, options)
                points.append(point)
                print(
                    f"| {method} | {size} | {point['tokens']} | {batch} "
                    f"| {point['seconds']:.3f} | {point['gflop']:.1f} "
                    f"| {point['matrix_gflop_per_s']:.0f} | {point['share']:.0%} |",
                    flush=True,
                )
    if len(options.sides) > 2:
        tell_laws(points)
    if options.json:
        options.json.write_text(json.dumps(points, indent=1))


if __name__ == "__main__":
    main()
