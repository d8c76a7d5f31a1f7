"""Trains every method with one, two and four processes, and shows that it is the same training.

    python benchmarks/spread.py [--steps 20] [--before 40] [--sizes 2 4] [--only vjepa]

Each row trains a small encoder on phantom hearts, from the command line on, with 8 clips a
step: one process takes some steps, then one, two and four on this machine (gloo) go on from its
state with the same clips shared out. They are compared: which clips every step saw, and in what
order; losses; weights after the last step. The last column is the processor time of a step of
one process beside that of one alone that trains on its share of the clips only: what it costs
to take steps together. Ends with 1 if clips differ or losses are apart by more than 1e-4. Needs
a system with fork.

Not from the first step on: the mask token of V-JEPA 2 begins at zero, as the reference's does,
and no position is added to it, so that the LayerNorm after it magnifies rounding a thousandfold
(eps 1e-6) until it has moved: ``--before 0`` shows up to 4e-4 of a loss in that row, and less
than the limit in it with a token that begins elsewhere.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import torch
from team_runs import free_port

from echocli.api._pretrain import page as page_module
from echocli.api._pretrain import speed as speed_module
from echocli.api._pretrain.feed import Feed
from echocli.clips.store import ClipSetWriter
from echocli.datasets.phantom import PhantomConfig, phantom_clips
from echocli.models.methods.base import available, load
from echocli.run import read_metrics
from echocli.states import load_state, saved_states

BATCH = 8
TOLERANCE = 1e-4
"""Greatest relative difference of losses."""
SMALL = (
    "data.frames=8",
    "data.size=48",
    "data.seconds=0.8",
    "encoder.tubelet=[2, 8, 8]",
    "encoder.dim=96",
    "encoder.depth=4",
    "encoder.heads=3",
    "watch.health_every=1000",
    "optim.warmup_steps=20",  # up to the rate at which V-JEPA 2 begins
    "optim.lr=1e-4",
)
HEADS = ("head_hidden=192", "head_bottleneck=64", "head_outputs=256", "prototypes=64")
DISCOVR = tuple(f"discovr.{word}" for word in HEADS)
RELEASE = ("fidelity=release", "pairing=released", "targets=hard", "image_frames=all")
V2 = ("encoder.positions=rotary", "vjepa.mask_tokens=1", "optim.clip=0.0")
V21 = (*V2, "encoder.levels=2", "encoder.stills=true", "vjepa.context_weight=0.5")
CASES: dict[str, tuple[str, Sequence[str]]] = {
    "discovr": ("discovr", DISCOVR),
    "discovr, koleo": ("discovr", (*DISCOVR, "discovr.koleo_weight=0.1")),
    "discovr, release": ("discovr", (*DISCOVR, *(f"discovr.{word}" for word in RELEASE))),
    "vjepa": ("vjepa", ()),
    "vjepa, in 2 parts": ("vjepa", ("optim.parts=2",)),
    "vjepa, in shares": ("vjepa", ("sharded=true",)),
    "vjepa 2": ("vjepa", V2),
    "vjepa 2.1": ("vjepa", V21),
    "videomae": ("videomae", ()),
}


@dataclass(frozen=True)
class Trained:
    """What a training left."""

    losses: list[float]
    seen: list[list[Any]]
    """Row and start of every window, step by step, in the order of the processes."""
    weights: torch.Tensor
    seconds: float
    """Processor time of a step of the first process, the median."""


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--before", type=int, default=40, help="steps of one process first")
    parser.add_argument("--only", default="", help="beginning of a row's name")
    options = parser.parse_args()
    if 0 < options.before <= options.steps:
        parser.error("--before must be 0 or more than --steps: the two newest states are kept.")
    torch.set_num_threads(1)
    for name in ("echocli.main", "echocli.tables", "torch._dynamo", "torch.distributed.fsdp"):
        importlib.import_module(name)
    for name in available():
        load(name)
    # What is drawn and counted for people is no part of a step.
    page_module.Page._write = lambda *asked, **how: None  # type: ignore[method-assign]
    speed_module.matrix_rate = lambda device: 1e9
    speed_module.operations = lambda job: 0
    wrong = 0
    print("| method | processes | clips | losses apart | weights apart | time |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        clips = Path(folder) / "clips"
        with ClipSetWriter(clips) as writer:
            for clip in phantom_clips(PhantomConfig(size=48), 12, 0):
                writer.add(clip)
        for case in CASES:
            if case.startswith(options.only):
                wrong += compare(case, clips, Path(folder), options)
    return int(wrong > 0)


def compare(case: str, clips: Path, folder: Path, options: argparse.Namespace) -> int:
    """Print the rows of a method; return how many are wrong."""
    wrong, steps = 0, (options.before, options.steps)
    first = folder / "alone" if options.before else None
    alone = train(case, clips, folder / "alone", steps, 1)
    for size in options.sizes:
        ours = train(case, clips, folder / f"{size}", steps, size, after=first)
        share = train(case, clips, folder / f"{size}-share", steps, 1, batch=BATCH // size)
        pairs = zip(ours.losses, alone.losses, strict=True)
        apart = max(abs(a - b) / abs(b) for a, b in pairs)
        distance = float((ours.weights - alone.weights).norm() / alone.weights.norm())
        same = ours.seen == alone.seen
        wrong += not same or apart > TOLERANCE
        ratio = ours.seconds / share.seconds
        told = "the same" if same else "OTHERS"
        print(f"| {case} | {size} | {told} | {apart:.1e} | {distance:.0e} | {ratio:.2f} |")
        sys.stdout.flush()
    return wrong


def train(
    case: str,
    clips: Path,
    out: Path,
    steps: tuple[int, int],
    size: int,
    *,
    batch: int = BATCH,
    after: Path | None = None,
) -> Trained:
    """Train with some processes and return what came of the steps after the first ones.

    Args:
        case: Row of the table.
        clips: Clip set.
        out: Folder of the run.
        steps: First ones, and those to compare.
        size: Processes.
        batch: Clips a step.
        after: Run whose first steps are gone on from.
    """
    method, changes = CASES[case]
    before, compared = steps
    if batch < BATCH:
        changes = [word for word in changes if not word.startswith("optim.parts")]
    words = ["pretrain", str(clips), "--method", method, "--steps", str(sum(steps))]
    words += ["-o", str(out), "--device", "cpu", "--precision", "fp32", "--quiet"]
    changes = (*SMALL, f"watch.checkpoint_every={before or 1000}", *changes)
    words += [part for w in (*changes, f"optim.batch={batch}") for part in ("--set", w)]
    shutil.rmtree(out, ignore_errors=True)
    if after is not None:
        shutil.copytree(after, out)
        saved_states(out / "checkpoints")[0].note.unlink()  # that of the end
    port, pids = str(free_port()), []
    for rank in range(size):
        pid = os.fork()
        if pid == 0:
            place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size}
            meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            os.environ.update({k: str(v) for k, v in (place | meeting).items()})
            try:
                child(words, Path(f"{out}-{rank}.json"), 0 if after is None else before)
            finally:
                os._exit(1)
        pids.append(pid)
    codes = [os.waitpid(pid, 0)[1] for pid in pids]
    assert codes == [0] * size, f"{case} ended with {codes}"
    told = [json.loads(Path(f"{out}-{rank}.json").read_text()) for rank in range(size)]
    shares = [said["seen"][-compared:] for said in told]
    seen = [[one for share in step for one in share] for step in zip(*shares, strict=True)]
    losses = [record["loss"] for record in read_metrics(out)[before:]]
    state = load_state(out / "checkpoints")[0]["method"]
    weights = torch.cat([tensor.double().flatten() for tensor in state.values()])
    return Trained(losses, seen, weights, told[0]["seconds"])


def child(words: list[str], told: Path, first: int) -> None:
    """Train as one process; tell what was seen, and what a step cost."""
    from echocli import main as command
    from echocli.models import training

    seen: list[list[Any]] = []
    clock: list[float] = []
    samples, schedule = Feed.own, training.schedule

    def own(feed: Feed) -> slice:
        share = samples.fget(feed)  # type: ignore[attr-defined]
        step = first + len(seen)
        seen.append([list(one) for one in feed.batches.samples(step)[share]])
        return share

    def timed(*given: Any) -> float:  # noqa: ANN401
        clock.append(time.process_time())
        return schedule(*given)

    Feed.own = property(own)  # type: ignore[assignment, method-assign]
    training.schedule = timed
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    code = 0
    try:
        command.run([*words, "--readers", "1"])
    except SystemExit as end:
        code = int(end.code or 0)
    seconds = statistics.median(b - a for a, b in itertools.pairwise(clock))
    told.write_text(json.dumps({"seen": seen, "seconds": seconds}))
    os._exit(code)


if __name__ == "__main__":
    raise SystemExit(main())
