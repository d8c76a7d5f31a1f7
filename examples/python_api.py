"""The commands from Python: each is one function that returns a dataclass and raises.

Makes a few phantom DICOM files in a new folder and takes them to embeddings and anomaly scores.

    python examples/python_api.py my-study
"""

from __future__ import annotations

import sys
from pathlib import Path

from echocli.api.embed import embed
from echocli.api.preprocess import preprocess
from echocli.api.pretrain import Choice, pretrain
from echocli.api.score import ScoreConfig, score
from echocli.console import Console
from echocli.datasets.phantom import PhantomConfig, draw_patient, write_dicom_study


def main(folder: Path, patients: int = 30, steps: int = 20) -> None:
    """Run the study."""
    reporter = Console()  # leave it out for silence
    hearts = [draw_patient(3, index, PhantomConfig()) for index in range(patients)]
    write_dicom_study(folder, hearts)

    clips = preprocess([folder], folder / "clips", reporter=reporter)
    print(f"{clips.n_clips} clips of {clips.n_patients} patients")

    run = pretrain(
        folder / "clips",
        Choice(method="vjepa", preset="tiny", steps=steps),
        out=folder / "runs" / "vjepa",
        reporter=reporter,
    )
    print(f"{run.steps_done} steps, loss {run.loss:.3f}, model in {run.model}")

    table = folder / "embeddings.parquet"
    embed(folder / "clips", model=run.model, out=table, reporter=reporter)
    scored = score(
        table,
        out=folder / "scores.csv",
        config=ScoreConfig(false_positive_rate=0.3),
        reporter=reporter,
    )
    print(scored.table[["clip_id", "score", "p_value"]].head())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "my-study"))
