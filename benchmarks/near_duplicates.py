"""How far the fingerprints of spoilt copies lie from their clip, and of other hearts.

Run: ``python benchmarks/near_duplicates.py [--hearts 40]``. A number is the larger of the bits
that differ in the mean and in the change over time, of 256 each.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from echocli.datasets.phantom import PhantomConfig, phantom_clips
from echocli.statistics.leakage import NEAR_BITS, Fingerprints, fingerprint

Frames = NDArray[np.uint8]


def by_jpeg(frames: Frames) -> Frames:
    """Return what is left after JPEG of quality 60."""
    found = []
    for frame in frames:
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=60)
        found.append(np.asarray(Image.open(file)))
    return np.stack(found)


def larger(frames: Frames) -> Frames:
    """Return frames of another size."""
    return np.stack([np.asarray(Image.fromarray(f).resize((112, 112))) for f in frames])


def noisy(frames: Frames) -> Frames:
    """Return frames with noise of 5 grey levels inside the sector."""
    noise = np.random.default_rng(0).normal(0, 5, frames.shape)
    return np.clip(frames + noise * (frames > 0), 0, 255).astype(np.uint8)


SPOILT: dict[str, Callable[[Frames], Frames]] = {
    "JPEG, quality 60": by_jpeg,
    "a fifth brighter": lambda frames: np.clip(frames * 1.2, 0, 255).astype(np.uint8),
    "noise of 5 levels": noisy,
    "resized": larger,
    "first 5 % cut off": lambda frames: frames[len(frames) // 20 + 1 :],
    "every second frame": lambda frames: frames[::2],
    "half the loop": lambda frames: frames[: len(frames) // 2],
    "moved by a pixel": lambda frames: np.roll(frames, 1, axis=2),
}


def apart(first: Fingerprints, second: Fingerprints) -> int:
    """Return the larger of the bits that differ in both halves."""
    unlike = np.bitwise_count(first ^ second).reshape(2, -1)
    return int(unlike.sum(axis=1, dtype=int).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hearts", type=int, default=40)
    hearts = parser.parse_args().hearts
    print(f"a pair is called out up to {NEAR_BITS} bits")
    for config in (
        PhantomConfig(size=64, seconds=(1.0, 1.5), frame_rates_hz=(20, 40)),
        PhantomConfig(size=64, seconds=(1.0, 1.5), difficulty="easy"),
    ):
        loops = [clip.frames for clip in phantom_clips(config, hearts, seed=3)]
        prints = [fingerprint(frames) for frames in loops]
        others = [apart(a, b) for a, b in combinations(prints, 2)]
        print(
            f"{config.difficulty}: nearest two hearts {min(others)}, median {np.median(others)}"
        )
        for name, spoil in SPOILT.items():
            found = [
                apart(p, fingerprint(spoil(f))) for p, f in zip(prints, loops, strict=True)
            ]
            near = np.mean(np.array(found) <= NEAR_BITS)
            told = f"median {np.median(found):4.0f}, most {max(found):3d}, found {near:.0%}"
            print(f"  {name:20s} {told}")


if __name__ == "__main__":
    main()
