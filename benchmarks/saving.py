"""What saving costs a training: the copy it waits for, beside the whole of writing a state.

    python benchmarks/saving.py [--preset small] [--method vjepa] [--rounds 5] [--folder PLACE]

Saves the state of a real method and its optimiser, after two steps, in turns: as a training
does (a copy, then writing in a thread) and with the training waiting for all of it. While the
thread writes, steps go on; what they lose by that is measured in the same turns.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from echocli.api._pretrain.saver import Saver
from echocli.api._pretrain.settings import resolve_settings
from echocli.models.methods.base import Method, load
from echocli.models.optim import build_optimizer
from echocli.run import Run
from echocli.states import save_state, saved_states

EVERY = 100
"""Steps between two saves unless a run sets another number."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--preset", default="small")
    parser.add_argument("--method", default="vjepa")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to write; the system's if left out")
    options = parser.parse_args()
    step, state = training(options)
    for _ in range(2):
        step()
    with tempfile.TemporaryDirectory(dir=options.folder) as name, Run(Path(name, "r")) as run:
        run.begin({}, {})
        run.checkpoints.mkdir()
        measure(run, step, state, options)
    return 0


def training(options: argparse.Namespace) -> tuple[Callable[[], None], Callable[[], Any]]:
    """Return what takes a step on noise, and what returns the state after it."""
    settings = resolve_settings(method=options.method, preset=options.preset).value
    vit, generator = settings.encoder.vit(settings.data), torch.Generator().manual_seed(0)
    method: Method = load(options.method).build(vit, settings.method_config, generator)
    optimizer = build_optimizer(method, settings.optim)
    size = (options.batch, 1, settings.data.frames, settings.data.size, settings.data.size)
    clips = torch.randn(size, generator=generator)

    def step() -> None:
        method.step(clips, generator).loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    def state() -> dict[str, Any]:
        return {
            "step": 0,
            "method": method.state_dict(),
            "optimizer": optimizer.state_dict(),
        }

    return step, state


def measure(
    run: Run,
    step: Callable[[], None],
    state: Callable[[], Any],
    options: argparse.Namespace,
) -> None:
    """Save in turns and print what it takes."""
    alone, copied, beside, waited = [], [], [], []
    for number in range(options.rounds):
        alone.append(seconds(step))
        with Saver(run) as saver:
            copied.append(seconds(saver.save, {**state(), "step": 2 * number}))
            while saver._writing is not None and not saver._writing.done():
                beside.append(seconds(step))
        whole_state = {**state(), "step": 2 * number + 1}
        waited.append(seconds(save_state, run.checkpoints, whole_state))
    size = saved_states(run.checkpoints)[0].path.stat().st_size
    print(
        f"{options.method}, preset {options.preset}, batch {options.batch}: a state of "
        f"{size / 1e6:.0f} MB; medians of {options.rounds} rounds, by the clock and of this "
        "thread's processor time"
    )
    usual, usual_cpu = medians(alone)
    told = {
        "a step": alone,
        "a step while a state is being written": beside,
        "waiting for the copy": copied,
        "waiting for a state to be written": waited,
    }
    for what, measured in told.items():
        clock, own = medians(measured)
        print(f"  {what:40} {clock:8.3f} s {own:8.3f} s")
    for what, measured in ((k, v) for k, v in told.items() if k.startswith("waiting")):
        clock, own = medians(measured)
        shares = f"{clock / EVERY / usual:8.2%}   {own / EVERY / usual_cpu:8.2%}"
        print(f"  {what}, of {EVERY} steps: {shares}")
    print(f"  steps taken while a state is being written: {len(beside) / options.rounds:.1f}")


def medians(measured: list[tuple[float, float]]) -> tuple[float, float]:
    clock, own = zip(*measured, strict=True)
    return statistics.median(clock), statistics.median(own)


def seconds(work: Callable[..., object], *given: object) -> tuple[float, float]:
    started, used = time.perf_counter(), time.thread_time()
    work(*given)
    return time.perf_counter() - started, time.thread_time() - used


if __name__ == "__main__":
    sys.exit(main())
