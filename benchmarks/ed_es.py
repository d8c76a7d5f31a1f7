"""How far the end-diastole and end-systole that masks tell lie from the phantoms' own.

Draws test phantoms again, whose R waves and volumes are known in every frame, and compares the
frames that ``echocli segment`` finds with the nearest true ones: once in the true masks of all
frames, which is what the rule itself errs, once in masks that a head draws.

    python benchmarks/ed_es.py --model runs/mine            # an encoder of yours, at 64 pixels
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.api import segment
from echocli.api._segment.measures import volume_curve, volume_row
from echocli.clips.writer import ClipSetWriter
from echocli.datasets.phantom import clip_of
from echocli.phantoms.layouts import split_of
from echocli.phantoms.patient import PhantomConfig, PhantomLoop, draw_patient, render

POPULATION = 59
CONFIG = PhantomConfig(size=64)


def true_ends(loop: PhantomLoop) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the frames of every end-diastole and every end-systole in a loop.

    End-diastole is the frame of an R wave; a loop that begins or ends in diastole has its
    fullest frame there, too. End-systole is the smallest volume between two R waves.
    """
    times, volumes = loop.times_s, loop.volumes_ml
    waves = [int(np.abs(times - wave).argmin()) for wave in loop.r_peaks_s]
    ends = [0, *waves, len(times)]
    systoles = [
        first + int(volumes[first:last].argmin())
        for first, last in pairwise(ends)
        if last - first > 2 and volumes[first:last].min() < 1.02 * volumes.min()
    ]
    return np.unique([*waves, loop.ed_frame]), np.unique([*systoles, loop.es_frame])


def errors(found: dict[str, int], loop: PhantomLoop) -> dict[str, float]:
    """Return how far both frames are off, in frames and ms, and what volume that misses."""
    row: dict[str, float] = {}
    for name, wanted, true in zip(
        ("ed", "es"), true_ends(loop), (loop.edv_ml, loop.esv_ml), strict=True
    ):
        frame = found[f"{name}_frame"]
        nearest = int(wanted[np.abs(wanted - frame).argmin()])
        row[f"{name}_frames"] = abs(frame - nearest)
        row[f"{name}_ms"] = 1000 * abs(float(loop.times_s[frame] - loop.times_s[nearest]))
        row[f"{name}_ml"] = abs(float(loop.volumes_ml[frame]) - true)
    return row


def line(name: str, rows: list[dict[str, float]]) -> str:
    """Return a line of the table: medians, and what nine of ten stay below."""
    table = pd.DataFrame(rows)
    cells = []
    for end in ("ed", "es"):
        for unit in ("frames", "ms", "ml"):
            values = table[f"{end}_{unit}"]
            cells.append(f"{values.median():.3g} ({values.quantile(0.9):.3g})")
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--patients", type=int, default=200)
    options = parser.parse_args()
    patients = [draw_patient(POPULATION, index, CONFIG) for index in range(options.patients)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            ClipSetWriter(folder / "clips") as all_clips,
            ClipSetWriter(folder / "test") as test_clips,
        ):
            for patient in patients:
                clip = clip_of(patient, CONFIG.size)
                all_clips.add(clip)
                if split_of(patient.index) == "test":
                    test_clips.add(clip)
        segment.fit(folder / "clips", options.model, folder / "head")
        segment.predict(folder / "test", folder / "head", folder / "masks", overlays=0)
        drawn = pd.read_csv(folder / "masks" / "volumes.csv").set_index("patient_id")
    true_rows, drawn_rows, beat = [], [], []
    for patient in patients:
        if split_of(patient.index) != "test":
            continue
        loop = render(patient, height=CONFIG.size, width=CONFIG.size)
        curve = volume_curve(loop.masks, loop.times_s, loop.spacing_mm)
        row = volume_row(loop.masks, loop.sector, curve, loop.spacing_mm)
        true_rows.append(errors(row, loop))
        found = drawn.loc[f"p{patient.seed:04d}-{patient.index:06d}"]
        drawn_rows.append(errors({k: int(found[k]) for k in ("ed_frame", "es_frame")}, loop))
        beat.append(60_000 / patient.rhythm.rate_bpm)
    print(f"{len(beat)} test phantoms, beats of {min(beat):.0f} to {max(beat):.0f} ms")
    print("| masks | ED, frames | ms | ml | ES, frames | ms | ml |\n" + "|---" * 7 + "|")
    print(line("true", true_rows))
    print(line("linear head", drawn_rows))


if __name__ == "__main__":
    main()
