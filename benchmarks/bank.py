"""What a bank of a million normal clips costs: memory, time, and scikit-learn on a slice of it.

Random directions around a common one, as embeddings of one organ are; written to disk by the
same writer as ``echocli embed``. Memory is the peak of a process of its own that runs ``score``
from end to end: every row of both tables hashed, neighbours found, scores written.

    python benchmarks/bank.py --folder /somewhere/with/7/GB
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from echocli.api.score import ScoreConfig, score
from echocli.models.neighbours import bank_of, nearest
from echocli.table_formats import Rows
from echocli.tables import SCHEMA, RowsHash, sink_for

WIDTH = 768
CLIPS_A_PATIENT = 4
PART = 16_384
META = {"schema": SCHEMA, "model_sha256": "0" * 64, "pool": "mean", "data": {}, "windows": 3}


def vectors(count: int, generator: np.random.Generator) -> np.ndarray:
    rows = generator.standard_normal((count, WIDTH), np.float32)
    rows[:, 0] += 20
    return rows


def write(path: Path, count: int, name: str, seed: int) -> None:
    """Write a table of so many rows without holding them."""
    generator = np.random.default_rng(seed)
    digest = RowsHash()
    like = table(0, 1, name)
    with sink_for(path, like, WIDTH, META) as sink:
        for start in range(0, count, PART):
            rows = Rows(
                table(start, min(PART, count - start), name),
                vectors(min(PART, count - start), generator),
            )
            digest.update(*rows)
            sink.add(rows)
        sink.finish({**META, "rows_sha256": digest.hexdigest()})


def table(start: int, count: int, name: str) -> pd.DataFrame:
    numbers = range(start, start + count)
    patients = [f"{name}p{i // CLIPS_A_PATIENT:07d}" for i in numbers]
    return pd.DataFrame(
        {
            "clip_id": [f"{name}{i:016d}" for i in numbers],
            "patient_id": patients,
            "study_id": patients,
            "source_sha256": [f"{i:064x}" for i in numbers],
            "split": "train",
        }
    )


def compare(queries: int, rows: int, rounds: int) -> dict[str, float]:
    """Return seconds of the processor of ours and of scikit-learn, turn by turn."""
    from sklearn.neighbors import NearestNeighbors

    generator = np.random.default_rng(0)
    bank, asked = vectors(rows, generator), vectors(queries, generator)
    judge = NearestNeighbors(n_neighbors=10, metric="cosine", algorithm="brute").fit(bank)
    pieces = bank_of(torch.from_numpy(bank))
    times: dict[str, list[float]] = {"ours": [], "scikit-learn": []}
    for _ in range(rounds):
        start = time.process_time()
        ours = nearest(torch.from_numpy(asked), None, pieces, 10)
        middle = time.process_time()
        theirs = judge.kneighbors(asked)
        times["scikit-learn"].append(time.process_time() - middle)
        times["ours"].append(middle - start)
    same = (ours.rows.numpy() == theirs[1]).mean()
    found = {name: float(np.median(taken)) for name, taken in times.items()}
    return {**found, "ratio": found["scikit-learn"] / found["ours"], "same_neighbours": same}


def whole(folder: Path, device: str) -> None:
    """Score from end to end and print what it took; runs in a process of its own."""
    wall, start = time.monotonic(), time.process_time()
    config = ScoreConfig(draws=10)
    result = score(
        folder / "queries.parquet",
        normals=folder / "bank.parquet",
        out=folder / "scores.csv",
        config=config,
        device=device,
        overwrite=True,
    )
    told = {
        "bank": result.summary["bank"]["clips"],
        "queries": result.summary["n_clips"],
        "seconds": time.monotonic() - wall,
        "processor_seconds": time.process_time() - start,
        "peak_gb": peak_gb(),
        "threads": torch.get_num_threads(),
    }
    sys.stdout.write(f"{json.dumps(told)}\n")


def peak_gb() -> float:
    """Return the most memory of this process; ``getrusage`` would count its parent's too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e6 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="where 3.3 GB may lie; kept and used again")
    parser.add_argument("--bank", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--slice", type=int, nargs=2, default=(1000, 100_000))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--score", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.score:
        whole(options.folder, options.device)
        return
    found = compare(*options.slice, options.rounds)
    print(f"{options.slice[0]} x {options.slice[1]} x {WIDTH}, processor seconds, medians:")
    print("  " + ", ".join(f"{name} {value:.4g}" for name, value in found.items()))
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name, count, seed in (("bank", options.bank, 1), ("queries", options.queries, 2)):
            if not (folder / f"{name}.parquet").exists():
                write(folder / f"{name}.parquet", count, name[0], seed)
        words = [__file__, "--score", "--folder", str(folder), "--device", options.device]
        subprocess.run([sys.executable, *words], check=True)


if __name__ == "__main__":
    main()
