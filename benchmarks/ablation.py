"""What each part of a recipe is worth: short trainings that differ in one setting, three seeds.

Rows are taken seed by seed, the first seed of all rows first; a call that was cut off goes on
where it stopped. One line of ``ablation.jsonl`` is one training.

    python benchmarks/ablation.py                          # all rows and seeds
    python benchmarks/ablation.py --only "V-JEPA" --seeds 0   # one of them
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from learning import PRESETS, build, exported, load_encoder, pretrain, random_encoder
from learning_clips import Sizes, make_clips
from learning_figures import Encoder, FrameByFrame, Judge, Outcome, compare
from learning_report import DIGITS, written

from echocli.api._pretrain.settings import Settings, resolve_settings
from echocli.models.methods.base import Method
from echocli.models.methods.discovr import DISCOVR
from echocli.models.vit import VisionTransformer

STEPS = 400
ROWS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "DISCOVR": ("discovr", ()),
    "without SCD": ("discovr", ("discovr.cluster_weight=0",)),
    "SCD misaligned as released": (
        "discovr",
        ("discovr.pairing=released", "discovr.image_frames=all"),
    ),
    "SCD only": ("discovr", ("discovr.video_weight=0", "discovr.image_weight=0")),
    "video only": (
        "discovr",
        ("discovr.cluster_weight=0", "discovr.image_weight=0", "discovr.video_weight=1"),
    ),
    "unit weights (paper)": ("discovr", ("discovr.video_weight=1", "discovr.image_weight=1")),
    "unit weights, all of the release's rules": (
        "discovr",
        (
            "discovr.fidelity=release",
            "discovr.image_frames=all",
            "discovr.pairing=released",
            "discovr.targets=hard",
            "discovr.video_weight=1",
            "discovr.image_weight=1",
        ),
    ),
    "DISCOVR, mask 50 %": ("discovr", ("discovr.mask_ratio=0.5",)),
    "DISCOVR, mask 90 %": ("discovr", ("discovr.mask_ratio=0.9",)),
    "DISCOVR, 8 frames": ("discovr", ("data.frames=8",)),
    "DISCOVR, 32 frames": ("discovr", ("data.frames=32",)),
    "hard targets": ("discovr", ("discovr.targets=hard",)),
    "separate prototypes": ("discovr", ("discovr.separate_prototypes=true",)),
    "V-JEPA": ("vjepa", ()),
    "last level, hidden tokens only (V-JEPA 1)": (
        "vjepa",
        ("encoder.levels=1", "vjepa.context_weight=0"),
    ),
    "lambda 0.25": ("vjepa", ("vjepa.jepa_weight=0.25",)),
    "lambda 0.5": ("vjepa", ("vjepa.jepa_weight=0.5",)),
    "predictor 32 wide, 1 deep": (
        "vjepa",
        ("vjepa.predictor_dim=32", "vjepa.predictor_depth=1"),
    ),
    "predictor 128 wide, 4 deep": (
        "vjepa",
        ("vjepa.predictor_dim=128", "vjepa.predictor_depth=4", "vjepa.predictor_heads=2"),
    ),
    "VideoMAE": ("videomae", ()),
    "VideoMAE, mask 50 %": ("videomae", ("videomae.mask_ratio=0.5",)),
    "VideoMAE, mask 90 %": ("videomae", ("videomae.mask_ratio=0.9",)),
    "image branch on all frames": ("discovr", ("discovr.image_frames=all",)),
    "image branch on a subset": ("discovr", ("discovr.image_frames=subset",)),
    "Koleo 0.1": ("discovr", ("discovr.koleo_weight=0.1",)),
    "image only": ("discovr", ("discovr.cluster_weight=0", "discovr.video_weight=0")),
}
"""Method and changed settings, beside its preset."""
BY_FRAME = ("image only",)
"""Rows whose image encoder is judged, frame by frame: their video encoder never learns."""
COLUMNS = {"ridge": "EF error, ridge", "whitened": "AUROC, whitened", "dice": "Dice"}


def settings_of(row: str, seed: int) -> Settings:
    """Return the settings of one training."""
    method, changes = ROWS[row]
    words = (*changes, f"optim.steps={STEPS}", f"seed={seed}")
    return resolve_settings(method=method, preset=PRESETS[method], changes=words).value


def image_encoder(method: Method) -> VisionTransformer:
    """Return DISCOVR's teacher of single frames."""
    assert isinstance(method, DISCOVR)
    return method.image.teacher


