"""How soon a dense head draws structures: Dice on test phantoms after some steps.

    python benchmarks/dense_head.py                       # on an encoder of random weights
    python benchmarks/dense_head.py --model runs/mine     # on one of yours

The linear head stands beside it, after as many steps.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from segment_baseline import POPULATION, random_model

from echocli.api import segment
from echocli.api._segment.fits import DENSE, LINEAR
from echocli.clips.writer import ClipSetWriter
from echocli.datasets.phantom import PhantomConfig, phantom_clips
from echocli.models.finetune import FitConfig
from echocli.models.tasks.segmentation import SegmentationConfig

STRUCTURES = ("lv_cavity", "lv_myocardium", "left_atrium")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--patients", type=int, default=60)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, nargs="+", default=[40, 150, 600])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ClipSetWriter(folder / "clips") as writer:
            config = PhantomConfig(size=options.size)
            for clip in phantom_clips(config, options.patients, seed=POPULATION):
                writer.add(clip)
        model = options.model or random_model(folder / "model", options.size)
        print(f"| head | steps | {' | '.join(STRUCTURES)} |")
        print(f"|---|---|{'---|' * len(STRUCTURES)}")
        for steps in options.steps:
            for probe in (LINEAR, DENSE):
                how = segment.SegmentConfig(
                    probe=probe,
                    head=SegmentationConfig(steps=steps),
                    dense=FitConfig(epochs=1, least_steps=steps),
                    draws=200,
                )
                head = folder / f"{probe}-{steps}"
                found = segment.fit(folder / "clips", model, head, config=how)
                dice = found.config["metrics"]["dice"]
                told = " | ".join(f"{dice[one]['value']:.3f}" for one in STRUCTURES)
                print(f"| {probe} | {steps} | {told} |", flush=True)


if __name__ == "__main__":
    main()
