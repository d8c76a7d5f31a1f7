"""How much worse the heads of a trained laptop encoder do on phantoms with graded faults.

Fits an ejection-fraction ridge, a linear segmenter and a linear classifier on 400 training
phantoms (100 more set thresholds), compares anomaly scores with their normals, and judges all
on 200 test phantoms under every fault. Needs the folder of ``benchmarks/learning.py`` with a
trained encoder. What is there already is not made again. Prints tables of docs/robustness.md.

    python benchmarks/robustness.py learning --method discovr --out robustness
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from learning import PRESETS, load_encoder

from echocli.api import classify, lvef, segment
from echocli.api._pretrain.settings import resolve_settings
from echocli.api._robust_clips import clip_with
from echocli.api.robustness import CLEAN, RobustnessConfig, robustness
from echocli.checkpoint import save_model
from echocli.clips.store import ClipSet, ClipSetWriter

COUNTS = {"train": 400, "val": 100, "test": 200}
TASKS = ("lvef", "segment", "classify", "score")
NAMES = {"dev": "val"}
"""Splits of the learning benchmark that have another name here."""


def write_clips(source: Path, out: Path) -> None:
    """Write some patients of every split of the learning benchmark."""
    clips = ClipSet.open(source)
    splits = clips.manifest["split"].replace(NAMES)
    with ClipSetWriter(out) as writer:
        for name, count in COUNTS.items():
            for row in np.flatnonzero(splits == name)[:count].tolist():
                clip = clip_with(clips, row, clips.frames(row), clips.sector(row))
                writer.add(replace(clip, labels={**clip.labels, "split": name}))


def write_model(runs: Path, method: str, out: Path) -> None:
    """Write the encoder that was trained longest as a model."""
    settings = resolve_settings(method=method, preset=PRESETS[method], changes=[]).value
    newest = max((runs / method).glob("*.pt"))
    encoder = load_encoder(settings, newest)
    save_model(out, encoder, settings.data, method, {"clip_size": 64})


def fit(task: str, clips: Path, model: Path, head: Path) -> None:
    """Fit a task's plainest head."""
    if task == "lvef":
        lvef.fit(clips, model, head)
    elif task == "segment":
        segment.fit(clips, model, head)
    elif task == "classify":
        classify.fit(clips, model, head, config=classify.ClassifyConfig(label="normal"))


def rows_of(table: pd.DataFrame) -> list[str]:
    """Return the lines of a Markdown table: a fault a line, each figure beside its change."""
    figures = table["figure"].unique().tolist()
    strengths = sorted(set(table["strength"]) - {0.0})
    clean = table[table["perturbation"] == CLEAN].set_index("figure")
    first = "".join(
        f" {clean['value'][f]:.3g} ({clean['low'][f]:.3g} to {clean['high'][f]:.3g}) |"
        for f in figures
    )
    lines = [f"| fault | strength | {' | '.join(figures)} |", "|---" * (2 + len(figures)) + "|"]
    lines.append(f"| none | |{first}")
    for name in [n for n in table["perturbation"].unique() if n != CLEAN]:
        for strength in strengths:
            rows = table[(table["perturbation"] == name) & (table["strength"] == strength)]
            cells = "".join(
                f" {r['worse_by']:+.3f} ({r['worse_low']:+.3f} to {r['worse_high']:+.3f}) |"
                for r in rows.set_index("figure").loc[figures].to_dict("records")
            )
            lines.append(f"| {name} | {strength:g} |{cells}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("learning", type=Path, help="folder of benchmarks/learning.py")
    parser.add_argument("--method", choices=list(PRESETS), default="discovr")
    parser.add_argument("--out", type=Path, default=Path("robustness"))
    parser.add_argument("--tasks", nargs="*", choices=TASKS, default=TASKS)
    options = parser.parse_args()
    clips, model = options.out / "clips", options.out / options.method / "model"
    if not ClipSet.is_one(clips):
        write_clips(options.learning / "clips", clips)
    if not model.exists():
        write_model(options.learning / "runs", options.method, model)
    for task in options.tasks:
        began = time.process_time()
        head = None if task == "score" else options.out / options.method / "heads" / task
        if head is not None and not head.exists():
            fit(task, clips, model, head)
        out = options.out / options.method / "robustness" / task
        if not out.exists():
            config = RobustnessConfig(strengths=(0.25, 0.5, 1.0))
            robustness(task, clips, out, head=head, model=model, config=config)
        table = pd.read_csv(out / "robustness.csv")
        print(
            f"\n{task}: {table['rows'][0]} rows, {time.process_time() - began:.0f} s of CPU\n"
        )
        print("\n".join(rows_of(table)), flush=True)


if __name__ == "__main__":
    main()
