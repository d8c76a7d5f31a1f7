"""What it costs to watch a training, as a share of its steps, at default settings.

A preset is trained a little, and the processor time of each part of the watching is taken in
that run: logging, looks at the features, the probe, the page. Each counts as often as it comes
by default: logging every step, a look every ``health_every`` steps, a probe every
``probe_every`` looks, the page every ``LEAST_S`` seconds.

    python benchmarks/watching.py --clips /data/phantoms     # made there if it is not
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import wraps
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Any, TypeVar

from learning_clips import Sizes, make_clips

from echocli.api._pretrain.page import LEAST_S, Page
from echocli.api._pretrain.probe import Probe
from echocli.api._pretrain.watch import Watch
from echocli.api.pretrain import Choice, pretrain

T = TypeVar("T")
PARTS = {
    "all": (Watch, "write"),
    "look": (Watch, "_look"),
    "probe": (Probe, "ask"),
    "page": (Page, "_write"),
}
RUNS = [
    ("laptop", "discovr"),
    ("laptop-vjepa", "vjepa"),
    ("laptop", "videomae"),
    ("tiny", "discovr"),
    ("tiny", "vjepa"),
]


class Costs:
    """Processor time of calls, by part."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.spans: list[tuple[float, float]] = []
        """Begin and end of each call that writes the metrics of a step."""

    def timed(self, part: str, call: Callable[..., T]) -> Callable[..., T]:
        """Return a function that notes what each call takes."""

        @wraps(call)
        def wrapped(*words: Any, **more: Any) -> T:  # noqa: ANN401
            began = time.process_time()
            try:
                return call(*words, **more)
            finally:
                ended = time.process_time()
                self.seconds[part] += ended - began
                self.calls[part] += 1
                if part == "all":
                    self.spans.append((began, ended))

        return wrapped


def measure(clips: Path, preset: str, method: str, steps: int) -> dict[str, float]:
    """Train a little and return seconds of a step, and of each part when it comes."""
    costs, kept = Costs(), {name: getattr(owner, call) for name, (owner, call) in PARTS.items()}
    for name, (owner, call) in PARTS.items():
        setattr(owner, call, costs.timed(name, kept[name]))
    words = ["watch.probe_every=1", "watch.checkpoint_every=100000"]
    try:
        with tempfile.TemporaryDirectory() as folder:
            choice = Choice(method=method, preset=preset, steps=steps, changes=words)
            pretrain(clips, choice, out=Path(folder) / "run", device="cpu")
    finally:
        for name, (owner, call) in PARTS.items():
            setattr(owner, call, kept[name])
    seconds, calls = costs.seconds, costs.calls
    between = [then[0] - before[1] for before, then in pairwise(costs.spans)]
    return {
        "step": fmean(between),
        "log": median(ended - began for began, ended in costs.spans),  # without looks
        "look": (seconds["look"] - seconds["probe"]) / calls["look"],
        "probe": seconds["probe"] / calls["probe"],
        "page": seconds["page"] / calls["page"],
    }


def main() -> None:
    """Print a row for each preset."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=Path, required=True, help="phantom clips, or where to")
    parser.add_argument("--patients", type=int, default=300, help="phantom patients to make")
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    make_clips(options.clips, Sizes(train=options.patients, dev=0, test=0), workers=2)
    print("| preset | step, s | log | a look, s | a probe, s | a page, s | share of a step |")
    print("|---|---|---|---|---|---|---|")
    watch = Choice().resolve().value.watch
    for preset, method in RUNS:
        cost = measure(options.clips, preset, method, options.steps)
        every_look = cost["look"] / watch.health_every
        every_probe = cost["probe"] / (watch.health_every * watch.probe_every)
        every_page = cost["page"] * cost["step"] / LEAST_S
        share = (cost["log"] + every_look + every_probe + every_page) / cost["step"]
        print(
            f"| {preset}, {method} | {cost['step']:.3f} | {cost['log']:.4f} "
            f"| {cost['look']:.3f} | {cost['probe']:.2f} | {cost['page']:.3f} | {share:.2%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
