"""A study folder written by hand, in the formats that the commands write."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from echocli.api._lvef.figures import figures
from echocli.api.score import ScoreConfig, score
from echocli.clips.record import Clip
from echocli.clips.store import ClipSet, ClipSetWriter
from echocli.datasets.phantom import PhantomConfig, phantom_clips
from echocli.files import write_json
from echocli.tables import IDS, SCHEMA, Embeddings, write_embeddings

QUARANTINE = """source_id,position,reason,explanation,remedy
a1,3,still,"a single image, not a loop",Nothing to mend
a2,5,still,"a single image, not a loop",Nothing to mend
a3,9,colour_doppler,colour Doppler,Nothing to mend
a4,11,no_sector,no scan was found,Look at the loop
"""


def write_clips(root: Path, drawn: list[Clip]) -> ClipSet:
    folder = root / "clips"
    with ClipSetWriter(folder) as writer:
        for clip in drawn:
            writer.add(clip)
    (folder / "quarantine.csv").write_text(QUARANTINE)
    checks = [{"check": "every id is a keyed hash", "looked_at": len(drawn), "passed": True}]
    settings = {"size": drawn[0].frames.shape[1], "assume_rate_hz": None}
    write_json(
        folder / "audit.json",
        {"schema": "echocli.audit/1", "echocli": "0", "settings": settings, "checks": checks},
    )
    return ClipSet.open(folder)


def write_run(root: Path, method: str, steps: int = 120) -> None:
    folder = root / "runs" / f"{method}-tiny"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "model.safetensors").write_bytes(b"weights")
    settings = {"method": method, "preset": "tiny", "seed": 0, "optim": {"steps": steps}}
    details = {
        "echocli": "0.1.0",
        "torch": "2.13.0",
        "device": "a processor, 2 core(s)",
        "precision": "fp32",
        "parameters": 3_456_789,
        "clips": {"count": 40, "patients": 40, "left_out": {}, "height": 64, "sha256": "ab"},
    }
    write_json(
        folder / "config.json", {"schema": "echocli.run/1", **details, "settings": settings}
    )
    generator = np.random.default_rng(len(method))
    with (folder / "metrics.jsonl").open("w") as file:
        for step in range(steps):
            record: dict[str, float | None] = {
                "step": step,
                "loss": 2 + 3 * math.exp(-step / 30) + float(generator.normal(0, 0.08)),
                "lr": 1e-4,
                "grad_norm": 1.0,
                "seconds": 0.5,
                "data_wait": 0.01,
            }
            if step % 20 == 19:
                record |= {"feature_std": 0.4, "effective_rank": 6 + step / 20}
                record["mean_cosine"] = 0.6
            file.write(json.dumps(record) + "\n")
    (root / "runs" / "latest").write_text(f"{method}-tiny\n")


def write_embeddings_and_scores(root: Path, clips: ClipSet) -> None:
    generator = np.random.default_rng(1)
    table = clips.manifest[[*IDS, "ef_percent", "normal", "split", "view"]]
    vectors = generator.normal(0, 1, (len(table), 12)).astype(np.float32)
    vectors[:, 0] += 3 * (~clips.manifest["normal"].to_numpy(bool))
    metadata = {"schema": SCHEMA, "model_sha256": "0" * 64, "pool": "mean_std", "data": {}}
    write_embeddings(root / "embeddings.parquet", Embeddings(table, vectors, metadata))
    config = ScoreConfig(k=3, false_positive_rate=0.25, draws=200)
    score(root / "embeddings.parquet", out=root / "scores.csv", config=config)


def write_lvef(root: Path, clips: ClipSet) -> None:
    generator = np.random.default_rng(2)
    measured = clips.manifest["ef_percent"].to_numpy(float)
    predicted = 0.6 * measured + 22 + generator.normal(0, 5, len(measured))
    table = clips.manifest[["clip_id", "patient_id"]].assign(
        ef_percent=predicted,
        lower=predicted - 12,
        upper=predicted + 12,
        measured_ef_percent=measured,
        split=["test" if i % 2 else "train" for i in range(len(measured))],
    )
    (root / "predictions").mkdir()
    table.to_csv(root / "predictions" / "lvef.csv", index=False)
    test = (table["split"] == "test").to_numpy()
    summary = figures(
        measured[test],
        predicted[test],
        table["patient_id"].to_numpy(str)[test],
        mean_ef_percent=float(measured[~test].mean()),
        half_width=12.0,
        seed=0,
        draws=200,
    )
    write_json(root / "predictions" / "lvef.json", {"schema": "echocli.lvef/1", **summary})
    head = {"schema": "echocli.head/1", "task": "lvef", "model": "../../runs/vjepa-tiny/model"}
    write_json(root / "heads" / "lvef" / "config.json", head)


def write_segment(root: Path, drawn: list[Clip]) -> None:
    folder = root / "predictions" / "segment"
    (folder / "overlays").mkdir(parents=True)
    areas, volumes = [], []
    with ClipSetWriter(folder, kind="masks") as writer:
        for row, clip in enumerate(drawn):
            assert clip.masks is not None
            found = np.stack([np.roll(clip.masks[0], 1, axis=1)] * len(clip.frames))
            writer.add(replace(clip, frames=found, masks=None, mask_frames=()))
            Image.fromarray(clip.frames[0]).save(folder / "overlays" / f"{clip.clip_id}.png")
            for frame in range(len(clip.frames)):
                beat = 1 + 0.2 * math.cos(2 * math.pi * frame / len(clip.frames))
                for structure, pixels in (("lv_cavity", 300), ("left_atrium", 180)):
                    size = int(pixels * beat)
                    areas.append((clip.clip_id, frame, frame / 25, structure, size, size / 2))
            flags = "single_plane;uncalibrated" if row % 3 == 0 else "single_plane"
            volumes.append((clip.clip_id, clip.patient_id, 55.0, 110.0, 50.0, 0, 9, flags))
    names = ["clip_id", "frame", "time_s", "structure", "pixels", "mm2"]
    pd.DataFrame(areas, columns=names).to_csv(folder / "areas.csv", index=False)
    names = ["clip_id", "patient_id", "ef_percent", "edv_ml", "esv_ml", "ed_frame", "es_frame"]
    pd.DataFrame(volumes, columns=[*names, "flags"]).to_csv(folder / "volumes.csv", index=False)
    dice = {"lv_cavity": {"value": 0.81, "low": 0.74, "high": 0.86}}
    write_json(folder / "segment.json", {"schema": "echocli.segment/1", "dice": dice})


def drawn_clips(n: int = 12, size: int = 32) -> list[Clip]:
    """Draw the clips of the study, the same each time."""
    config = PhantomConfig(size=size, seconds=(1.0, 1.2), frame_rates_hz=(20.0, 30.0))
    return list(phantom_clips(config, n, seed=3))


def write_study(root: Path, n: int = 12, size: int = 32) -> Path:
    """Write every part and return the folder."""
    drawn = drawn_clips(n, size)
    clips = write_clips(root, drawn)
    for method in ("discovr", "vjepa"):
        write_run(root, method)
    write_embeddings_and_scores(root, clips)
    write_lvef(root, clips)
    write_segment(root, drawn)
    return root
