"""What a clip costs `echocli embed` beside the encoder, and what a long table costs.

``rate`` embeds phantoms with an encoder of random weights, a quarter of them and all, and says
what each further clip costs in processor time, and what the bare encoder does, which is called
after each batch on the same windows, normalised and in memory. The rest is reading,
normalising, pooling, hashing, keeping for a resume, writing, and reading back. Left out is what
no clip adds to: opening the model, beginning a file, encoding three clips again as proof, and
what is told of a table from 2,000 of its rows at most.
``memory`` writes every token of more and more clips and tells the peak of a process of its own.

    export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE
    python benchmarks/embed_rate.py rate      # five minutes
    python benchmarks/embed_rate.py rate --only laptop --sector  # tokens of the sector alone
    python benchmarks/embed_rate.py rate --only laptop --sector --stored 112  # made smaller
    python benchmarks/embed_rate.py memory    # a minute
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from echocli.api._embed import write as write_module
from echocli.api.embed import embed
from echocli.checkpoint import load_model, save_model
from echocli.clips.contract import DataConfig
from echocli.clips.store import ClipSetWriter
from echocli.clips.windows import to_video
from echocli.datasets.phantom import PhantomConfig, phantom_clips
from echocli.models.layers import Normalise
from echocli.models.vit import VisionTransformer, ViTConfig

ENCODERS = {
    "ViT-S, 16 x 112 x 112": ViTConfig(frames=16, size=112, dim=384, depth=12, heads=6),
    "laptop, 16 x 64 x 64": ViTConfig(
        frames=16, size=64, tubelet=(4, 8, 8), dim=128, depth=4, heads=2
    ),
}


class Beside:
    """Calls the bare encoder after each of its calls, on the same batch, and adds up times."""

    def __init__(self, data: DataConfig) -> None:
        self.data = data
        self.bare = 0.0
        """Seconds of the bare encoder."""
        self.more = 0.0
        """Seconds that would not have been without this."""

    def embed(
        self,
        encoder: VisionTransformer,
        grey: Tensor,
        keep: Tensor | None,
        normalise: Normalise,
    ) -> tuple[Tensor | None, Tensor]:
        """Stand in for the encoder's own."""
        found = EMBED(encoder, grey, keep, normalise)
        begin = time.thread_time()
        video = to_video(grey[:, 0], self.data)
        ready = time.thread_time()
        EMBED(encoder, video, keep)
        end = time.thread_time()
        self.bare += end - ready
        self.more += end - begin
        return found

    def tell(self, *args: Any) -> dict[str, Any]:  # noqa: ANN401 - what it stands in for
        """Stand in for what is told of a table."""
        begin = time.thread_time()
        found = TELL(*args)
        self.more += time.thread_time() - begin
        return found


EMBED, TELL = VisionTransformer.embed, write_module._told_last


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


def rate(
    clips: int, beginning: str, turns: int, sector: bool, stored: int | None, kept: Path | None
) -> None:
    chosen = {name: shape for name, shape in ENCODERS.items() if name.startswith(beginning)}
    for name, config in chosen.items():
        with tempfile.TemporaryDirectory() as temporary:
            folder, size = kept or Path(temporary), stored or config.size
            many, few = (folder / f"{kind}-{clips}-{size}" for kind in ("many", "few"))
            if not few.exists():
                write_clips(clips, size, many, few)
            model = write_model(folder / "model", config, sector)
            # The first call of an encoder imports what PyTorch needs for it.
            embed(few, model=model, device="cpu", precision="fp32")
            spent = [[one_turn(each, model) for each in (few, many)] for _ in range(turns)]
            bare, rows = zip(*((m[0] - f[0], m[1] - f[1]) for f, m in spent), strict=True)
            # Turn by turn: the two were measured side by side there.
            share = median(b / r for b, r in zip(bare, rows, strict=True))
            beside = median(r - b for b, r in zip(bare, rows, strict=True))
            each = clips - clips // 4
            print(
                f"{name}: {each} further clips, bare encoder {median(bare):.2f} s, rows in the "
                f"file {median(rows):.2f} s ({share:.1%}); beside it "
                f"{1e3 * beside / each:.2f} ms a clip"
            )


def one_turn(clips: Path, model: Path) -> tuple[float, float]:
    """Return the seconds of the bare encoder, and those of all that grows with clips."""
    beside = Beside(load_model(model).data)
    out = clips.with_suffix(".parquet")
    with (
        patch.object(VisionTransformer, "embed", lambda *args: beside.embed(*args)),
        patch.object(write_module, "_told_last", beside.tell),
    ):
        start = time.process_time()
        embed(clips, model=model, out=out, device="cpu", precision="fp32", overwrite=True)
        return beside.bare, time.process_time() - start - beside.more


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
    parser.add_argument(
        "--stored", type=int, help="side of the clips; the encoder's if left out"
    )
    options = parser.parse_args()
    if options.what == "rate":
        rate(
            options.clips,
            options.only,
            options.turns,
            options.sector,
            options.stored,
            options.folder,
        )
    elif options.what == "memory":
        memory([100, 400, 1600])
    else:
        peak(*options.paths)


if __name__ == "__main__":
    main()
