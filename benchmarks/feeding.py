"""Whether a training waits for its clips, and what bringing them costs.

``train`` trains a preset on stored clips and on inputs that lie ready in memory, step by step
in turns: all processor time counts, that of the readers too. ``parts`` tells where the
difference goes. ``readers`` hands out windows by threads and by processes, from memory and from
a disk whose pages the system was asked to forget. ``open`` opens a set of 100,000 clips.
``cycles`` looks for the beat of hard phantoms, which is known.

    export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE   # waiting is no work
    python benchmarks/feeding.py train     # ten minutes of one core
    python benchmarks/feeding.py parts
    python benchmarks/feeding.py readers
    python benchmarks/feeding.py open
    python benchmarks/feeding.py cycles
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from echocli.api._pretrain.clock import Clock
from echocli.api._pretrain.feed import Feed
from echocli.api._pretrain.job import Job
from echocli.api._pretrain.settings import resolve_settings
from echocli.clips.batches import Batches
from echocli.clips.contract import DataConfig
from echocli.clips.cycles import find_cycle
from echocli.clips.manifest import COLUMNS, METADATA_KEY, SCHEMA
from echocli.clips.readers import in_flight
from echocli.clips.store import ClipSet, ClipSetWriter
from echocli.datasets.phantom import PhantomConfig, phantom_clips
from echocli.device import choose_device
from echocli.models.augment import AugmentConfig, augment, draw_changes
from echocli.models.sector import Scan
from echocli.models.shapes import Video
from echocli.phantoms.cycle import r_peaks_s
from echocli.phantoms.patient import draw_patient

POPULATION = 5
RUNS = {
    "tiny, DISCOVR": ("tiny", "discovr", 30),
    "tiny, VideoMAE": ("tiny", "videomae", 120),
    "laptop, DISCOVR": ("laptop", "discovr", 120),
    "laptop, VideoMAE": ("laptop", "videomae", 120),
    "small, DISCOVR": ("small", "discovr", 4),
}
"""Preset, method, and steps; VideoMAE's are the cheapest that there are to feed."""
READY = 4
"""Inputs that are ready; they come round."""
CPU = choose_device("cpu")


class Real(Job):
    """A training on stored clips."""

    @cached_property
    def share(self) -> float | None:
        """What is seen of the grid, looked up once."""
        return super().share


class Ready(Real):
    """The same training, on inputs that lie in memory."""

    @cached_property
    def ready(self) -> list[Video | Scan]:
        """The first inputs of the training."""
        sectors = self.share is not None
        return list(super().inputs(0, READY, Clock(), sectors=sectors))

    def inputs(
        self, first: int, end: int, clock: Clock, *, sectors: bool
    ) -> Iterator[Video | Scan]:
        """Yield what is ready."""
        yield from itertools.islice(itertools.cycle(self.ready), end - first)


def clips_of(folder: Path, size: int, count: int = 48) -> ClipSet:
    """Open hard phantoms; write them first if they are not there."""
    path = folder / f"phantoms-{size}"
    if not ClipSet.is_one(path):
        with ClipSetWriter(path) as writer:
            for clip in phantom_clips(PhantomConfig(size=size), count, POPULATION):
                writer.add(clip)
    return ClipSet.open(path)


def job_of(kind: type[Real], folder: Path, preset: str, method: str) -> Real:
    """Return a training that is ready to begin."""
    settings = resolve_settings(preset=preset, method=method).value
    return kind(settings, clips_of(folder, settings.data.size), CPU)


def taken(real: Real, ready: Real, steps: int) -> tuple[list[float], list[float]]:
    """Take steps of both in turns; return the processor seconds of each step of each."""
    ahead = in_flight(real.readers)  # so that readers have as much to do in the last step
    both = [job.steps(0, Clock(), until=1 + steps + ahead) for job in (real, ready)]
    for records in both:
        assert np.isfinite(next(records).loss)
    spent: tuple[list[float], list[float]] = ([], [])
    everybody, here = time.process_time(), time.thread_time()
    for step in range(steps):
        for which in (0, 1) if step % 2 else (1, 0):
            before = time.thread_time()
            assert np.isfinite(next(both[which]).loss)
            spent[which].append(time.thread_time() - before)
    threads = (time.process_time() - everybody) - (time.thread_time() - here)
    for records in both:
        records.close()  # type: ignore[attr-defined]
    return [seconds + threads / steps for seconds in spent[0]], spent[1]


