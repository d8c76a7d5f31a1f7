"""What short pretrainings buy, for every method, task and share of the labels, by three seeds.

A cell is one training, or all that one encoder said of the judged patients; each is a file of
its own, the first seed of everything before the second. What is there is not made again, so
that a call that was cut off goes on, and the tables tell how many seeds stand behind a row.

    python benchmarks/learning_table.py                      # all: about 2.5 hours of one core
    python benchmarks/learning_table.py --parts pretrain     # encoders alone
    python benchmarks/learning_table.py --parts judge supervised --seeds 0
    python benchmarks/learning_table.py --parts table --into docs/learning.md
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from learning import LABELLED, load_encoder, pretrain, random_encoder
from learning_clips import Sizes, make_clips
from learning_figures import Judge, Values, embed, pixel_features
from learning_supervised import TASKS
from learning_table_report import tables
from sklearn.covariance import LedoitWolf
from torch import Tensor

from echocli.api._pretrain.settings import Settings, resolve_settings
from echocli.models.health import health
from echocli.models.tasks.anomaly import NearestNormals, Whitening
from echocli.models.tasks.classification import LinearClassifier, balanced_weights
from echocli.models.tasks.lvef import AttentiveProbe, RidgeProbe
from echocli.models.vit import VisionTransformer

STEPS = 2000
SEEDS = (0, 1, 2)
SHARES = (100, 50, 20, 10)
"""Of the labelled patients, in percent."""
RECIPES: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "discovr": ("discovr", "laptop", ()),
    "vjepa": ("vjepa", "laptop-vjepa", ()),
    "vjepa-local": ("vjepa", "laptop-vjepa", ("vjepa.jepa_weight=0.25",)),
    "videomae": ("videomae", "laptop", ()),
}
"""Method, preset and changed settings; 0.25 is the best of Ellis et al. (arXiv 2507.18424)."""
RANDOM = {"random-cls": "discovr", "random": "vjepa"}
"""Random weights with a class token, as DISCOVR begins, and without, as all others do."""
PARTS = ("pretrain", "judge", "supervised", "table")
Said = dict[str, Values]
"""What was said of every judged patient, by figure and share of the labels."""


@dataclass(frozen=True)
class Desk:
    """Where everything lies, and who judges."""

    folder: Path
    judge: Judge

    @property
    def clips(self) -> Path:
        """The phantoms."""
        return self.folder / "clips"

    def run(self, recipe: str, seed: int) -> Path:
        """Return where a training leaves its encoder."""
        return self.folder / "runs" / f"{recipe}-seed{seed}"

    def cell(self, row: str, seed: int, part: str = "all") -> Path:
        """Return the file of a cell."""
        return self.folder / "cells" / f"{row}-seed{seed}-{part}.json"


def settings_of(recipe: str, seed: int, steps: int = STEPS) -> Settings:
    """Return the settings of a training."""
    method, preset, changes = RECIPES[recipe]
    words = (*changes, f"optim.steps={steps}", f"seed={seed}")
    return resolve_settings(method=method, preset=preset, changes=words, environment={}).value


def known_rows(seed: int, known: int) -> Iterator[tuple[int, Tensor]]:
    """Yield every share and the patients it holds: a smaller one is part of a larger one."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(known))
    for share in SHARES:
        yield share, order[: round(known * share / 100)]


def from_vectors(judge: Judge, known: Tensor, asked: Tensor, seed: int) -> Said:
    """Fit linear probes and distances on one vector a patient.

    Args:
        judge: The patients.
        known: Vectors of those with labels.
        asked: Vectors of those to be judged.
        seed: Draws who has labels, and the folds.
    """
    fraction = torch.tensor(judge.known.manifest["ef_percent"].to_numpy(np.float32))
    normal = torch.tensor(judge.known.manifest["normal"].to_numpy(bool))
    said: Said = {}
    for share, rows in known_rows(seed, len(known)):
        each, draw = torch.arange(len(rows)), torch.Generator().manual_seed(seed)
        ridge = RidgeProbe().fit(known[rows], fraction[rows], each, draw)
        said[f"ef/{share}"] = ridge.predict(asked).double().numpy()
        abnormal = (~normal[rows]).long()
        linear = LinearClassifier().fit(
            known[rows], abnormal, each, draw, balanced_weights(abnormal, 2)
        )
        logits = linear.logits(asked)
        said[f"abnormal/{share}"] = (logits[:, 1] - logits[:, 0]).double().numpy()
    bank = known[normal]
    fitted = LedoitWolf().fit(bank.double().numpy())
    white = Whitening.of(*map(torch.from_numpy, (fitted.location_, fitted.covariance_)))
    for name, distance in (
        ("cosine", NearestNormals()),
        ("mahalanobis", NearestNormals(distance="mahalanobis", whitening=white)),
    ):
        said[name] = distance.fit(bank).score(asked).double().numpy()
    return said


