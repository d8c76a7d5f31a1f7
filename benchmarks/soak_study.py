"""Takes thousands of phantom files through preprocess, embed and score, and counts every one.

    python benchmarks/soak_study.py [--files 5000] [--bad 50] [--seed 0]

Every file differs from the others; some are no pictures. Afterwards each input must be a clip
or stand in the quarantine, each clip must have one row of embeddings and one score, and no row
may stand there twice. The memory of each command is read while it works: its largest size in
the last quarter of the time must not exceed that of the second quarter by more than a tenth.
Ends with 1 if one file is lost or memory grows. Files are tiny, the model is random.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np
import pandas as pd
from hard_study import write_model
from originals import dataset, grey_frames, saved

from echocli.api._preprocess.quarantine import read_quarantine
from echocli.api.verify import verify
from echocli.clips.store import ClipSet
from echocli.tables import read_embeddings

KEY = "3c" * 32
GROWTH = 1.1
"""How much larger a command may become from the second quarter of its time to the last."""
SECONDS = 0.25
"""Between two looks at the memory."""
LOOKS = 240
"""Fewer say nothing: libraries are still being loaded."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument(
        "--bad", type=int, default=50, help="of these, files that are no picture"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        root = Path(name)
        write_files(root, options.files, options.bad, options.seed)
        write_model(root, seconds=0.1)
        (root / "key").write_text(KEY)
        (root / "key").chmod(0o600)
        device = ("--device", "cpu", "--precision", "fp32")
        rule = ("--normal-rule", "ef_percent>=30", "--device", "cpu")
        grown = [
            watch(root, 4, "preprocess", "--size", "32", "--workers", "1"),
            watch(root, 0, "embed", "--windows", "1", *device),
            watch(root, 0, "score", "--anomaly", *rule),
        ]
        wrong = accounted(root, options.files, options.bad)
    told = wrong or "all accounted for"
    print(f"{options.files} files, {options.bad} of them no picture: {told}")
    return 1 if wrong or any(grown) else 0


def write_files(root: Path, files: int, bad: int, seed: int) -> None:
    """Write loops of different speckle, each of a patient of its own, with labels."""
    generator, frames = np.random.default_rng(seed), grey_frames()
    (root / "dicom").mkdir()
    rows = ["file,ef_percent,split"]
    wrong = {int(n) for n in generator.choice(files, bad, replace=False)}
    for number in range(files):
        path = root / "dicom" / f"{number:06}.dcm"
        if number in wrong:
            path.write_bytes(generator.bytes(4000))
            continue
        turned = np.roll(frames, number % len(frames), axis=0)
        speckle = generator.integers(0, 3, turned.shape, np.uint8)
        loop = dataset(np.where((turned > 9) & (turned < 250), turned + speckle, turned))
        loop.PatientID = f"P{number}"
        path.write_bytes(saved(loop))
        split = "test" if number % 4 == 0 else "train"
        rows.append(f"{path.name},{generator.uniform(20, 70):.1f},{split}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")


def watch(root: Path, allowed: int, *words: str) -> bool:
    """Run a command and return whether its memory grew.

    Args:
        root: The study folder.
        allowed: Another exit code than 0 that is right.
        words: The command.
    """
    began, sizes = time.monotonic(), []
    environment = {**os.environ, "ECHOCLI_KEY_FILE": str(root / "key"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "echocli", *words, "--quiet"]
    with subprocess.Popen(command, cwd=root, env=environment) as process:
        while process.poll() is None:
            sizes.append(resident(process.pid))
            time.sleep(SECONDS)
    assert process.returncode in (0, allowed), f"{words[0]} ended with {process.returncode}"
    quarter = max(1, len(sizes) // 4)
    second, last = max(sizes[quarter : 2 * quarter] or sizes), max(sizes[-quarter:])
    grew = len(sizes) >= LOOKS and last > GROWTH * second
    memory = f"{second >> 20} MiB in the second quarter of the time, {last >> 20} in the last"
    told = f"{words[0]}: {time.monotonic() - began:.0f} s, {memory}"
    print(f"{told}: IT GREW" if grew else told, flush=True)
    return grew


def resident(process: int) -> int:
    """Return the bytes of memory that a process and those that it started hold."""
    total, waiting = 0, [process]
    while waiting:
        pid = waiting.pop()
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf(
                "SC_PAGE_SIZE"
            )
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        except OSError:  # it has ended meanwhile
            continue
        waiting += [int(word) for word in children.split()]
    return total


def accounted(root: Path, files: int, bad: int) -> str:
    """Return what is lost, doubled or damaged; nothing if nothing is."""
    clips = ClipSet.open(root / "clips").manifest
    refused = read_quarantine(root / "clips" / "quarantine.csv")
    rows = read_embeddings(root / "embeddings.parquet").table["clip_id"]
    scores = pd.read_csv(root / "scores.csv")["clip_id"]
    ids = set(clips["clip_id"])
    found = {
        "clips": len(clips) == len(ids) == files - bad,
        "patients": clips["patient_id"].nunique() == files - bad,
        "labels": bool(clips["ef_percent"].notna().all()),
        "refused": len({entry.position for entry in refused}) == len(refused) == bad,
        "embeddings": len(rows) == len(set(rows)) and set(rows) == ids,
        "scores": len(scores) == len(set(scores)) and set(scores) == ids,
        "verify": verify(root).whole,
    }
    return ", ".join(f"{name} WRONG" for name, right in found.items() if not right)


if __name__ == "__main__":
    sys.exit(main())