def waited(job: Real, steps: int) -> float:
    """Take some steps alone; return the share of their time that was waiting."""
    clock = Clock()
    for record in job.steps(0, clock, until=steps):
        assert np.isfinite(record.loss)
    return clock.lap()[1]


def train(options: argparse.Namespace) -> None:
    """Print the table of throughput."""
    print("| training | steps | ready, s / step | stored clips | throughput | data-wait |")
    print("|---|---|---|---|---|---|", flush=True)
    for name, (preset, method, steps) in RUNS.items():
        if not name.startswith(options.only):
            continue
        real = job_of(Real, options.folder, preset, method)
        ready = job_of(Ready, options.folder, preset, method)
        stored, without = taken(real, ready, steps)
        ratio = statistics.median(b / a for a, b in zip(stored, without, strict=True))
        wait = waited(real, max(2, steps // 4))
        cells = f"{statistics.median(without):.3f} | {statistics.median(stored):.3f}"
        print(f"| {name} | {steps} | {cells} | {ratio:.1%} | {wait:.2%} |", flush=True)


def milliseconds(work: Callable[[], object], times: int = 30) -> float:
    """Return what some work takes of one thread."""
    spent = []
    for _ in range(times):
        before = time.thread_time()
        work()
        spent.append(time.thread_time() - before)
    return 1e3 * statistics.median(spent)


def parts(options: argparse.Namespace) -> None:
    """Print what is done for the windows of a step, in milliseconds."""
    print(
        "| preset | windows | read | sectors | normalise | augment |\n|---|---|---|---|---|---|"
    )
    for preset in ("tiny", "laptop", "small"):
        job = job_of(Real, options.folder, preset, "discovr")
        cells = " | ".join(f"{milliseconds(work):.2f}" for work in works(job))
        print(f"| {preset} | {job.batches.batch} | {cells} |", flush=True)


def works(job: Real) -> list[Callable[[], object]]:
    """Return what is done for the windows of a step, one after the other."""
    batches, steps, config = job.batches, itertools.count(), AugmentConfig()
    feed, samples = Feed(batches, CPU.torch, 0, sectors=True), batches.samples(0)
    batch, generator = batches.read(0), torch.Generator().manual_seed(0)
    video = job.to_device(batch)
    return [
        lambda: batches.read(next(steps)),
        lambda: feed._sectors(samples),
        lambda: job.to_device(batch),
        lambda: augment(video, draw_changes(len(video), config, generator)),
    ]


class Steps(Dataset[Tensor]):
    """Batches as PyTorch's own loader asks for them."""

    def __init__(self, batches: Batches, steps: int) -> None:
        self.batches, self.steps = batches, steps

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Tensor:
        return torch.from_numpy(self.batches.read(step).pixels)


def handed_out(batches: Batches, steps: int, threads: int, processes: int) -> Iterator[Tensor]:
    """Yield windows, read by threads, by processes, or by nobody else."""
    if processes:
        yield from DataLoader(Steps(batches, steps), batch_size=None, num_workers=processes)
    else:
        for fed in Feed(batches, CPU.torch, threads).stream(0, steps):
            yield fed.pixels


def processor_s() -> float:
    """Return the processor time of this process, its threads and its ended children."""
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(sum(resource.getrusage(who)[:2]) for who in both)


def forget_pages(clips: ClipSet) -> None:
    """Ask the system to read the clips from the disk again."""
    clips.forget()
    for shard in clips.folder.glob("*.u8"):
        file = os.open(shard, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def readers(options: argparse.Namespace) -> None:
    """Print what windows cost, by who reads them."""
    clips = clips_of(options.folder, 112)
    batches = Batches(clips, DataConfig(), batch=32, seed=0)
    steps, windows = 60, 60 * 32
    print("| readers | windows / processor s | / s from memory | / s from disk | first, ms |")
    print("|---|---|---|---|---|", flush=True)
    for threads, processes in ((0, 0), (1, 0), (2, 0), (4, 0), (0, 1), (0, 2), (0, 4)):
        rates: dict[str, list[float]] = {"cpu": [], "memory": [], "disk": [], "first": []}
        for kind in ("memory", "disk") * options.turns:
            if kind == "disk":
                forget_pages(clips)
            spent, began = processor_s(), time.perf_counter()
            found = handed_out(batches, steps, threads, processes)
            next(found)
            first = time.perf_counter() - began
            assert sum(1 for _ in found) == steps - 1
            rates[kind].append(windows / (time.perf_counter() - began))
            if kind == "memory":
                rates["cpu"].append(windows / (processor_s() - spent))
                rates["first"].append(1e3 * first)
        who = f"{threads} thread(s)" if not processes else f"{processes} process(es)"
        cells = " | ".join(f"{statistics.median(rate):,.0f}" for rate in rates.values())
        print(f"| {who} | {cells} |", flush=True)


def make_manifest(folder: Path, count: int, part: int = 10_000) -> None:
    """Write the manifest of a set without its pixels."""
    (folder / "manifest").mkdir(parents=True)
    known = {"height": 112, "width": 112, "shard": "shard-0.u8", "offset": 0}
    details = json.dumps({"schema": SCHEMA, "kind": "clips"}).encode()
    for first in range(0, count, part):
        rows = [
            {
                **known,
                "clip_id": f"{row:016x}",
                "frames": 20 + row % 100,
                "times_s": (np.arange(20 + row % 100) / 50).tolist(),
                "sector": bytes(112 * 112 // 8),
            }
            for row in range(first, min(first + part, count))
        ]
        columns = {f.name: pa.array([row.get(f.name) for row in rows], f.type) for f in COLUMNS}
        table = pa.table(columns).replace_schema_metadata({METADATA_KEY: details})
        pq.write_table(table, folder / "manifest" / f"part-{first:07d}.parquet")


def open_many(options: argparse.Namespace) -> None:
    """Print what it costs to open 100,000 clips and to choose those that can fill a window."""
    folder = options.folder / "many"
    if not folder.exists():
        make_manifest(folder, 100_000)
    before, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clips = ClipSet.open(folder)
    opened = time.process_time()
    batches = Batches(clips, DataConfig(), batch=64, seed=0)
    chosen = time.process_time()
    samples = batches.samples(0)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
    print(f"{len(clips):,} clips: opened in {opened - before:.2f} processor s,", end=" ")
    print(f"{len(batches.rows):,} chosen in {chosen - opened:.2f} s,", end=" ")
    print(f"{len(samples)} samples in {time.process_time() - chosen:.3f} s; {grown:.0f} MB")


def cycles(options: argparse.Namespace) -> None:
    """Print how often the beat of a phantom is found, and how often it is the right one."""
    clips = clips_of(options.folder / "beats", 64, 120)
    config, lengths, ends = PhantomConfig(size=64), [], []
    for row in range(len(clips)):
        times_s, rhythm = clips.times_s(row), draw_patient(POPULATION, row, config).rhythm
        assert times_s is not None
        found = find_cycle(clips.frames(row), times_s)
        if found is not None:
            peaks = r_peaks_s(rhythm, float(times_s[-1]) + 2)
            begin, end = np.interp(found, peaks, np.arange(len(peaks)))
            beats = max(1, round(end - begin))
            lengths.append((found.end_s - found.begin_s) / beats / (60 / rhythm.rate_bpm) - 1)
            ends.append(abs(end - begin - beats))
    right = sum(abs(length) < 0.1 for length in lengths)
    print(f"{len(lengths)} of {len(clips)} phantoms have a beat, {right} within a tenth of it;")
    print(f"their ends differ by {np.median(ends):.3f} of a beat in the median,", end=" ")
    print(f"by {np.quantile(ends, 0.9):.3f} in nine of ten")


def main() -> None:
    """Measure what is asked for."""
    measures = (train, parts, readers, open_many, cycles)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "what", choices=[measure.__name__.split("_")[0] for measure in measures]
    )
    parser.add_argument(
        "--folder", type=Path, help="keeps the clips; a temporary one if left out"
    )
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--only", default="", help="beginning of a training's name")
    options = parser.parse_args()
    measure = next(one for one in measures if one.__name__.startswith(options.what))
    with tempfile.TemporaryDirectory() as temporary:
        options.folder = options.folder or Path(temporary)
        measure(options)


if __name__ == "__main__":
    main()
