"""Does the detector see a forced collapse, and does it leave a healthy training alone?

A small encoder is pretrained on phantom clips, as ``echocli pretrain`` does it:

* forced: the laptop preset but for the teacher's momentum, which is 0, and the learning rate,
  which is 100 times as high; it must be named a collapse within 200 steps;
* healthy: the laptop preset as it is, for 2,000 steps, which must raise no alarm.

    python benchmarks/collapse.py --clips /data/phantoms     # made there if it is not

About 10 minutes of one core, clips not counted.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from learning_clips import Sizes, make_clips

from echocli.api._pretrain.trouble import DerailedError
from echocli.api.pretrain import Choice, pretrain
from echocli.console import SILENT, Advance
from echocli.run import read_metrics

WITHIN = 200
"""Steps in which a forced collapse must be seen."""
LONG = 2000
"""Steps of a healthy run."""
SMALL = (
    "encoder.dim=64",
    "encoder.depth=2",
    "encoder.heads=2",
    "optim.batch=8",
    "watch.checkpoint_every=2000",
)
PRESETS = {"discovr": "laptop", "vjepa": "laptop-vjepa", "videomae": "laptop"}
OWN = {"vjepa": ("encoder.levels=2",)}
FORCED = ("discovr", "vjepa")
"""Methods with a teacher."""
RATE = 1e-3
"""Learning rate of the presets."""


class Ears:
    """Remembers warnings of a collapse."""

    def __init__(self) -> None:
        self.alarms: list[str] = []

    def say(self, message: str) -> None:
        """Nobody listens."""

    def warn(self, message: str) -> None:
        """Note what is said of a collapse."""
        if "collapsed" in message:
            self.alarms.append(message)

    def progress(
        self, description: str, total: int | None, done: int = 0
    ) -> AbstractContextManager[Advance]:
        """Show nothing."""
        return SILENT.progress(description, total, done)


def train(
    clips: Path, out: Path, method: str, seed: int, steps: int, extra: tuple[str, ...]
) -> dict[str, Any]:
    """Train, and return what was seen."""
    ears, began = Ears(), time.process_time()
    asked: Iterator[int] = iter(range(steps - 1))
    choice = Choice(
        method=method,
        preset=PRESETS[method],
        steps=LONG,
        seed=seed,
        changes=[*SMALL, *OWN.get(method, ()), *extra],
    )
    # At such a rate the gradient may well grow beyond all numbers, which ends a run by itself.
    with suppress(DerailedError):
        pretrain(
            clips,
            choice,
            out=out,
            overwrite=True,
            device="cpu",
            precision="fp32",  # in bf16 the gradient of a forced run soon is no number any more
            stop=lambda: next(asked, None) is None,
            reporter=ears,
        )
    metrics = read_metrics(out)
    looks = [record for record in metrics if "effective_rank" in record]
    first = metrics[0]
    return {
        "method": method,
        "seed": seed,
        "steps": len(metrics),
        "alarms": ears.alarms,
        "rank": [first["start_effective_rank"], *(look["effective_rank"] for look in looks)],
        "std": [first["start_feature_std"], *(look["feature_std"] for look in looks)],
        "cpu_s": time.process_time() - began,
    }


def forced(method: str) -> tuple[str, ...]:
    """Return the settings that make a method collapse."""
    rate = f"optim.lr={100 * RATE}"
    return (rate, f"{method}.momentum=0.0", f"{method}.momentum_end=0.0")


def tell(kind: str, found: dict[str, Any]) -> None:
    """Print a row of the table."""
    rank, std = found["rank"], found["std"]
    first = found["alarms"][0].split(". ")[0] if found["alarms"] else "none"
    alarm = first.removeprefix("After ").replace(" the features have collapsed", "")
    print(
        f"| {found['method']} | {kind} | {found['seed']} | {found['steps']} "
        f"| {alarm} | {rank[0]:.1f} | {min(rank[1:]):.1f} | {std[0]:.2f} "
        f"| {min(std[1:]):.3f} | {found['cpu_s']:.0f} |",
        flush=True,
    )


def main() -> None:
    """Run both kinds for each method."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=Path, required=True, help="phantom clips, or where to")
    parser.add_argument("--patients", type=int, default=240, help="phantom patients to make")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of forced runs")
    parser.add_argument("--healthy-seeds", type=int, default=1, help="seeds of healthy runs")
    parser.add_argument("--methods", nargs="+", default=list(PRESETS), choices=list(PRESETS))
    parser.add_argument("--json", type=Path, help="where all figures go")
    options = parser.parse_args()
    make_clips(options.clips, Sizes(train=options.patients, dev=0, test=0), workers=2)
    print(
        "| method | run | seed | steps | alarm | rank before | least | std before | least | s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    everything = []
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        for method in options.methods:
            for seed in range(options.seeds if method in FORCED else 0):
                found = train(options.clips, run, method, seed, WITHIN, forced(method))
                tell("forced", found)
                everything.append({"kind": "forced", **found})
            for seed in range(options.healthy_seeds):
                found = train(options.clips, run, method, seed, LONG, ())
                tell("healthy", found)
                everything.append({"kind": "healthy", **found})
    if options.json:
        options.json.write_text(json.dumps(everything, indent=1))
    missed = [f for f in everything if f["kind"] == "forced" and not f["alarms"]]
    wrong = [f for f in everything if f["kind"] == "healthy" and f["alarms"]]
    print(f"\n{len(missed)} collapse(s) missed, {len(wrong)} false alarm(s)")
    raise SystemExit(bool(missed or wrong))


if __name__ == "__main__":
    main()