def from_encoder(judge: Judge, encoder: VisionTransformer, seed: int) -> tuple[Said, float]:
    """Fit every probe on frozen features; return what they say, and the effective rank."""
    known, asked = judge.tokens(encoder)
    vectors = [embed(tokens, judge.grid) for tokens in (known, asked)]
    said = from_vectors(judge, vectors[0], vectors[1], seed)
    fraction = torch.tensor(judge.known.manifest["ef_percent"].to_numpy(np.float32))
    draw = torch.Generator().manual_seed(seed)
    probe = AttentiveProbe(judge.shape.heads)
    probe.fit(known, fraction, torch.arange(len(known)), draw)
    said["attentive"] = probe.predict(asked).double().numpy()
    seen, judged = judge.frames(encoder)
    for share, rows in known_rows(seed, len(known)):
        draw = torch.Generator().manual_seed(seed)
        said[f"dice/{share}"] = judge.dice(seen.of(rows), judged, draw)
    return said, health(vectors[1]).effective_rank


def keep(path: Path, said: Said, rank: float | None = None) -> None:
    """Write a cell, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {
        name: [None if np.isnan(v) else round(float(v), 5) for v in one]
        for name, one in said.items()
    }
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps({"rank": rank, "said": values}))
    temporary.rename(path)


def tell(what: str, since: float) -> None:
    """Print what a cell cost."""
    print(f"{what}: {time.process_time() - since:.0f} s of the processor", flush=True)


def pretrain_seed(desk: Desk, seed: int) -> None:
    """Train what of a seed is not trained yet."""
    for recipe in RECIPES:
        run = desk.run(recipe, seed)
        if not (run / f"{STEPS:06d}.json").exists():
            since = time.process_time()
            pretrain(settings_of(recipe, seed), desk.clips, run, shares=(1.0,))
            tell(f"{recipe}, seed {seed}, trained", since)


def judge_seed(desk: Desk, seed: int) -> None:
    """Judge what of a seed is trained, random weights, and plain pixels."""
    for row in (*RECIPES, *RANDOM, "pixels"):
        cell, since = desk.cell(row, seed), time.process_time()
        trained = desk.run(row, seed) / f"{STEPS:06d}.json"
        if cell.exists() or (row in RECIPES and not trained.exists()):
            continue
        if row == "pixels":
            known, asked = pixel_features(desk.judge)
            rank = health(asked).effective_rank
            keep(cell, from_vectors(desk.judge, known, asked, seed), rank)
        elif row in RANDOM:
            encoder = random_encoder(settings_of(RANDOM[row], seed))
            keep(cell, *from_encoder(desk.judge, encoder, seed))
        else:
            encoder = load_encoder(settings_of(row, seed), trained.with_suffix(".pt"))
            keep(cell, *from_encoder(desk.judge, encoder, seed))
        tell(f"{row}, seed {seed}, judged", since)


def supervise_seed(desk: Desk, seed: int) -> None:
    """Train on labels from random weights: every task and share of the labels."""
    settings = settings_of("videomae", seed)
    for task, said_of in TASKS.items():
        for share, rows in known_rows(seed, len(desk.judge.known)):
            cell, since = desk.cell("supervised", seed, f"{task}-{share}"), time.process_time()
            if not cell.exists():
                keep(cell, {f"{task}/{share}": said_of(settings, desk.judge, rows, seed)})
                tell(f"supervised, {task}, {share} % of the labels, seed {seed}", since)


def put(page: Path, made: str) -> None:
    """Put tables between the marks of a page, in place of those that stand there."""
    before, mark, rest = page.read_text().partition("<!-- learning_table.py -->\n")
    _, end, after = rest.partition("<!-- until here -->")
    assert mark and end, f"{page} has no place for the tables."  # noqa: PT018
    page.write_text(f"{before}{mark}\n{made}\n\n{end}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("learning"))
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    parser.add_argument("--into", type=Path, help="page that holds the tables")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    make_clips(options.folder / "clips", Sizes(), options.workers)
    first = settings_of("videomae", 0)
    shape = first.encoder.vit(first.data)
    judge = Judge(options.folder / "clips", "test", first.data, shape, LABELLED)
    desk = Desk(options.folder, judge)
    steps = {"pretrain": pretrain_seed, "judge": judge_seed, "supervised": supervise_seed}
    for seed in options.seeds:
        for part, do in steps.items():
            if part in options.parts:
                do(desk, seed)
    if "table" in options.parts:
        made = tables(options.folder / "cells", judge)
        print(made)
        if options.into is not None:
            put(options.into, made)


if __name__ == "__main__":
    main()
