"""Kills a training again and again, with no warning, and shows that nothing is ever lost.

    python benchmarks/soak.py [--kills 100] [--seed 0] [--method vjepa]

Saving is slowed down, so that about half of the kills hit it: in the midst of a state, between
its name and its hash, while older ones go. After each kill the newest state is read, its hash
and metrics are checked, and the training goes on from there with another number of readers.
Whenever it reaches its end, it is compared with one that nobody disturbed, bit for bit. Ends
with 1 if anything was lost. Needs a system with fork.
"""

from __future__ import annotations

import argparse
import io
import mmap
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import torch._dynamo  # the optimiser needs it: loaded once, not in every child
from micro import MICRO, micro_clip, write_clips
from same_runs import assert_same_state, numbers

from echocli import states
from echocli.api import pretrain
from echocli.api._pretrain import record
from echocli.run import Run, read_metrics

STEPS = 30
PHASES = (
    "before the first step",
    "training, nothing being saved",
    "writing a state",
    "naming a state",
    "writing its hash",
    "removing older states",
    "exporting the model",
)
LOOKS = ("watch.checkpoint_every=2", "watch.health_every=10")
PIECES = 20
"""In which a slowed state is written."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--method", default="vjepa")
    parser.add_argument("--delay", type=float, default=0.06, help="seconds a phase of saving")
    options = parser.parse_args()
    dice = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        return soak(Path(name), options, dice)


def soak(folder: Path, options: argparse.Namespace, dice: random.Random) -> int:
    write_clips(folder / "clips", [micro_clip(number) for number in range(10)])
    straight, broken = folder / "straight", folder / "broken"
    phase = mmap.mmap(-1, 2)  # where a training is, and how many phases it went through
    assert child(lambda: train(folder, straight, options.method, 1)) == 0
    hit: Counter[str] = Counter()
    found: Counter[str] = Counter()
    while sum(hit.values()) < options.kills:
        phase[:2] = b"\0\0"
        readers, phases, patience = dice.choice((0, 1, 2)), dice.randrange(32), dice.random()

        def disturbed(readers: int = readers) -> None:
            slow_down(phase, options.delay)
            train(folder, broken, options.method, readers)

        last = patience * 2 * options.delay
        code = child(disturbed, lambda pid, n=phases, s=last: wait(pid, phase, n, s))
        if code == 0:
            assert_same(straight, broken)
            found["runs that reached their end, equal to the undisturbed one"] += 1
            shutil.rmtree(broken)
        elif code == -signal.SIGKILL:
            hit[PHASES[phase[0]]] += 1
            check(broken, found)
        else:
            print(f"a training ended with {code}")
            return 1
    print(f"{sum(hit.values())} kills, seed {options.seed}, {options.method}:")
    for what, count in [*sorted(hit.items(), key=lambda pair: PHASES.index(pair[0]))]:
        print(f"  {count:4} {what}")
    for what, count in sorted(found.items()):
        print(f"  {count:4} {what}")
    return 0


def train(folder: Path, out: Path, method: str, readers: int) -> None:
    choice = pretrain.Choice(method=method, steps=STEPS, changes=(*MICRO, *LOOKS))
    place: dict[str, Any] = {"device": "cpu", "precision": "fp32", "readers": readers}
    pretrain.pretrain(folder / "clips", choice, out=out, **place)


def child(work: Callable[[], None], meanwhile: Callable[[int], None] | None = None) -> int:
    """Run something in a process of its own; kill it when ``meanwhile`` returns."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    if meanwhile is not None:
        meanwhile(pid)
        os.kill(pid, signal.SIGKILL)  # it is not waited for yet: the number is still its own
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def wait(pid: int, phase: mmap.mmap, phases: int, patience: float) -> None:
    """Wait until a training went through so many phases or ended, then so many seconds."""
    alive = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while phase[1] < phases and os.waitid(os.P_PID, pid, alive) is None:
        time.sleep(0.002)
    time.sleep(patience)


def slow_down(phase: mmap.mmap, delay: float) -> None:
    """Note in which phase this process is, and make those of saving long."""

    def enter(number: int) -> None:
        phase[0] = number
        phase[1] = min(phase[1] + 1, 255)

    def staying(number: int, function: Callable[..., Any]) -> Callable[..., Any]:
        def slow(*args: Any, **more: Any) -> Any:  # noqa: ANN401
            enter(number)
            time.sleep(delay / 2)
            found = function(*args, **more)
            time.sleep(delay / 2)
            enter(1)
            return found

        return slow

    def write(state: Mapping[str, Any], path: Path) -> None:
        enter(2)
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        content = buffer.getvalue()
        with path.open("wb") as file:
            for start in range(0, len(content), len(content) // PIECES + 1):
                file.write(content[start : start + len(content) // PIECES + 1])
                file.flush()
                time.sleep(4 * delay / PIECES)
        enter(3)

    def logged(run: Run, told: Mapping[str, Any]) -> None:
        phase[0] = phase[0] or 1
        log(run, told)

    log = Run.log
    Run.log = logged  # type: ignore[method-assign]
    states._write = write
    states.sha256_of = staying(3, states.sha256_of)  # after it the file gets its name
    states.write_json = staying(4, states.write_json)
    states._forget_others = staying(5, states._forget_others)
    record.save_model = staying(6, record.save_model)


def check(run: Path, found: Counter[str]) -> None:
    """Check what a kill left behind."""
    folder = run / "checkpoints"
    half = [*folder.glob(".*.tmp")]
    half += [p for p in folder.glob("*.pt") if not p.with_suffix(".json").exists()]
    found["of these left a half-written file, which did not count"] += bool(half)
    if not states.has_state(folder):
        assert not any((run / name).exists() for name in ("model",)), "a model of nothing"
        found["of these came before the first state: the run began anew"] += 1
        return
    state, damaged = states.load_state(folder)
    assert not damaged, f"{damaged} was damaged"
    for tensor in state["method"].values():
        assert tensor.isfinite().all()
    steps = [line["step"] for line in read_metrics(run)]
    assert steps[: state["step"]] == list(range(state["step"])), "metrics are missing"
    assert steps == list(range(len(steps))), "metrics are doubled"
    found["of these left a state that loads, with the metrics of its steps"] += 1


def assert_same(straight: Path, broken: Path) -> None:
    """Compare two runs bit for bit."""
    assert numbers(straight) == numbers(broken)
    assert_same_state(straight, broken)
    weights = [(run / "model" / "model.safetensors").read_bytes() for run in (straight, broken)]
    assert weights[0] == weights[1]


if __name__ == "__main__":
    sys.exit(main())
