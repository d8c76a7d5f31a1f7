"""How much of the time of `echocli embed` is the encoder's, and what a long table costs.

``rate`` embeds phantoms with an encoder of random weights and takes the time of the main thread
within the encoder from the processor time of the whole process, in the same run: what is left
is reading, resizing, normalising, pooling, hashing and writing. Opening the model and proving a
few rows by encoding them again cost the same for ten clips and for ten thousand; they are told
apart.
``memory`` writes every token of more and more clips and tells the peak of a process of its own.

    export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE
    python benchmarks/embed_rate.py rate      # two minutes
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


def write_clips(folder: Path, count: int, size: int) -> None:
    config = PhantomConfig(size=size)
    with ClipSetWriter(folder) as writer:
        for clip in phantom_clips(config, count, 5):
            writer.add(clip)


def write_model(folder: Path, config: ViTConfig) -> Path:
    encoder = VisionTransformer(config, torch.Generator().manual_seed(0))
    data = DataConfig(frames=config.frames, size=config.size, sector_tokens=False)
    save_model(folder, encoder, data, "random", {})
    return folder


def rate(clips: int, beginning: str) -> None:
    chosen = {name: shape for name, shape in ENCODERS.items() if name.startswith(beginning)}
    for name, config in chosen.items():
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            write_clips(folder / "clips", clips, config.size)
            model = write_model(folder / "model", config)
            clip_set = folder / "clips"
            # The first call of an encoder imports what PyTorch needs for it.
            embed(clip_set, model=model, device="cpu", precision="fp32")
            rows, inside = Watch(time.process_time), Watch(time.thread_time)
            proof = Watch(time.process_time)
            with (
                rows.over(write_module, "encode_units"),
                proof.over(write_module, "check_passed"),
                inside.over(VisionTransformer, "embed"),
            ):
                start = time.process_time()
                out = folder / "e.parquet"
                embed(clip_set, model=model, out=out, device="cpu", precision="fp32")
                total = time.process_time() - start
            # The encoder's share of the proof is that of its clips.
            proved = inside.seconds * 3 / (clips + 3)
            bare = inside.seconds - proved
            writing = total - rows.seconds - proof.seconds
            print(
                f"{name}: {clips} clips, bare encoder {bare:.2f} s, rows {rows.seconds:.2f} s "
                f"({bare / rows.seconds:.1%}), proof of rows {proof.seconds:.2f} s, "
                f"all else {writing:.2f} s, whole run {total:.2f} s"
            )


def memory(counts: list[int]) -> None:
    config = ENCODERS["laptop, 16 x 64 x 64"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = write_model(folder / "model", config)
        for count in counts:
            write_clips(folder / f"clips{count}", count, config.size)
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
    options = parser.parse_args()
    if options.what == "rate":
        rate(options.clips, options.only)
    elif options.what == "memory":
        memory([100, 400, 1600])
    else:
        peak(*options.paths)


if __name__ == "__main__":
    main()
