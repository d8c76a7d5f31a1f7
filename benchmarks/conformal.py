"""How many normal patients `score` calls anomalous at a false-positive rate of 5 %.

Normal phantoms are embedded once, by random weights of the laptop's shape, or by an encoder of
``learning.py``. Then they are dealt into bank, calibration and test many times, and each time
``score`` itself judges the test patients, of whom every one that is called is a false alarm.

    python benchmarks/conformal.py                            # draws 2,900 phantoms once
    python benchmarks/conformal.py --encoder learning/runs/discovr/012000.pt
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from learning import load_encoder, random_encoder
from learning_clips import Sizes, make_clips
from numpy.typing import NDArray

from echocli.api._encode import encode_clips
from echocli.api._pretrain.settings import resolve_settings
from echocli.api.score import ScoreConfig, score
from echocli.checkpoint import load_model, save_model
from echocli.clips.store import ClipSet
from echocli.models.tasks.anomaly import DISTANCES
from echocli.tables import SCHEMA, Embeddings, write_embeddings

RATE = 0.05
CALIBRATING = (19, 99, 299)
"""Patients; with fewer than 19, nothing can be called at 5 %."""
TESTED = 400
"""Patients: the fewer, the more the share that is called varies by chance alone."""


def embed_normals(folder: Path, encoder_file: Path | None, workers: int) -> Embeddings:
    """Return the embeddings of all normal phantoms, none of which the encoder had labels of."""
    make_clips(folder / "clips", Sizes(), workers)
    clips = ClipSet.open(folder / "clips").where("normal")
    settings = resolve_settings(preset="laptop", environment={}).value
    encoder = random_encoder(settings)
    if encoder_file is not None:
        encoder = load_encoder(settings, encoder_file)
    with tempfile.TemporaryDirectory() as place:
        save_model(Path(place), encoder, settings.data, settings.method, {})
        found = encode_clips(load_model(Path(place)), clips, device="cpu")
    columns = ["clip_id", "patient_id", "study_id", "source_sha256", "normal"]
    table = clips.manifest.iloc[found.rows][columns].reset_index(drop=True)
    metadata = {"schema": SCHEMA, "per": "clip", "pool": "mean_std"}
    return Embeddings(table, found.features, metadata)


def deal(patients: int, calibrating: int, seed: int) -> NDArray[np.str_]:
    """Return a split of each patient: the rest of them is the bank."""
    splits = np.full(patients, "train", dtype="<U5")
    order = np.random.default_rng(seed).permutation(patients)
    splits[order[:calibrating]] = "val"
    splits[order[calibrating : calibrating + TESTED]] = "test"
    return splits


def called(normals: Embeddings, splits: NDArray[np.str_], distance: str) -> float:
    """Return the share of the test patients that ``score`` calls anomalous."""
    table = normals.table.assign(split=splits)
    config = ScoreConfig(distance=distance, per="patient", false_positive_rate=RATE)
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "normals.parquet"
        write_embeddings(file, Embeddings(table, normals.vectors, normals.metadata))
        said: pd.DataFrame = score(file, config=config).table
    return float(said.loc[said["split"] == "test", "anomalous"].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("learning"))
    parser.add_argument("--encoder", type=Path, help="weights of a DISCOVR of learning.py")
    parser.add_argument("--splits", type=int, default=100)
    parser.add_argument("--distances", nargs="*", choices=DISTANCES, default=DISTANCES)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    normals = embed_normals(options.folder, options.encoder, options.workers)
    patients = len(normals.table)
    assert normals.table["patient_id"].is_unique
    print(f"{patients} normal phantoms; {options.splits} splits, {TESTED} tested in each")
    print("| distance | calibrate | called, mean | 90 % of splits | splits from 3 to 7 % |")
    print("|---|---|---|---|---|")
    for distance in options.distances:
        for calibrating in CALIBRATING:
            shares = np.array(
                [
                    called(normals, deal(patients, calibrating, seed), distance)
                    for seed in range(options.splits)
                ]
            )
            low, high = np.quantile(shares, (0.05, 0.95))
            inside = np.mean((shares >= 0.03) & (shares <= 0.07))
            print(
                f"| {distance} | {calibrating} | {shares.mean():.1%} | {low:.1%} to {high:.1%} "
                f"| {inside:.0%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
