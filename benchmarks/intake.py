"""What intake costs: a large loop end to end, headers, many small files, random windows.

Everything is made here, on phantoms. Each measurement runs in a process of its own, with one
thread; rivals take turns in one run. CPU time counts the workers and the fork server, too; a
first small call is left out, so that imports are not counted.

    python benchmarks/intake.py                  # the tables of docs/benchmarks-intake.md
    python benchmarks/intake.py --small          # a minute: only to see that it runs
    python benchmarks/intake.py --only windows
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom

from echocli.api.inspect import InspectSummary, inspect_each
from echocli.api.preprocess import preprocess
from echocli.clips.batches import Batches
from echocli.clips.contract import DataConfig
from echocli.clips.record import Clip
from echocli.clips.store import ClipSet, ClipSetWriter
from echocli.console import Advance
from echocli.intake.read import read_loop
from echocli.intake.reshape import Frame
from echocli.intake.sector import find_sector
from echocli.phantoms.dicom import DicomOptions, write_loop
from echocli.phantoms.layouts import options_of
from echocli.phantoms.patient import draw_patient
from echocli.phantoms.refusals import write_refusals
from echocli.phantoms.screen import draw_screen

ROWS, COLUMNS, FRAMES = 708, 1016, 90
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
Figures = dict[str, float | str]


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    loops: int = 4
    """Large loops a run."""
    headers: int = 2000
    files: int = 200
    """Small files to preprocess."""
    windows: int = 40_000
    repeats: int = 3


SMALL = Sizes(loops=1, headers=60, files=8, windows=500, repeats=1)


# --- What is measured with -----------------------------------------------------------------


def children() -> dict[int, list[int]]:
    """Return the processes that each running process has started."""
    found: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = stat.read_text().rsplit(")", 1)[1].split()
            found.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    return found


def family() -> tuple[list[int], list[int]]:
    """Return the children of this process (the fork server) and theirs (the workers)."""
    tree = children()
    servers = tree.get(os.getpid(), [])
    return servers, [pid for server in servers for pid in tree.get(server, [])]


def family_cpu_s() -> float:
    """Return the CPU time of this process, its family, and those of it that have ended."""
    ticks = 0
    servers, workers = family()
    for pid in [os.getpid(), *servers, *workers]:
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += sum(int(field) for field in fields[11:15])
    return ticks * TICK_S


def memory_mb(pid: int, what: str) -> float:
    """Return ``VmRSS`` or ``VmHWM`` (the highest so far) of a process."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(what):
                return int(line.split()[1]) / 1024
    return 0.0


class Watch:
    """Looks at the memory of parent and workers while something counts how far it is."""

    def __init__(self, at: tuple[int, ...] = ()) -> None:
        self.at = at
        self.done = 0
        self.figures: Figures = {}
        self.peak_mb = 0.0

    def say(self, message: str) -> None:
        """Nobody listens."""

    def warn(self, message: str) -> None:
        """Nobody listens."""

    @contextmanager
    def progress(self, description: str, total: int | None, done: int = 0) -> Iterator[Advance]:
        """Look at each step."""
        yield self.advance

    def advance(self, step: int, remark: str = "") -> None:
        """Note the memory where that is wanted, and the highest of any worker."""
        self.done += step
        _, workers = family()
        for pid in workers:
            self.peak_mb = max(self.peak_mb, memory_mb(pid, "VmHWM"))
        if self.done in self.at:
            largest = max((memory_mb(pid, "VmRSS") for pid in workers), default=0.0)
            self.figures[f"parent_mb_at_{self.done}"] = memory_mb(os.getpid(), "VmRSS")
            self.figures[f"worker_mb_at_{self.done}"] = largest


@contextmanager
def costs(figures: Figures) -> Iterator[None]:
    """Note wall-clock and CPU time of the block, and this process's share."""
    wall, cpu, own = time.perf_counter(), family_cpu_s(), time.process_time()
    yield
    figures["parent_cpu_s"] = time.process_time() - own
    figures["wall_s"] = time.perf_counter() - wall
    figures["cpu_s"] = family_cpu_s() - cpu


# --- What is measured ----------------------------------------------------------------------


