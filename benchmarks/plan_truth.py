"""What ``--plan`` says of memory and time, beside what the runs then need.

Every plan and every run is a process of its own, on one thread, on the same phantom clips. The
truth of memory is by how much the process grows at most once everything is imported; that of
time is the mean of the steps after the first. On a machine that others use too, ``--busy``
counts processor time in both.

    python benchmarks/plan_truth.py
    python benchmarks/plan_truth.py --busy --steps 40
    python benchmarks/plan_truth.py --only laptop
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

CLIPS = 24
PATIENTS_SEED = 3


@dataclass(frozen=True)
class Case:
    """A run to plan and to do."""

    preset: str
    method: str
    size: int
    changes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What it is called in the table."""
        return " ".join([self.preset, self.method, *self.changes])


CASES = [
    Case("laptop", "discovr", 64),
    Case("laptop-vjepa", "vjepa", 64),
    Case("tiny", "videomae", 64),
    Case("tiny", "videomae", 64, ("encoder.recompute=true",)),
    Case("tiny", "discovr", 64, ("optim.parts=2",)),
    Case("small", "vjepa", 112, ("optim.batch=8", "encoder.recompute=false")),
    Case("small", "vjepa", 112, ("optim.batch=8", "encoder.recompute=true")),
]


def make_clips(folder: Path, size: int) -> None:
    from echocli.clips.store import ClipSetWriter
    from echocli.datasets.phantom import PhantomConfig, phantom_clips

    with ClipSetWriter(folder) as writer:
        for clip in phantom_clips(PhantomConfig(size=size), CLIPS, PATIENTS_SEED):
            writer.add(replace(clip, labels={**clip.labels, "split": "train"}))


def status(name: str) -> int:
    """Return bytes that the system says of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024


def planned(case: Case, clips: Path, steps: int, folder: Path) -> dict[str, Any]:
    from echocli.api.pretrain import plan

    found = plan(clips, choice_of(case, steps), out=folder, device="cpu", precision="fp32")
    return {"memory": found.memory["total"], "seconds": found.seconds_per_step}


def done(case: Case, clips: Path, steps: int, folder: Path) -> dict[str, Any]:
    from echocli.api.pretrain import pretrain
    from echocli.run import read_metrics

    choice = choice_of(case, steps)
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the greatest size so far
    pretrain(clips, choice, out=folder, device="cpu", precision="fp32")
    seconds = [record["seconds"] for record in read_metrics(folder)][1:]
    return {"memory": status("VmHWM") - before, "seconds": sum(seconds) / len(seconds)}


def choice_of(case: Case, steps: int) -> Any:  # noqa: ANN401
    from echocli.api.pretrain import Choice

    return Choice(method=case.method, preset=case.preset, steps=steps, changes=case.changes)


def in_a_process(
    what: str, case: Case, clips: Path, steps: int, *, busy: bool
) -> dict[str, Any]:
    words = [sys.executable, __file__, what, str(CASES.index(case)), str(clips), str(steps)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    result = subprocess.run(
        words + ["--busy"] * busy, env=environment, capture_output=True, text=True, check=True
    )
    answer = json.loads(result.stdout.splitlines()[-1])
    assert isinstance(answer, dict)
    return answer


def child(words: list[str]) -> None:
    what, index, clips, steps = words[:4]
    if "--busy" in words:
        time.perf_counter = time.process_time
    with tempfile.TemporaryDirectory() as folder:
        measure = {"plan": planned, "run": done}[what]
        found = measure(CASES[int(index)], Path(clips), int(steps), Path(folder) / "run")
    print(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--busy", action="store_true", help="count processor time")
    parser.add_argument("--only", default="", help="cases whose name holds this word")
    wish = parser.parse_args()
    print(f"{'':46} memory MB: plan  run  ratio    s a step: plan  run  ratio")
    with tempfile.TemporaryDirectory() as folder:
        for case in (case for case in CASES if wish.only in case.name):
            clips = Path(folder) / str(case.size)
            if not clips.exists():
                make_clips(clips, case.size)
            said, true = (
                in_a_process(what, case, clips, wish.steps, busy=wish.busy)
                for what in ("plan", "run")
            )
            memory = f"{said['memory'] / 1e6:15.0f} {true['memory'] / 1e6:5.0f}"
            seconds = f"{said['seconds']:16.3f} {true['seconds']:6.3f}"
            print(
                f"{case.name:46} {memory} {said['memory'] / true['memory']:6.2f} "
                f"{seconds} {said['seconds'] / true['seconds']:5.2f}",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1:2] in (["plan"], ["run"]):
        child(sys.argv[1:])
    else:
        main()
