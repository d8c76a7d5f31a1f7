"""Rings that beat, with their masks and their true ejection fraction, for heads that draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from echocli.checkpoint import save_model
from echocli.clips.contract import DataConfig
from echocli.clips.record import Clip
from echocli.clips.writer import ClipSetWriter
from echocli.models.vit import VisionTransformer, ViTConfig

FRAMES = 14
ED, ES = 0, 7
DATA = DataConfig(frames=4, size=32, seconds=0.2)


def ventricle(number: int, side: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Frames and masks of a bright ring around a dark beating cavity, and its true EF."""
    generator = np.random.default_rng(number)
    scale = side / 32
    rows, columns = np.mgrid[:side, :side] / scale
    centre = generator.uniform(14, 18, 2)
    ef = float(generator.uniform(30, 70))
    beat = (1 - np.cos(2 * np.pi * np.arange(FRAMES) / FRAMES)) / 2
    shrink = (1 - beat * ef / 100) ** (1 / 3)  # all sides alike: the volume goes with the cube
    reach = np.hypot((rows - centre[0]) / 1.4, columns - centre[1])
    masks = np.zeros((FRAMES, side, side), np.uint8)
    radius = 7.0 * shrink[:, None, None]
    masks[reach[None] < radius + 2.5] = 2
    masks[reach[None] < radius] = 1
    noise = generator.uniform(0, 25, masks.shape)
    frames = (np.array([90, 10, 220])[masks] + noise).astype(np.uint8)
    return frames, masks, ef


def clip(
    number: int,
    side: int = 32,
    *,
    masks: bool = True,
    scale: bool = True,
    timed: bool = True,
) -> Clip:
    """Return one of them; every fourth and fifth of five is of validation and test."""
    frames, labels, ef = ventricle(number, side)
    split = ("train", "train", "train", "val", "test")[number % 5]
    return Clip(
        clip_id=f"clip{number}",
        patient_id=f"patient{number}",
        study_id=f"study{number}",
        source_sha256=f"source{number}",
        frames=frames,
        sector=np.ones((side, side), bool),
        times_s=np.linspace(0, (FRAMES - 1) * 0.04, FRAMES) if timed else None,
        time_source="dataset" if timed else "unknown",
        spacing_mm=(96 / side, 96 / side) if scale else None,
        spacing_source="dataset" if scale else "unknown",
        labels={"ef_percent": ef, "split": split},
        masks=labels[[ED, ES]] if masks else None,
        mask_frames=(ED, ES) if masks else (),
    )


def write_clips(folder: Path, clips: list[Clip]) -> Path:
    with ClipSetWriter(folder) as writer:
        for one in clips:
            writer.add(one)
    return folder


def write_model(folder: Path, seed: int = 0) -> Path:
    config = ViTConfig(frames=4, size=32, tubelet=(2, 4, 4), dim=48, depth=1, heads=3)
    encoder = VisionTransformer(config, torch.Generator().manual_seed(seed))
    save_model(folder, encoder, DATA, "vjepa", {"clip_size": 32})
    return folder
