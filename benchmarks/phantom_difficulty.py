"""How much of the phantom's truth is free: what no training at all already finds.

A phantom that untrained features solve proves nothing. The table compares predict-the-mean, a
pixel baseline, random weights with and without temporal statistics, and the volumes of the true
masks, which bound what an outline can give.

    python benchmarks/phantom_difficulty.py
    python benchmarks/phantom_difficulty.py --difficulty easy
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echocli.clips.contract import DataConfig
from echocli.clips.record import Clip
from echocli.clips.windows import to_video, window_indices
from echocli.datasets.phantom import PhantomConfig, phantom_clips
from echocli.models.pooling import pool
from echocli.models.tasks.anomaly import NearestNormals
from echocli.models.tasks.lvef import RidgeProbe
from echocli.models.vit import VisionTransformer, ViTConfig
from echocli.statistics.agreement import agreement
from echocli.statistics.bootstrap import Interval
from echocli.statistics.classification import classification
from echocli.statistics.volumes import cavity_volume_mm3, ejection_fraction_percent

SEED = 23
PART = 25
TEST_FROM = 100_000  # test patients are numbered apart from the others
DATA = DataConfig(frames=16, size=64, seconds=1.0)
ENCODER = ViTConfig(frames=16, size=64, tubelet=(2, 8, 8), dim=192, depth=6, heads=3)
STARTS = (0.5,)  # one window a clip, from its middle


def draw(difficulty: Literal["hard", "easy"], start: int, count: int) -> list[Clip]:
    config = PhantomConfig(difficulty=difficulty, size=DATA.size)
    return list(phantom_clips(config, count, SEED, start=start))


def windows(clip: Clip) -> NDArray[np.uint8]:
    indices = [window_indices(clip.times_s, len(clip.frames), DATA, s) for s in STARTS]
    return np.stack([clip.frames[i] for i in indices if i is not None])


@torch.inference_mode()
def random_features(clips: list[Clip]) -> dict[str, Tensor]:
    """Features of an untrained encoder by each pooling, averaged over the windows."""
    encoder = VisionTransformer(ENCODER, torch.Generator().manual_seed(SEED)).eval()
    rows: dict[str, list[Tensor]] = {kind: [] for kind in ("mean", "mean_std")}
    for clip in clips:
        video = to_video(torch.from_numpy(windows(clip)), DATA)
        tokens = encoder(video)
        for kind, pooled in rows.items():
            pooled.append(pool(tokens, encoder.grid(video.shape), kind).mean(0))
    return {kind: torch.stack(pooled) for kind, pooled in rows.items()}


def pixel_features(clips: list[Clip]) -> Tensor:
    """Mean and temporal deviation of a 16 x 16 picture."""
    rows = []
    for clip in clips:
        video = torch.from_numpy(windows(clip)).float() / 255
        small = torch.nn.functional.avg_pool2d(video, 4)
        still, moving = small.mean(1).mean(0), small.std(1).mean(0)
        rows.append(torch.cat([still.flatten(), moving.flatten()]))
    return torch.stack(rows)


def mask_ef(clip: Clip) -> float:
    """Ejection fraction by Simpson's rule on the two true masks."""
    assert clip.masks is not None
    assert clip.spacing_mm is not None
    found = [cavity_volume_mm3(mask, clip.spacing_mm) for mask in clip.masks]
    volumes = [volume for volume, _ in filter(None, found)]
    return ejection_fraction_percent(max(volumes), min(volumes))


def row(name: str, ef: str, *columns: Interval | str) -> None:
    print(f"| {name} | {ef} | " + " | ".join(str(c) for c in columns) + " |", flush=True)


def ef_error(test: list[Clip], predicted: NDArray[np.float64]) -> Interval:
    truth = np.array([clip.labels["ef_percent"] for clip in test], dtype=np.float64)
    patients = [clip.patient_id for clip in test]
    return agreement(truth, predicted, patients, seed=SEED)["mae"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--difficulty", choices=["hard", "easy"], default="hard")
    parser.add_argument("--train", type=int, default=300)
    parser.add_argument("--test", type=int, default=150)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with ProcessPoolExecutor(options.workers) as workers:
        parts = [
            [
                workers.submit(draw, options.difficulty, first + k, min(PART, count - k))
                for k in range(0, count, PART)
            ]
            for first, count in ((0, options.train), (TEST_FROM, options.test))
        ]
        train, test = ([clip for job in jobs for clip in job.result()] for jobs in parts)
    torch.set_num_threads(options.workers)

    ef = torch.tensor([float(clip.labels["ef_percent"] or 0) for clip in train])
    normal = torch.tensor([bool(clip.labels["normal"]) for clip in train])
    abnormal = np.array([not clip.labels["normal"] for clip in test])
    low = np.array([float(clip.labels["ef_percent"] or 0) < 50 for clip in test])
    print(f"{options.difficulty}: {len(train)} patients to fit, {len(test)} others to test")
    print("| features | EF error | AUROC abnormal | AUROC EF < 50 |\n|---|---|---|---|")
    mean = np.full(len(test), float(ef.mean()))
    row("predict the mean", str(ef_error(test, mean)), "", "")
    kinds = {"pixels, mean and temporal std": (pixel_features(train), pixel_features(test))}
    untrained = random_features(train), random_features(test)
    for kind in untrained[0]:
        kinds[f"random weights, {kind}"] = untrained[0][kind], untrained[1][kind]
    for name, (fit, held) in kinds.items():
        probe = RidgeProbe().fit(
            fit, ef, torch.arange(len(train)), torch.Generator().manual_seed(SEED)
        )
        error = ef_error(test, probe.predict(held).double().numpy())
        model = NearestNormals().fit(fit[normal])
        scores = model.score(held).double().numpy()
        test_patients = [clip.patient_id for clip in test]
        areas = [
            classification(flags, scores, None, test_patients, seed=SEED)["auroc"]
            for flags in (abnormal, low)
        ]
        row(name, str(error), *areas)
    masks = np.array([mask_ef(clip) for clip in test])
    row("true masks, Simpson's rule", str(ef_error(test, masks)), "", "")


if __name__ == "__main__":
    main()