def clips_of(folder: Path, what: str, workers: int, watch: Watch) -> Figures:
    """Preprocess a folder, after a warm-up."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        key = folder / "key"
        preprocess([folder / "warm"], Path(out, "warm"), key_file=key, workers=workers)
        with costs(watch.figures):
            done = preprocess(
                [folder / what], Path(out, "out"), key_file=key, workers=workers, reporter=watch
            )
        assert done.n_clips == done.n_sources, done
    return watch.figures


def loop_ours(folder: Path, sizes: Sizes) -> Figures:
    watch = Watch()
    figures = clips_of(folder, "large", 1, watch)
    frames = FRAMES * len(list((folder / "large").iterdir()))
    return {
        "frames_per_cpu_s": frames / float(figures["cpu_s"]),
        "peak_worker_mb": watch.peak_mb,
        "parent_mb": memory_mb(os.getpid(), "VmHWM"),
    }


def loop_pydicom(folder: Path, sizes: Sizes) -> Figures:
    try:
        import libjpeg  # noqa: F401 (GPL: only here, and only if it is installed)

        plugin = "pylibjpeg"
    except ImportError:
        plugin = "pillow"
    from pydicom.pixels import pixel_array

    path = next((folder / "large").iterdir())
    pixel_array(next((folder / "warm").iterdir()), decoding_plugin=plugin, index=0)
    start = time.process_time()
    frames = len(pixel_array(path, decoding_plugin=plugin))
    return {
        "decoder": plugin,
        "frames_per_cpu_s": frames / (time.process_time() - start),
        "peak_worker_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def loop_stages(folder: Path, sizes: Sizes) -> Figures:
    path = next((folder / "large").iterdir())
    read_loop(next((folder / "warm").iterdir()))
    marks = [time.process_time()]
    loop = read_loop(path)
    marks.append(time.process_time())
    sector = find_sector(loop).mask
    marks.append(time.process_time())
    Frame.around(sector, 112, loop.spacing_mm).frames(loop.frames, sector)
    marks.append(time.process_time())
    steps = np.diff(marks) * 1000 / len(loop.frames)
    return dict(zip(("read_ms", "sector_ms", "reshape_ms"), map(float, steps), strict=True))


def headers(workers: int) -> Callable[[Path, Sizes], Figures]:
    def measure(folder: Path, sizes: Sizes) -> Figures:
        watch = Watch((sizes.headers // 10, sizes.headers))
        list(inspect_each([folder / "warm"], InspectSummary(), workers=workers))
        with costs(watch.figures):
            for _ in inspect_each([folder / "headers"], InspectSummary(), workers=workers):
                watch.done += 1
                if watch.done in watch.at:  # looking at each would cost more than a header
                    watch.done -= 1
                    watch.advance(1)
        watch.figures["cpu_ms_each"] = float(watch.figures["cpu_s"]) * 1000 / watch.done
        return watch.figures

    return measure


def small_files(workers: int) -> Callable[[Path, Sizes], Figures]:
    def measure(folder: Path, sizes: Sizes) -> Figures:
        at = (sizes.files // 10, sizes.files // 2, sizes.files)
        figures = clips_of(folder, "small", workers, Watch(at))
        return {**figures, "cpu_ms_each": float(figures["cpu_s"]) * 1000 / sizes.files}

    return measure


def windows(folder: Path, sizes: Sizes) -> Figures:
    clips = ClipSet.open(folder / "clips")
    batches = Batches(clips, DataConfig(frames=16, size=112, stride=1), batch=64, seed=1)
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(clips), sizes.windows).tolist()
    starts = rng.integers(0, 160 - 16, sizes.windows).tolist()
    batch = batches.read(0).pixels
    for row in range(len(clips)):
        clips.frames(row).max()  # all are in the page cache now
    start = time.process_time()
    for sample, (row, first) in enumerate(zip(rows, starts, strict=True)):
        clips.window(row, np.arange(first, first + 16), batch[sample % 64])
    middle = time.process_time()
    steps = -(-sizes.windows // 64)
    for step in range(steps):
        batches.read(step)
    end = time.process_time()
    return {
        "windows_per_cpu_s": sizes.windows / (middle - start),
        "in_training_batches_per_cpu_s": steps * 64 / (end - middle),
    }


MEASURES: dict[str, Callable[[Path, Sizes], Figures]] = {
    "loop: echocli, end to end": loop_ours,
    "loop: pydicom, pixel_array alone": loop_pydicom,
    "loop: stages of echocli": loop_stages,
    "inspect: one worker": headers(1),
    "inspect: two workers": headers(2),
    "preprocess: one worker": small_files(1),
    "preprocess: two workers": small_files(2),
    "windows": windows,
}


# --- What it is measured on ----------------------------------------------------------------


def make_material(folder: Path, sizes: Sizes) -> None:
    """Write the files that are read, all from phantoms."""
    patient = draw_patient(5, 0)
    scanner = replace(patient.scanner, seconds=FRAMES / 30, frame_rate_hz=30.0)
    patient = replace(patient, scanner=scanner)
    screen = draw_screen(patient, height=ROWS, width=COLUMNS)
    grain = np.random.default_rng(0).integers(0, 24, screen.frames.shape[:3], np.uint8)
    lit = screen.frames.min(-1) > 16  # real loops are grainier than ours, and larger files
    frames = screen.frames[:FRAMES] - np.minimum(grain, 16)[:FRAMES, ..., None] * lit[
        :FRAMES, ..., None
    ].astype(np.uint8)
    times = screen.loop.times_s[:FRAMES]
    loop = replace(screen.loop, times_s=times)
    options = DicomOptions(coding="jpeg")
    screen = replace(screen, frames=frames, loop=loop)
    write_loop(folder / "large" / "0", patient, screen, options)
    _copy(folder / "large", sizes.loops)
    for index in range(min(12, sizes.files)):
        other = draw_patient(5, index)
        picture = draw_screen(other, height=200, width=268)
        write_loop(folder / "small" / str(index), other, picture, options_of(index))
    write_loop(folder / "warm" / "0", other, picture, DicomOptions(coding="jpeg"))
    write_refusals(folder / "refused", other, height=200, width=268)
    _copy(folder / "small", sizes.files)
    kinds = sorted((folder / "small").iterdir())[:12]
    kinds += [*(folder / "refused").iterdir(), folder / "large" / "0"]
    (folder / "headers").mkdir()
    for number in range(sizes.headers):
        os.link(kinds[number % len(kinds)], folder / "headers" / f"{number:05d}")
    _make_clips(folder / "clips")


def _copy(folder: Path, wanted: int) -> None:
    """Fill a folder with files of the same pixels and other identifiers."""
    originals = sorted(folder.iterdir())
    for number in range(len(originals), wanted):
        data = pydicom.dcmread(originals[number % len(originals)])
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        data.PatientID = f"benchmark {number}"
        data.save_as(folder / str(number))


def _make_clips(folder: Path) -> None:
    rng = np.random.default_rng(1)
    with ClipSetWriter(folder) as writer:
        for number in range(48):
            clip = Clip(
                clip_id=f"c{number:016x}",
                patient_id=f"p{number:016x}",
                study_id=f"s{number:016x}",
                source_sha256=f"{number:064x}",
                frames=rng.integers(0, 256, (160, 112, 112), np.uint8),
                sector=np.ones((112, 112), bool),
                times_s=np.arange(160) / 50,
                time_source="frame_time",
                spacing_mm=None,
                spacing_source="unknown",
            )
            writer.add(clip)


# --- Side by side --------------------------------------------------------------------------


def run_apart(name: str, folder: Path, small: bool) -> Figures:
    """Measure in a fresh process."""
    words = [sys.executable, __file__, "--measure", name, "--folder", str(folder)]
    done = subprocess.run(
        [*words, *["--small"] * small],
        env={**os.environ, **ONE_THREAD},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def middle(runs: list[Figures]) -> Figures:
    """Return the median of each figure."""
    found: Figures = {}
    for name, value in runs[0].items():
        numbers = [run[name] for run in runs]
        text = isinstance(value, str)
        found[name] = value if text else statistics.median(map(float, numbers))
    return found


def ratios(table: dict[str, Figures]) -> Figures:
    """Return what is asked for as a ratio."""
    found: Figures = {}
    for what, upper, lower, figure in (
        ("loop: times pydicom", *list(MEASURES)[:2], "frames_per_cpu_s"),
        ("inspect: two workers over one", *list(MEASURES)[3:5], "wall_s"),
        ("preprocess: two workers over one", *list(MEASURES)[5:7], "wall_s"),
    ):
        if upper in table and lower in table:
            found[what] = float(table[upper][figure]) / float(table[lower][figure])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="only to see that it runs")
    parser.add_argument("--only", nargs="*", default=[""], help="beginnings of names")
    parser.add_argument("--json", type=Path, help="write all figures there, too")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", choices=MEASURES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = SMALL if options.small else Sizes()
    if options.measure:
        print(json.dumps(MEASURES[options.measure](options.folder, sizes)))
        return
    chosen = [name for name in MEASURES if name.startswith(tuple(options.only))]
    runs: dict[str, list[Figures]] = {name: [] for name in chosen}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        make_material(Path(folder), sizes)
        for _ in range(sizes.repeats):
            for name in chosen:
                runs[name].append(run_apart(name, Path(folder), options.small))
    table = {name: middle(found) for name, found in runs.items()}
    table["ratios"] = ratios(table)
    for name, figures in table.items():
        print(f"{name}")
        for what, value in figures.items():
            print(f"    {what:<36} {value if isinstance(value, str) else format(value, '.4g')}")
    if options.json:
        options.json.write_text(json.dumps({"median": table, "runs": runs}, indent=1))


if __name__ == "__main__":
    main()
