"""What a step of a real run costs beside the bare one, and whether memory stays flat.

``ratio`` runs ``pretrain`` on a clip set of phantoms, at the size of the laptop presets, with
its logging, looks at the features and checkpoints. After each of its steps, twins of its method
and optimiser take the same step bare: forward, loss, backward and optimiser, on a batch that is
ready, with masks that are drawn. All processor time but theirs is the run's. What it spends on
clips and masks (reading, in readers' threads too, normalising, augmenting, drawing) is told
apart: what that costs of the pace, ``feeding.py`` measures. The rest is clipping gradients,
moving teachers, metrics, looks, checkpoints, and threads beside it.
``memory`` trains a micro model and tells the memory of the process as it goes.

    export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE
    python benchmarks/step_overhead.py ratio     # some minutes a method
    python benchmarks/step_overhead.py ratio --preset tiny --methods videomae
    python benchmarks/step_overhead.py memory    # a minute a method
"""

from __future__ import annotations

import argparse
import copy
import cProfile
import pstats
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from statistics import fmean
from typing import Any
from unittest.mock import patch

import torch

from echocli.api._pretrain.feed import Feed
from echocli.api._pretrain.job import Job
from echocli.api.pretrain import Choice, pretrain
from echocli.clips.batches import Batches
from echocli.clips.store import ClipSetWriter
from echocli.datasets.phantom import PhantomConfig, phantom_clips
from echocli.models import training
from echocli.models.methods.base import available
from echocli.models.optim import build_optimizer

POPULATION = 11
PRESETS = {"discovr": "laptop", "videomae": "laptop", "vjepa": "laptop-vjepa"}
ASKED = 1.05
START = 201
"""Steps that are not counted: at first a run is looked at more often."""
HEADS = {
    "ratio": "| method | bare s / step | a run's | ratio | asked | clips and masks "
    "| ratio without |\n|---|---|---|---|---|---|---|",
    "memory": "| method | MB at a tenth | a quarter | half | the end |\n|---|---|---|---|---|",
}
MICRO = (
    *("data.frames=4", "data.size=32", "data.seconds=0.5", "optim.batch=4"),
    *("encoder.tubelet=[2,8,8]", "encoder.dim=48", "encoder.depth=2", "encoder.heads=3"),
)


def make_clips(folder: Path, count: int) -> None:
    """Write hard phantoms."""
    config = PhantomConfig(difficulty="hard", size=64)
    with ClipSetWriter(folder) as writer:
        for clip in phantom_clips(config, count, POPULATION):
            writer.add(clip)


# --- Ratio ----------------------------------------------------------------------------------


class Bare:
    """Takes the step that a run has just taken, without all that is around it."""

    def __init__(self) -> None:
        self.given: list[tuple[Any, ...]] = []
        """What the run's method was given since its last step."""
        self.seconds: list[float] = []
        """Of every bare step."""

    def copy(self, job: Job) -> None:
        """Make a twin of what a run trains, and note what its method is given from now on."""
        self.precision = job.device.precision
        self.twin = copy.deepcopy(job.method)
        self.optimizer = build_optimizer(self.twin, job.settings.optim)
        job.method.register_forward_pre_hook(lambda _, given: self.given.append(given))

    def step(self) -> None:
        """Take a step."""
        begun = time.thread_time()
        for given in self.given:
            with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16"):
                loss = self.twin(*given).loss
            loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.given.clear()
        self.seconds.append(time.thread_time() - begun)


def ratio(
    method: str, clips: Path, steps: int, changes: Sequence[str], preset: str | None, shown: int
) -> None:
    """Run and tell what a step costs beside the bare one."""
    choice = Choice(
        method=method,
        preset=preset or PRESETS[method],
        changes=(*changes, f"optim.steps={steps}"),
    )
    bare, marks, ready = Bare(), [], [0.0]
    build, inputs = Job.build, Job.inputs

    def building(job: Job) -> None:
        build(job)
        bare.copy(job)

    def feeding(*asked: Any, **how: Any) -> Iterator[Any]:  # noqa: ANN401
        batches = inputs(*asked, **how)
        while True:
            begun = time.thread_time()
            batch = next(batches, None)
            ready[-1] += time.thread_time() - begun
            if batch is None:
                return
            yield batch

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:  # noqa: ANN401
            begun = time.thread_time()
            try:
                return function(*given)
            finally:
                ready[-1] += time.thread_time() - begun

        return call

    def after_step() -> bool:
        marks.append(time.process_time() - sum(bare.seconds))
        bare.step()
        ready.append(0.0)
        return False

    with (
        tempfile.TemporaryDirectory() as folder,
        cProfile.Profile() if shown else nullcontext() as profile,
        patch.object(Job, "build", building),
        patch.object(Job, "inputs", feeding),
        patch.object(training, "prepare", timed(training.prepare)),
        patch.object(Batches, "fill", timed(Batches.fill)),
        patch.object(Feed, "_sectors", timed(Feed._sectors)),
    ):
        pretrain(clips, choice, out=Path(folder) / "run", device="cpu", stop=after_step)
    if profile is not None:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(shown)
    # What is done once, and often at the start only, is spread over thousands of steps; the
    # others hold the checkpoints and looks that fall to them.
    taken = (marks[-1] - marks[START - 1]) / (steps - START)
    alone = fmean(bare.seconds[START - 1 : -1])
    drawn = fmean(ready[START:steps])
    print(
        f"| {method} | {alone:.4f} | {taken:.4f} | {taken / alone:.3f} | {ASKED} "
        f"| {drawn:.4f} | {(taken - drawn) / alone:.3f} |",
        flush=True,
    )


# --- Memory ---------------------------------------------------------------------------------


def resident_mb() -> float:
    """Return the memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def memory(method: str, clips: Path, steps: int, changes: Sequence[str]) -> None:
    """Train a micro model and tell the memory of this process."""
    told = [steps // 10, steps // 4, steps // 2, steps]
    found: dict[int, float] = {}
    done = 0

    def after_step() -> bool:
        nonlocal done
        done += 1
        if done in told:
            found[done] = resident_mb()
        return False

    choice = Choice(method=method, changes=(*MICRO, *changes, f"optim.steps={steps}"))
    with tempfile.TemporaryDirectory() as folder:
        pretrain(clips, choice, out=Path(folder) / "run", device="cpu", stop=after_step)
    cells = " | ".join(f"{found[step]:.1f}" for step in told)
    print(f"| {method} | {cells} |", flush=True)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["ratio", "memory"])
    parser.add_argument("--methods", nargs="*", default=available())
    parser.add_argument("--steps", type=int, help="401 for ratio, 2,000 for memory")
    parser.add_argument("--preset", help="of the run, for a laptop preset")
    parser.add_argument("--set", nargs="*", default=[], help="settings of the run")
    parser.add_argument("--profile", type=int, default=0, help="show so many functions")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clips = Path(folder) / "clips"
        make_clips(clips, 64)
        print(HEADS[options.what], flush=True)
        for method in options.methods:
            if options.what == "ratio":
                steps, shown = options.steps or 401, options.profile
                ratio(method, clips, steps, options.set, options.preset, shown)
            else:
                memory(method, clips, options.steps or 2000, options.set)


if __name__ == "__main__":
    main()
