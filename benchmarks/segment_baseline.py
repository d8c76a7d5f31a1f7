"""A U-Net from scratch beside a linear head on a frozen encoder: same phantoms, same figures.

    python benchmarks/segment_baseline.py --steps 100
    python benchmarks/segment_baseline.py --steps 100 --label-fraction 0.2
    python benchmarks/segment_baseline.py --model runs/mine        # an encoder of yours

Needs MONAI (pip install monai). Without --model the encoder has random weights, which tells how
much a head makes of nothing; docs/learning.md has encoders that were trained.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from echocli.api import segment
from echocli.checkpoint import save_model
from echocli.clips.contract import DataConfig
from echocli.clips.writer import ClipSetWriter
from echocli.datasets.phantom import PhantomConfig, phantom_clips
from echocli.models.tasks.segmentation import SegmentationConfig
from echocli.models.vit import VisionTransformer, ViTConfig

POPULATION = 41


def random_model(folder: Path, size: int) -> Path:
    shape = ViTConfig(frames=16, size=size, tubelet=(2, 8, 8), dim=192, depth=6, heads=3)
    encoder = VisionTransformer(shape, torch.Generator().manual_seed(0))
    save_model(folder, encoder, DataConfig(size=size), "random", {"clip_size": size})
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--patients", type=int, default=100)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=100, help="of the U-Net, at most")
    parser.add_argument("--label-fraction", type=float, default=1.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ClipSetWriter(folder / "clips") as writer:
            config = PhantomConfig(size=options.size)
            for clip in phantom_clips(config, options.patients, seed=POPULATION):
                writer.add(clip)
        fit = replace(segment.scratch_fit(), epochs=1, least_steps=options.steps)
        how = segment.SegmentConfig(
            head=SegmentationConfig(), label_fraction=options.label_fraction
        )
        heads = {
            "linear": (options.model or random_model(folder / "model", options.size), how),
            "unet": (None, replace(how, tune=segment.TuneConfig(scratch="unet", fit=fit))),
        }
        for head, (model, settings) in heads.items():
            start = time.process_time()
            found = segment.fit(folder / "clips", model, folder / head, config=settings)
            spent = time.process_time() - start
            print(f"{head}: {found.config['n']}, {spent:.0f} s of the processor", flush=True)
        both = segment.evaluate(
            folder / "clips", folder / "unet", against=folder / "linear"
        ).summary["against"]["metrics"]
    print("| figure | structure | U-Net | linear | difference (95 %) | p | p Wilcoxon |")
    print("|---|---|---|---|---|---|---|")
    for figure in ("dice", "hd95_mm", "assd_mm"):
        for structure, one in both[figure].items():
            low, high = one["difference"]["low"], one["difference"]["high"]
            print(
                f"| {figure} | {structure} | {one['value']:.3f} | {one['other']:.3f} "
                f"| {one['difference']['value']:.3f} ({low:.3f} to {high:.3f}) "
                f"| {one['p_value']:.4f} | {one['wilcoxon_p_value']:.4f} |"
            )


if __name__ == "__main__":
    main()
