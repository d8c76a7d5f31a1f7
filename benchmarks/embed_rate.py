"""What a clip costs `echocli embed` beside the encoder, and what a long table costs.

``rate`` embeds phantoms with an encoder of random weights, a quarter of them and all, and says
what each further clip costs: processor time of the process, and what of it the main thread
spends within the encoder, in the same run on the same batches. The rest is reading,
normalising, pooling, hashing, keeping for a resume, writing, and reading back. Left out is what
no clip adds to: opening the model, beginning a file, encoding three clips again as proof, and
what is told of a table from 2,000 of its rows at most.
``memory`` writes every token of more and more clips and tells the peak of a process of its own.

    export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE
    python benchmarks/embed_rate.py rate      # five minutes
    python benchmarks/embed_rate.py rate --only laptop --sector  # tokens of the sector alone
    python benchmarks/embed_rate.py memory    # a minute
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from unittest.mock import patch

import torch

from echocli.api._embed import write as write_module
from echocli.api.embed import embed
from echocli.checkpoint import save_model
from echocli.clips.contract import DataConfig
from echocli.clips.store import ClipSetWriter
from echocli.datasets.phantom import PhantomConfig, phantom_clips
from echocli.models.vit import VisionTransformer, ViTConfig

ENCODERS = {
    "ViT-S, 16 x 112 x 112": ViTConfig(frames=16, size=112, dim=384, depth=12, heads=6),
    "laptop, 16 x 64 x 64": ViTConfig(
        frames=16, size=64, tubelet=(4, 8, 8), dim=128, depth=4, heads=2
    ),
}


class Watch:
    """Adds up the time within calls."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.seconds = 0.0

    @contextmanager
    def over(self, target: object, name: str) -> Iterator[None]:
        """Count calls of a function while the block runs."""
        real = getattr(target, name)

        def timed(*args: object, **more: object) -> object:
            start = self.clock()
            try:
                return real(*args, **more)
            finally:
                self.seconds += self.clock() - start

        with patch.object(target, name, timed):
            yield


def write_clips(count: int, size: int, *folders: Path) -> None:
    """Write phantoms into a folder, and a quarter of them into each further one."""
    clips = list(phantom_clips(PhantomConfig(size=size), count, 5))
    for folder in folders:
        with ClipSetWriter(folder) as writer:
            for clip in clips if folder is folders[0] else clips[: count // 4]:
                writer.add(clip)


def write_model(folder: Path, config: ViTConfig, sector: bool = False) -> Path:
    encoder = VisionTransformer(config, torch.Generator().manual_seed(0))
    data = DataConfig(frames=config.frames, size=config.size, sector_tokens=sector)
    save_model(folder, encoder, data, "random", {})
    return folder


def rate(clips: int, beginning: str, turns: int, sector: bool, kept: Path | None) -> None:
    chosen = {name: shape for name, shape in ENCODERS.items() if name.startswith(beginning)}
    for name, config in chosen.items():
        with tempfile.TemporaryDirectory() as temporary:
            folder = kept or Path(temporary)
            many, few = (folder / f"{kind}-{clips}-{config.size}" for kind in ("many", "few"))
            if not few.exists():
                write_clips(clips, config.size, many, few)
            model = write_model(folder / "model", config, sector)
            # The first call of an encoder imports what PyTorch needs for it.
            embed(few, model=model, device="cpu", precision="fp32")
            spent = [[one_turn(each, model) for each in (few, many)] for _ in range(turns)]
            bare, rows = (median(m[i] - f[i] for f, m in spent) for i in range(2))
            each = clips - clips // 4
            print(
                f"{name}: {each} further clips, bare encoder {bare:.2f} s, rows in the file "
                f"{rows:.2f} s ({bare / rows:.1%}); beside it "
                f"{1e3 * (rows - bare) / each:.2f} ms a clip"
            )


def one_turn(clips: Path, model: Path) -> tuple[float, float]:
    """Return the seconds of the encoder, and those of all that grows with clips."""
    inside, told = Watch(time.thread_time), Watch(time.process_time)
    start = time.process_time()
    with inside.over(VisionTransformer, "embed"), told.over(write_module, "_told_last"):
        out = clips.with_suffix(".parquet")
        embed(clips, model=model, out=out, device="cpu", precision="fp32", overwrite=True)
    return inside.seconds, time.process_time() - start - told.seconds


def memory(counts: list[int]) -> None:
    config = ENCODERS["laptop, 16 x 64 x 64"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = write_model(folder / "model", config)
        for count in counts:
            write_clips(count, config.size, folder / f"clips{count}")
            out = folder / f"{count}.parquet"
            words = ["peak", str(folder / f"clips{count}"), str(model), str(out)]
            told = subprocess.run(
                [sys.executable, __file__, *words], check=True, capture_output=True, text=True
            ).stdout
            print(f"{count} clips, table of {out.stat().st_size / 1e6:.0f} MB: {told.strip()}")


def peak(clips: Path, model: Path, out: Path) -> None:
    embed(clips, model=model, out=out, per="token", device="cpu", precision="fp32")
    lines = Path("/proc/self/status").read_text().splitlines()
    top = next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM"))
    print(f"peak {top:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["rate", "memory", "peak"])
    parser.add_argument("paths", type=Path, nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--only", default="", help="beginning of the name of an encoder")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="keeps the clips; they are used again")
    parser.add_argument("--sector", action="store_true", help="tokens of the sector alone")
    options = parser.parse_args()
    if options.what == "rate":
        rate(options.clips, options.only, options.turns, options.sector, options.folder)
    elif options.what == "memory":
        memory([100, 400, 1600])
    else:
        peak(*options.paths)


if __name__ == "__main__":
    main()