def encoder_of(row: str, settings: Settings, file: Path | None = None) -> Encoder:
    """Return what a row judges: the weights of a file, or those a training begins with."""
    if row not in BY_FRAME:
        return random_encoder(settings) if file is None else load_encoder(settings, file)
    images = image_encoder(build(settings))
    if file is not None:
        images.load_state_dict(torch.load(file, weights_only=True))
    return FrameByFrame(images, settings.encoder.vit(settings.data).tubelet)


def outcomes(
    row: str, settings: Settings, judge: Judge, clips: Path, files: tuple[Path, Path]
) -> tuple[Outcome, Outcome]:
    """Train, judge the last step and the first, as far as not done, and return both."""
    ours, base = files
    if not base.exists():
        judge(encoder_of(row, settings), attentive=False).save(base)
    if not ours.exists():
        run = ours.with_suffix("")
        last = run / f"{STEPS:06d}.pt"
        if not last.exists():
            export = image_encoder if row in BY_FRAME else exported
            pretrain(settings, clips, run, (1.0,), export)
        judge(encoder_of(row, settings, last), attentive=False).save(ours)
    return Outcome.read(ours), Outcome.read(base)


def shape_name(row: str, settings: Settings) -> str:
    """Name what decides the random weights of a row and the windows they see."""
    rules = getattr(settings.method_config, "fidelity", "any")
    kind = "-by-frame" if row in BY_FRAME else ""
    shape = f"{settings.data.frames}-{settings.encoder.levels}{kind}"
    return f"{settings.method}-{rules}-{shape}"


def table(folder: Path, judges: Mapping[int, Judge]) -> str:
    """Return the means over the seeds that are there, and differences to random weights."""
    lines = ["| row | seeds | " + " | ".join(COLUMNS.values()) + " |"]
    lines.append("|---" * (len(COLUMNS) + 2) + "|")
    for row in ROWS:
        if (judge := judges.get(settings_of(row, 0).data.frames)) is None:
            continue  # its windows are of another length than those that were asked for
        pairs = []
        for seed in range(10):
            settings = settings_of(row, seed)
            ours, base = paths(folder, row, settings, seed)
            if ours.exists() and base.exists():
                pairs.append((Outcome.read(ours), Outcome.read(base)))
        if pairs:
            found = compare(judge, *zip(*pairs, strict=True))
            cells = [
                f"{written(found.figures[c], DIGITS[c])}; "
                f"{written(found.differences[c], DIGITS[c], '+')}"
                for c in COLUMNS
            ]
            lines.append(f"| {row} | {len(pairs)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def paths(folder: Path, row: str, settings: Settings, seed: int) -> tuple[Path, Path]:
    """Return the files of a row's outcome and of its random weights."""
    number = list(ROWS).index(row)
    return (
        folder / f"row{number:02d}-seed{seed}.npz",
        folder / f"{shape_name(row, settings)}-seed{seed}-random.npz",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("learning"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--only", nargs="*", default=list(ROWS), help="rows of the table")
    parser.add_argument("--methods", nargs="*", default=list(PRESETS))
    parser.add_argument("--report", action="store_true", help="train nothing more")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clips, folder = options.folder / "clips", options.folder / "ablation"
    folder.mkdir(parents=True, exist_ok=True)
    make_clips(clips, Sizes(), options.workers)
    judges: dict[int, Judge] = {}
    for seed in options.seeds:
        for row in (r for r in options.only if ROWS[r][0] in options.methods):
            settings = settings_of(row, seed)
            frames = settings.data.frames
            if frames not in judges:
                shape = settings.encoder.vit(settings.data)
                judges[frames] = Judge(clips, "test", settings.data, shape, 600)
            ours, base = paths(folder, row, settings, seed)
            if options.report or ours.exists():
                continue
            judged, start = outcomes(row, settings, judges[frames], clips, (ours, base))
            found = compare(judges[frames], [judged], [start])
            line = {
                "row": row,
                "seed": seed,
                "changes": ROWS[row][1],
                "steps": STEPS,
                "figures": {c: found.figures[c].as_json() for c in COLUMNS},
                "differences": {c: found.differences[c].as_json() for c in COLUMNS},
                "rank": float(np.asarray(judged.rank)),
            }
            with (folder / "ablation.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)
    print(table(folder, judges))


if __name__ == "__main__":
    main()
