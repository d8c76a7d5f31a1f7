"""Whether compiling pays on this machine, and how long the first step takes.

The presets ``tiny`` and ``small`` train on noise: as PyTorch runs them, with compiled blocks,
and as one compiled graph. Every way has a process of its own and two turns: the first one finds
an empty cache on disk, the second what the first has left there. Seconds are processor time of
the process and of the compilers that it starts; a later step is the median of both turns.

    python benchmarks/compiling.py                           # an hour of one core
    python benchmarks/compiling.py --presets tiny --methods vjepa
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from side_by_side import PASSIVE

from echocli.api._pretrain.settings import resolve_settings
from echocli.device import choose_device, keep_freed_memory
from echocli.models.methods.base import available, load
from echocli.models.training import train

WAYS: dict[str, Any] = {"plain": False, "blocks": "blocks", "one graph": True}


def spent() -> float:
    """Return processor seconds of this process and of those that it has started."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def turn(preset: str, method: str, way: str, steps: int) -> dict[str, Any]:
    """Take some steps and return what the first and the others took."""
    settings = resolve_settings(method=method, preset=preset).value
    keep_freed_memory()
    generator = torch.Generator().manual_seed(0)
    vit = settings.encoder.vit(settings.data)
    trained = load(method).build(vit, settings.method_config, generator)
    shape = (settings.optim.batch, vit.channels, vit.frames, vit.size, vit.size)
    batches = [torch.randn(shape, generator=generator)] * (steps + 1)
    marks = [spent()]
    records = train(
        trained,
        batches,
        settings.optim,
        generator,
        precision=choose_device("cpu").precision,
        compiled=WAYS[way],
    )
    for record in records:
        assert record.loss > 0
        marks.append(spent())
    taken = [after - before for before, after in pairwise(marks)]
    return {"first": taken[0], "others": taken[1:]}


def main() -> None:
    """Measure all ways of all presets and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--presets", nargs="*", default=["tiny", "small"])
    parser.add_argument("--methods", nargs="*", default=available())
    parser.add_argument("--steps", type=int, default=6, help="after the first")
    parser.add_argument("--turn", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.turn:
        print(json.dumps(turn(*options.turn, options.steps)))
        return
    print("| preset | method | | first step, s | with the cache | later step | faster |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for preset in options.presets:
        for method in options.methods:
            plain = 0.0
            for way in WAYS:
                cold, warm = two_turns(preset, method, way, options.steps)
                later = median([*cold["others"], *warm["others"]])
                plain = plain or later
                print(
                    f"| {preset} | {method} | {way} | {cold['first']:.1f} "
                    f"| {warm['first']:.1f} | {later:.3f} | {plain / later:.2f}x |",
                    flush=True,
                )


def two_turns(preset: str, method: str, way: str, steps: int) -> list[dict[str, Any]]:
    """Measure in fresh processes, with an empty cache and with what is left in it."""
    with tempfile.TemporaryDirectory() as cache:
        words = [sys.executable, sys.argv[0], "--steps", str(steps)]
        words += ["--turn", preset, method, way]
        return [
            json.loads(
                subprocess.run(
                    words,
                    env={**os.environ, **PASSIVE, "TORCHINDUCTOR_CACHE_DIR": cache},
                    check=True,
                    stdout=subprocess.PIPE,
                ).stdout.splitlines()[-1]
            )
            for _ in range(2)
        ]


if __name__ == "__main__":
    main()
