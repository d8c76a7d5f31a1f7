"""The tiny study that every command is called in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from made_weights import MADE

from echocli.checkpoint import save_model
from echocli.clips.contract import DataConfig
from echocli.clips.store import ClipSetWriter
from echocli.datasets.phantom import (
    PhantomConfig,
    draw_patient,
    phantom_clips,
    write_dicom_study,
)
from echocli.models.vit import VisionTransformer, ViTConfig
from echocli.tables import Embeddings, write_embeddings

CLIPS = 14


def embeddings(patients: int = 90) -> Embeddings:
    """Return rows enough to calibrate a threshold: normal ones lie along another axis."""
    generator = np.random.default_rng(0)
    numbers = range(patients)
    table = pd.DataFrame(
        {
            "clip_id": [f"c{i:02d}" for i in numbers],
            "patient_id": [f"p{i:02d}" for i in numbers],
            "study_id": "s",
            "source_sha256": "h",
            "normal": [i % 3 > 0 for i in numbers],
            "split": [("train", "val", "test", "test")[i % 4] for i in numbers],
        }
    )
    vectors = generator.normal(0, 0.5, (patients, 6)) + 5 * np.eye(6)[0]
    vectors[~table["normal"].to_numpy()] += 3 * np.eye(6)[1]
    meta = {"schema": "echocli.embeddings/1", "model_sha256": "a", "pool": "mean", "data": {}}
    return Embeddings(table, vectors.astype(np.float32), meta)


def make_study(root: Path) -> Path:
    """Make a study that every command can be called in: files, clips, a model, heads."""
    config = PhantomConfig(
        size=32, difficulty="easy", seconds=(1.0, 1.2), frame_rates_hz=(20.0, 25.0)
    )
    patients = [draw_patient(7, number, config) for number in range(2)]
    write_dicom_study(root, patients, height=180, width=240)
    with ClipSetWriter(root / "clips") as writer:
        for clip in phantom_clips(config, CLIPS, seed=1):
            writer.add(clip)
    shape = ViTConfig(frames=4, size=32, tubelet=(2, 8, 8), dim=32, depth=1, heads=2)
    encoder = VisionTransformer(shape, torch.Generator().manual_seed(0))
    data = DataConfig(frames=4, size=32, seconds=0.5)
    save_model(root / "runs/first/model", encoder, data, "vjepa", {"clip_size": 32})
    (root / "runs/latest").write_text("first\n")
    write_embeddings(root / "embeddings.parquet", embeddings())
    tensors = MADE["discovr"]().tensors
    plain = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
    torch.save({"model": plain, "epoch": 3}, root / "weights.pth")
    return root
