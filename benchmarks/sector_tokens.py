"""What it brings to look at the sector alone: time, memory, and what is learnt.

Both parts train on hard phantoms through ``echocli pretrain``'s own steps, with all tokens and
with those in the sector. In ``speed`` every training has a process of its own, alone in memory,
and they take turns; time is processor time of one thread. ``learn`` trains the same steps from
the same seeds and measures test patients on frozen features.

    export OMP_WAIT_POLICY=PASSIVE               # waiting is no work, on a busy machine too
    python benchmarks/sector_tokens.py speed     # minutes
    python benchmarks/sector_tokens.py learn     # minutes; --clips reuses those of learning.py
    python benchmarks/sector_tokens.py speed --quick
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from echocli.api._encode import encode_clips, readable
from echocli.api._pretrain.clock import Clock
from echocli.api._pretrain.job import Job
from echocli.api._pretrain.settings import resolve_settings
from echocli.api._sector import sectors_of
from echocli.api._segment.figures import figures
from echocli.api._segment.frames import CLASSES
from echocli.api._segment.labeller import Labeller, mean_map
from echocli.api._segment.networks import TokenNetwork
from echocli.api._segment.tokens import encode_frames, labelled_frames
from echocli.checkpoint import LoadedModel
from echocli.clips.store import ClipSet, ClipSetWriter
from echocli.console import SILENT
from echocli.datasets.phantom import PhantomConfig, phantom_clips
from echocli.device import choose_device
from echocli.models.sector import columns_inside
from echocli.models.tasks.anomaly import NearestNormals
from echocli.models.tasks.lvef import RidgeProbe
from echocli.models.tasks.segmentation import LinearSegmenter
from echocli.statistics.agreement import agreement
from echocli.statistics.classification import classification

POPULATION = 11
METHODS = ("discovr", "vjepa", "videomae")
APART = multiprocessing.get_context("fork")
SHAPES = {
    "ViT-S, 16 f, 112 px, batch 4": (
        112,
        ("encoder.tubelet=[2,16,16]", "optim.batch=4"),
        "small",
    ),
    "tiny: 16 f, 64 px, batch 16": (64, (), "tiny"),
}
"""Side of the stored clips, settings, and the preset below them."""
ARMS: dict[str, float | str] = {"all tokens": "off", "sector": "on", "roomy": 7 / 8}
"""``roomy`` sees seven eighths of the grid: hardly a crop that zooms in loses anything."""
LEARN = (
    *("data.frames=8", "encoder.dim=96", "encoder.depth=4", "encoder.heads=3"),
    *("optim.steps=120", "optim.warmup_steps=12", "optim.lr=1e-3"),
)
"""Small enough for a dozen trainings: 256 tokens, 96 wide, 4 deep, 16 clips a step."""


class Arm(Job):
    """A run that looks at a given share of the grid."""

    wanted: float | str = "on"

    @property
    def share(self) -> float | None:
        """What most clips need, or what is asked for."""
        return super().share if isinstance(self.wanted, str) else self.wanted


def make_clips(folder: Path, size: int, count: int, start: int = 0) -> ClipSet:
    """Write hard phantoms once."""
    if not ClipSet.is_one(folder):
        config = PhantomConfig(difficulty="hard", size=size)
        with ClipSetWriter(folder) as writer:
            for clip in phantom_clips(config, count, POPULATION, start=start):
                writer.add(clip)
    clips = ClipSet.open(folder)
    tiny = resolve_settings(method="vjepa", preset="tiny").value
    return clips.subset(readable(clips, tiny.data)[0])


def job_of(method: str, preset: str, words: Sequence[str], arm: str, clips: ClipSet) -> Arm:
    """Return a run that is ready to train."""
    wanted = ARMS[arm]
    on = f"data.sector_tokens={'false' if wanted == 'off' else 'true'}"
    settings = resolve_settings(method=method, preset=preset, changes=(*words, on)).value
    job = Arm(settings, clips, choose_device("cpu"))
    job.wanted = wanted
    return job


# --- Time and memory ------------------------------------------------------------------------


def turn(folder: Path, method: str, shape: str, arm: str, steps: int) -> dict[str, Any]:
    """Train a few steps and return processor seconds of each, after one to warm up."""
    size, words, preset = SHAPES[shape]
    job = job_of(method, preset, words, arm, make_clips(folder / str(size), size, 24))
    seconds, before = [], time.process_time()
    for record in job.steps(0, Clock(), until=steps + 1):
        assert np.isfinite(record.loss)
        now = time.process_time()
        seconds.append(now - before)
        before = now
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {"seconds": seconds[1:], "peak_gb": peak, "share": job.share or 1.0}


def apart(folder: Path, method: str, shape: str, arm: str, steps: int) -> dict[str, Any]:
    """Take a turn in a process of its own."""
    figures = APART.SimpleQueue()
    child = APART.Process(target=lambda: figures.put(turn(folder, method, shape, arm, steps)))
    child.start()
    found: dict[str, Any] = figures.get()
    child.join()
    return found


def speed(options: argparse.Namespace) -> None:
    """Print the table of time and memory."""
    for shape, (size, words, preset) in SHAPES.items():
        clips = make_clips(options.folder / str(size), size, 24)
        job = job_of("videomae", preset, words, "sector", clips)
        sectors = sectors_of(clips, range(len(clips)), job.stage.data)
        outside = 1 - columns_inside(sectors, job.grid).float().mean().item()
        print(f"{shape}: {outside:.0%} of the columns hold no pixel of the sector")
    print("| training | method | columns seen | s / step | ratio | GB | ratio |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for shape in SHAPES:
        for method in options.methods:
            found: dict[str, list[dict[str, Any]]] = {"all tokens": [], "sector": []}
            for _ in range(options.turns):
                for arm, turns in found.items():
                    turns.append(apart(options.folder, method, shape, arm, options.steps))
            first: dict[str, float] = {}
            for arm, turns in found.items():
                step = statistics.median(s for one in turns for s in one["seconds"])
                peak = statistics.median(one["peak_gb"] for one in turns)
                first = first or {"step": step, "peak": peak}
                print(
                    f"| {shape} | {method}, {arm} | {turns[0]['share']:.3f} | {step:.2f} "
                    f"| {step / first['step']:.2f} | {peak:.2f} | {peak / first['peak']:.2f} |",
                    flush=True,
                )


# --- What is learnt -------------------------------------------------------------------------


def figures_of(model: LoadedModel, sets: dict[str, ClipSet]) -> dict[str, float]:
    """Return what frozen features say of test patients: EF error, AUROC, Dice."""
    known, unseen = sets["train"].manifest, sets["test"].manifest
    patients = unseen["patient_id"].tolist()
    vectors = {
        name: torch.from_numpy(encode_clips(model, clips, windows=2, device="cpu").features)
        for name, clips in sets.items()
    }
    numbers = torch.from_numpy(np.unique(known["patient_id"], return_inverse=True)[1])
    target = torch.tensor(known["ef_percent"].to_numpy(np.float32))
    generator = torch.Generator().manual_seed(POPULATION)
    probe = RidgeProbe().fit(vectors["train"], target, numbers, generator)
    predicted = probe.predict(vectors["test"]).numpy().clip(0, 100)
    measured = unseen["ef_percent"].to_numpy(np.float64)
    normal = torch.tensor(known["normal"].to_numpy(bool))
    scores = NearestNormals().fit(vectors["train"][normal]).score(vectors["test"]).numpy()
    abnormal = ~unseen["normal"].to_numpy(bool)
    place = choose_device("cpu")
    frames = labelled_frames(model, sets["train"], range(len(known)), 1, generator)
    lesson = encode_frames(model, sets["train"], frames, place, SILENT)
    head = LinearSegmenter(model.encoder.config.tubelet, CLASSES)
    head.fit(lesson.tokens, lesson.slots, lesson.masks, generator)
    labeller = Labeller(TokenNetwork(model, head), mean_map(lesson.masks), place)
    drawn = labeller.tested(sets["test"], range(len(unseen)))
    overlap = figures(sets["test"], drawn, seed=POPULATION, draws=100)
    dice = [one["value"] for one in overlap["metrics"]["dice"].values()]
    return {
        "EF error": agreement(measured, predicted, patients, seed=0, draws=100)["mae"].value,
        "AUROC": classification(abnormal, scores, None, patients, seed=0, draws=100)[
            "auroc"
        ].value,
        "Dice": float(np.nanmean(dice)),
    }


def trainings(options: argparse.Namespace) -> Iterator[tuple[str, int, str]]:
    """Yield method, seed and arm of every training."""
    for seed in range(options.seeds):
        for method in options.methods:
            yield from ((method, seed, arm) for arm in options.arms)


def patients(options: argparse.Namespace) -> dict[str, ClipSet]:
    """Return clips to train on and others to test on."""
    counts = {"train": 40, "test": 24} if options.quick else {"train": 240, "test": 160}
    if options.clips:
        every = ClipSet.open(options.clips)
        return {
            name: every.where(f"split == '{name}'").subset(range(count))
            for name, count in counts.items()
        }
    return {
        name: make_clips(options.folder / f"{name}-{count}", 64, count, start)
        for (name, count), start in zip(counts.items(), (0, 100_000), strict=True)
    }


def learn(options: argparse.Namespace) -> None:
    """Print the figures of every training, and their means."""
    sets = patients(options)
    table: dict[tuple[str, str], list[dict[str, float]]] = {}
    for method, seed, arm in trainings(options):
        words = (*LEARN, f"seed={seed}", *(["optim.steps=6"] if options.quick else []))
        job = job_of(method, "tiny", words, arm, sets["train"])
        before = time.process_time()
        for record in job.steps(0, Clock()):
            assert np.isfinite(record.loss)
        seconds = time.process_time() - before
        encoder = job.method.export_encoder().eval()
        model = LoadedModel(encoder, job.stage.data, method, "", {}, options.folder)
        found = {**figures_of(model, sets), "CPU s": seconds}
        table.setdefault((method, arm), []).append(found)
        print(method, arm, seed, found, file=sys.stderr, flush=True)
    names = ("EF error", "AUROC", "Dice", "CPU s")
    print("| features | " + " | ".join(names) + " |\n|---|---|---|---|---|")
    for (method, arm), runs in table.items():
        cells = [f"{statistics.mean(run[name] for run in runs):.3f}" for name in names]
        print(f"| {method}, {arm} | " + " | ".join(cells) + " |")
    for (method, arm), runs in table.items():
        if arm != "all tokens" and (method, "all tokens") in table:
            pairs = list(zip(runs, table[method, "all tokens"], strict=True))
            for name in names[:3]:
                told = ", ".join(f"{one[name] - other[name]:+.3f}" for one, other in pairs)
                print(f"{method}, {arm} less all tokens, {name}, by seed: {told}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=["speed", "learn"])
    parser.add_argument("--folder", type=Path, default=Path("sector-tokens"))
    parser.add_argument("--clips", type=Path, help="clips of learning.py, to learn from")
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--arms", nargs="*", default=["all tokens", "sector"], choices=ARMS)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2, help="a turn, after the warm-up")
    parser.add_argument("--turns", type=int, default=3, help="of each training")
    parser.add_argument("--quick", action="store_true", help="only to see that it runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.quick:
        options.turns, options.seeds = 1, 1
    {"speed": speed, "learn": learn}[options.part](options)


if __name__ == "__main__":
    main()
