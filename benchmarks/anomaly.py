"""Which pooling and distance finds sick phantoms, on patients that nothing was chosen by.

Encoders of ``learning.py`` (its last, and the random weights that it started from) embed the
normal patients it was trained on, as a bank, and 600 patients of its own, drawn apart, to be
judged. Tried beforehand on the 900 patients of ``dev`` and ``test``: see docs/embeddings.md.

    python benchmarks/learning.py --only discovr vjepa   # once: clips/ and runs/ in learning/
    python benchmarks/anomaly.py                         # four minutes, and three to draw
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from learning import PRESETS, load_encoder, random_encoder
from learning_clips import PART, make_part, open_split
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf
from torch import Tensor

from echocli.api._encode import encode_clips
from echocli.api._pretrain.settings import resolve_settings
from echocli.checkpoint import load_model, save_model
from echocli.clips.store import ClipSet
from echocli.models.tasks.anomaly import NearestNormals, Whitening
from echocli.models.vit import VisionTransformer
from echocli.statistics.bootstrap import Metric, Values, bootstrap_intervals
from echocli.statistics.classification import auroc

FIRST = 400_000
"""Number of the first patient: no other benchmark draws these."""
PATIENTS = 600
Scores = dict[str, NDArray[np.float64]]


def draw(folder: Path) -> ClipSet:
    """Draw the patients that judge, what of them is not there yet."""
    for part, start in enumerate(range(0, PATIENTS, PART)):
        if not (folder / "manifest" / f"part-fresh{part:03d}.parquet").exists():
            make_part(folder, part, FIRST + start, PART, "fresh")
    return ClipSet.open(folder)


def scores(bank: Tensor, asked: Tensor) -> Scores:
    """Return the scores by pooling and distance; the first half of mean_std is the mean."""
    found = {}
    half = bank.shape[1] // 2
    for pool, some in (("mean_std", slice(None)), ("mean", slice(half))):
        normals, queries = bank[:, some], asked[:, some]
        fitted = LedoitWolf().fit(normals.double().numpy())
        shape = (torch.from_numpy(a) for a in (fitted.location_, fitted.covariance_))
        white = Whitening.of(*shape)
        for judge in (
            NearestNormals(),
            NearestNormals(distance="whitened", whitening=white),
            NearestNormals(distance="mahalanobis", whitening=white),
        ):
            name = f"{pool} {judge.distance}"
            found[name] = judge.fit(normals).score(queries).double().numpy()
    return found


def judge(method: str, folder: Path, fresh: ClipSet, encoder: VisionTransformer) -> Scores:
    """Return the scores of the fresh patients by one encoder."""
    settings = resolve_settings(method=method, preset=PRESETS[method]).value
    known = open_split(folder / "clips", "train", settings.data)
    normals = known.subset(np.flatnonzero(known.manifest["normal"].to_numpy(bool)))
    with tempfile.TemporaryDirectory() as temporary:
        save_model(Path(temporary), encoder, settings.data, method, {})
        model = load_model(Path(temporary))
    bank, asked = (
        torch.from_numpy(encode_clips(model, clips, device="cpu").features)
        for clips in (normals, fresh)
    )
    return scores(bank, asked)


def difference(abnormal: NDArray[np.bool_], one: Values, other: Values, w: Values) -> Values:
    return auroc(abnormal, one, w) - auroc(abnormal, other, w)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("learning"))
    parser.add_argument("--fresh", type=Path, help="where the patients that judge are drawn")
    options = parser.parse_args()
    torch.set_num_threads(1)
    fresh = draw(options.fresh or options.folder / "fresh")
    abnormal = ~fresh.manifest["normal"].to_numpy(bool)
    print(f"{len(fresh)} patients, {abnormal.sum()} abnormal; AUROC, 95 % intervals")
    for method in ("discovr", "vjepa"):
        settings = resolve_settings(method=method, preset=PRESETS[method]).value
        last = max((options.folder / "runs" / method).glob("*.pt"))
        random, trained = (
            judge(method, options.folder, fresh, encoder)
            for encoder in (random_encoder(settings), load_encoder(settings, last))
        )
        # Against the best of the random scores, not only against its like.
        once = np.ones((1, len(abnormal)))
        best = max(random, key=lambda name: auroc(abnormal, random[name], once)[0])
        metrics: dict[str, Metric] = {}
        for name, ours in trained.items():
            metrics[f"{name}, random"] = partial(auroc, abnormal, random[name])
            metrics[f"{name}, {method}"] = partial(auroc, abnormal, ours)
            for other in dict.fromkeys((name, best)):
                metrics[f"{name}, {method} less random {other}"] = partial(
                    difference, abnormal, ours, random[other]
                )
        found = bootstrap_intervals(metrics, np.arange(len(abnormal)), seed=0)
        for name, interval in found.items():
            print(f"{name}: {interval}", flush=True)


if __name__ == "__main__":
    main()
