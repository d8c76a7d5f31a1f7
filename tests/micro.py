"""A clip set and settings so small that a training takes a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from echocli.clips.record import Clip
from echocli.clips.store import ClipSet, ClipSetWriter

MICRO = (
    "data.frames=4",
    "data.size=32",
    "data.seconds=0.5",
    "encoder.tubelet=[2, 8, 8]",
    "encoder.dim=48",
    "encoder.depth=1",
    "encoder.heads=3",
    "optim.batch=3",
    "watch.checkpoint_every=2",
    "watch.health_every=3",
)
"""Words for ``--set`` that make any method small."""


def micro_clip(number: int, frames: int = 24, rate_hz: float = 20.0, **more: Any) -> Clip:
    """Return a clip with a bright disc that beats, other in every clip."""
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[:32, :32]
    centre, beat = rng.uniform(8, 24, 2), rng.uniform(0.5, 2)
    sizes = 6 + 3 * np.sin(2 * np.pi * beat * np.arange(frames) / rate_hz)
    distance = np.hypot(rows - centre[0], columns - centre[1])
    pixels = 200 * (distance < sizes[:, None, None]) + rng.integers(0, 40, (frames, 32, 32))
    record: dict[str, Any] = {
        "clip_id": f"c{number:03d}",
        "patient_id": f"p{number // 2}",
        "study_id": f"s{number // 2}",
        "source_sha256": f"h{number:03d}",
        "frames": pixels.astype(np.uint8),
        "sector": np.ones((32, 32), dtype=bool),
        "times_s": np.arange(frames) / rate_hz,
        "time_source": "frame_time",
        "spacing_mm": (1.0, 1.0),
        "spacing_source": "region",
        "labels": {
            "ef_percent": float(40 + number),
            "normal": None if number % 5 == 0 else number % 2 == 0,
            "view": "A4C",
        },
    }
    return Clip(**{**record, **more})


def write_clips(folder: Path, clips: list[Clip]) -> ClipSet:
    """Write a clip set."""
    with ClipSetWriter(folder) as writer:
        for clip in clips:
            writer.add(clip)
    return ClipSet.open(folder)
