"""Is a heart that hardly moves strange? A score that asks both ways, chosen on ``dev``.

Distances from normal call strange what is far out. Of how much every place changes over time,
sick phantoms are nearer to the middle than most normals: they move less. So of motion the score
asks whether a patient is untypical either way, of the mean of the tokens whether it is far:

    far = p-value of the Mahalanobis distance of the mean of the tokens
    odd = 2 min(p, 1 - p) of the mean Mahalanobis distance of a place's change over time
    score = -log far - log odd (Fisher's combination)

all by the normals of the training split alone.

    python benchmarks/learning.py --only discovr vjepa    # once: clips/ and runs/ in learning/
    python benchmarks/learning_anomaly.py                 # the 600 test patients, two minutes
    python benchmarks/learning_anomaly.py --split dev     # those that chose it

Source:
    Typical rather than likely: Nalisnick et al. 2019 (arXiv 1906.02994).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from anomaly import difference
from learning import PRESETS, load_encoder, random_encoder
from learning_clips import open_split, places_of
from learning_figures import Values, encode, windows_of
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf
from torch import Tensor

from echocli.api._pretrain.settings import resolve_settings
from echocli.models.shapes import Grid
from echocli.models.tasks.anomaly import NearestNormals
from echocli.models.vit import VisionTransformer
from echocli.statistics.bootstrap import Metric, bootstrap_intervals
from echocli.statistics.classification import auroc

FITTED = 20_000
"""Places, of all normals, that the covariance of change over time is estimated of."""
BOTH = "far or untypical"


def pooled(tokens: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Return the mean of the tokens, and how much each place changes, means over windows."""
    means, changes = [], []
    for part in tokens.split(64):
        x = part.float().unflatten(2, (grid[0], -1))
        means.append(x.mean(dim=(1, 2, 3)))
        changes.append(x.std(dim=2, correction=0).mean(dim=1))
    return torch.cat(means), torch.cat(changes)


def distances(fit_on: Tensor, rows: Tensor) -> Values:
    """Return Mahalanobis distances, the covariance shrunk as ``score`` has it."""
    fitted = LedoitWolf().fit(fit_on.double().numpy())
    return np.sqrt(fitted.mahalanobis(rows.double().numpy()))


def of_places(fit_on: Tensor, rows: Tensor) -> Values:
    """Return the mean over places of their distances."""
    some = fit_on.flatten(0, 1)
    draw = torch.Generator().manual_seed(0)
    some = some[torch.randperm(len(some), generator=draw)[:FITTED]]
    return distances(some, rows.flatten(0, 1)).reshape(rows.shape[:2]).mean(axis=1)


def p_values(normals: Values, asked: Values) -> Values:
    """Return the share of normals at least as far."""
    above = len(normals) - np.searchsorted(np.sort(normals), asked, side="left")
    return (1 + above) / (len(normals) + 1)


def scores(
    normals: tuple[Tensor, Tensor], asked: tuple[Tensor, Tensor]
) -> Mapping[str, Values]:
    """Return what ``score`` offers, the parts, and both together; higher is stranger."""
    both = [torch.cat([x, c.mean(dim=1)], dim=1) for x, c in (normals, asked)]
    of_normals, of_asked = (distances(normals[0], x) for x in (normals[0], asked[0]))
    own, change = (of_places(normals[1], x) for x in (normals[1], asked[1]))
    odd = 2 * np.minimum(p_values(own, change), p_values(-own, -change))
    far = p_values(of_normals, of_asked)
    return {
        "cosine, mean_std (default)": NearestNormals().fit(both[0]).score(both[1]).numpy(),
        "Mahalanobis, mean": of_asked,
        "Mahalanobis, change of places": change,
        BOTH: -np.log(far) - np.log(np.minimum(1, odd)),
    }


def judged(
    method: str, folder: Path, split: str, encoders: Mapping[str, VisionTransformer]
) -> tuple[NDArray[np.str_], dict[str, Mapping[str, Values]]]:
    """Return what is the matter with every judged patient, and the scores by encoder."""
    settings = resolve_settings(method=method, preset=PRESETS[method], environment={}).value
    grid = settings.encoder.vit(settings.data).grid
    known = open_split(folder / "clips", "train", settings.data)
    known = known.subset(np.flatnonzero(known.manifest["normal"].to_numpy(bool)))
    clips = (known, open_split(folder / "clips", split, settings.data))
    places = places_of(clips, settings.data, grid)
    found = {}
    for name, encoder in encoders.items():
        normals, asked = (
            pooled(
                encode(encoder.eval(), windows_of(one, settings.data), where, settings.data),
                grid,
            )
            for one, where in zip(clips, places, strict=True)
        )
        found[name] = scores(normals, asked)
    return clips[1].manifest["abnormality"].to_numpy(np.str_), found


def report(kinds: NDArray[np.str_], found: Mapping[str, Mapping[str, Values]]) -> None:
    """Print areas with intervals, by kind of abnormality, and paired differences."""
    abnormal = kinds != "none"
    metrics: dict[str, Metric] = {}
    for name, own in found.items():
        for score, values in own.items():
            metrics[f"{name}, {score}"] = partial(auroc, abnormal, values)
        for kind in np.unique(kinds[abnormal]):
            apart = partial(of_kind, abnormal, kinds == kind, own[BOTH])
            metrics[f"{name}, {BOTH}, {kind} alone"] = apart
        for other in ("cosine, mean_std (default)", "Mahalanobis, mean"):
            metrics[f"{name}, {BOTH} less {other}"] = partial(
                difference, abnormal, own[BOTH], own[other]
            )
    trained, random = found
    metrics[f"{BOTH}, {trained} less {random}"] = partial(
        difference, abnormal, found[trained][BOTH], found[random][BOTH]
    )
    for what, interval in bootstrap_intervals(metrics, np.arange(len(kinds)), seed=0).items():
        print(f"{what}: {interval}", flush=True)


def of_kind(
    abnormal: NDArray[np.bool_], kind: NDArray[np.bool_], values: Values, weights: Values
) -> Values:
    """Return the area of one kind of abnormality against the normals."""
    return auroc(abnormal, values, weights * (kind | ~abnormal))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("learning"))
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for method in ("discovr", "vjepa"):
        settings = resolve_settings(method=method, preset=PRESETS[method], environment={}).value
        last = max((options.folder / "runs" / method).glob("*.pt"))
        encoders = {
            method: load_encoder(settings, last),
            f"{method}'s random weights": random_encoder(settings),
        }
        report(*judged(method, options.folder, options.split, encoders))


if __name__ == "__main__":
    main()
