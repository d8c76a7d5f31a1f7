"""What older versions wrote is read, and gives the numbers that it gave.

``tests/older/VERSION`` was written by that version and is never written again. For a new one:
``PYTHONPATH=tests python tests/test_older_files.py``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from micro import micro_clip, write_clips

import echocli
from echocli.api._pretrain.settings import resolve_settings
from echocli.checkpoint import load_head, load_model, save_head, save_model
from echocli.clips.contract import DataConfig
from echocli.clips.store import ClipSet
from echocli.config import to_table
from echocli.errors import EchoError
from echocli.files import read_json, sha256_of, write_json
from echocli.models.vit import VisionTransformer, ViTConfig
from echocli.study import SUMS
from echocli.tables import Embeddings, read_embeddings, write_embeddings

OLDER = Path(__file__).parent / "older"
VERSIONS = sorted(path.name for path in OLDER.iterdir()) if OLDER.is_dir() else []


def main() -> None:
    """Write what this version writes: small, and with the numbers that it gives."""
    folder = OLDER / echocli.__version__
    folder.mkdir(parents=True)
    clips = write_clips(folder / "clips", [micro_clip(number, frames=8) for number in range(2)])
    shape = ViTConfig(frames=4, size=32, tubelet=(2, 16, 16), dim=12, depth=1, heads=2)
    encoder = VisionTransformer(shape, torch.Generator().manual_seed(0))
    data = DataConfig(frames=4, size=32, seconds=0.2)
    sha256 = save_model(folder / "model", encoder, data, "vjepa", {"seed": 0})
    save_head(
        folder / "head", {"weight": torch.ones(3)}, {"task": "lvef", "model_sha256": sha256}
    )
    table = clips.manifest[["clip_id", "patient_id", "study_id", "source_sha256", "ef_percent"]]
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3)
    metadata = {"schema": "echocli.embeddings/1", "per": "clip", "model_sha256": sha256}
    write_embeddings(folder / "embeddings.parquet", Embeddings(table, vectors, metadata))
    settings = resolve_settings(method="vjepa", changes=("optim.steps=7",)).value
    write_json(
        folder / "config.json", {"schema": "echocli.run/1", "settings": to_table(settings)}
    )
    write_json(folder / "numbers.json", numbers(folder))


def numbers(folder: Path) -> dict[str, float]:
    """Return what is read from a folder, in a few numbers."""
    clips, model = ClipSet.open(folder / "clips"), load_model(folder / "model")
    video = torch.from_numpy(clips.frames(0)[:4].copy())[None, None].float() / 255
    tensors, _ = load_head(folder / "head", "lvef")
    settings = resolve_settings(file=folder / "config.json").value
    return {
        "pixels": int(clips.frames(1).sum()),
        "ef_percent": float(clips.manifest["ef_percent"].sum()),
        "tokens": float(model.encoder(video).abs().mean()),
        "seconds": float(model.data.seconds or 0),
        "head": float(tensors["weight"].sum()),
        "vectors": float(read_embeddings(folder / "embeddings.parquet").vectors.sum()),
        "steps": settings.optim.steps,
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_version_wrote_gives_the_numbers_that_it_gave(version: str) -> None:
    found = numbers(OLDER / version)
    assert found == pytest.approx(read_json(OLDER / version / "numbers.json"), rel=1e-5)


def test_this_version_has_left_its_files() -> None:
    assert echocli.__version__ in VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
def test_settings_that_are_younger_than_a_run_have_their_defaults(
    version: str, tmp_path: Path
) -> None:
    saved = read_json(OLDER / version / "config.json")
    del saved["settings"]["watch"], saved["settings"]["optim"]["parts"]
    (tmp_path / "config.json").write_text(json.dumps(saved), encoding="utf-8")
    settings = resolve_settings(file=tmp_path / "config.json").value
    assert (settings.optim.steps, settings.optim.parts) == (7, 1)


@pytest.mark.parametrize("name", ["model", "head"])
def test_a_file_of_a_newer_version_is_refused_in_words(name: str, tmp_path: Path) -> None:
    shutil.copytree(OLDER / VERSIONS[-1] / name, tmp_path / name)
    config = tmp_path / name / "config.json"
    config.write_text(config.read_text(encoding="utf-8").replace("/1", "/9"), encoding="utf-8")
    sums = read_json(tmp_path / name / SUMS)
    write_json(tmp_path / name / SUMS, {**sums, "config.json": sha256_of(config)})
    with pytest.raises(EchoError, match="version"):
        load_model(tmp_path / name) if name == "model" else load_head(tmp_path / name, "lvef")


if __name__ == "__main__":
    main()
