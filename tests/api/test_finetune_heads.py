"""Heads whose encoder was trained with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from micro import micro_clip, write_clips

from echocli.api import lvef, segment
from echocli.api._finetune import TuneConfig
from echocli.api._segment.frames import crop_labels
from echocli.api.verify import verify
from echocli.checkpoint import load_model, save_model
from echocli.clips.contract import DataConfig
from echocli.errors import EchoError, UsageError
from echocli.models.augment import AugmentConfig, crop, draw_boxes
from echocli.models.finetune import FitConfig
from echocli.models.vit import VisionTransformer, ViTConfig

FIT = FitConfig(least_steps=6, epochs=1, batch=4, checks=2)
LAST = TuneConfig(blocks=1, fit=FIT)
SCRATCH = TuneConfig(scratch="tiny", fit=FitConfig(least_steps=1, epochs=1, batch=3, checks=1))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    clips = []
    for number in range(16):
        split = ("train", "train", "train", "test")[number // 2 % 4]
        bright = micro_clip(number).frames[[0, 9]] > 120
        labels = {"ef_percent": 40.0 + number, "split": split}
        clips.append(
            micro_clip(number, labels=labels, masks=bright.astype(np.uint8), mask_frames=(0, 9))
        )
    write_clips(folder / "clips", clips)
    shape = ViTConfig(frames=4, size=32, tubelet=(2, 8, 8), dim=48, depth=2, heads=3)
    encoder = VisionTransformer(shape, torch.Generator().manual_seed(0))
    data = DataConfig(frames=4, size=32, seconds=0.5, sector_tokens=True)
    details = {"clip_size": 32, "licence": "CC0"}
    save_model(folder / "model", encoder, data, "vjepa", details)
    return folder


def fit_both(study: Path, out: Path, tune: TuneConfig, model: Path | None) -> None:
    one = lvef.LvefConfig(tune=tune, windows=1, draws=20)
    lvef.fit(study / "clips", model, out / "lvef", config=one, precision="fp32")
    two = segment.SegmentConfig(tune=tune, windows=1, draws=20)
    segment.fit(study / "clips", model, out / "segment", config=two, precision="fp32")


@pytest.fixture(scope="module")
def heads(study: Path) -> Path:
    fit_both(study, study / "heads", LAST, study / "model")
    return study / "heads"


@pytest.mark.parametrize("task", ["lvef", "segment"])
def test_the_last_block_alone_is_trained_and_stands_in_the_head(
    study: Path, heads: Path, task: str
) -> None:
    before = load_model(study / "model")
    after = load_model(heads / task / "encoder")
    weights, trained = before.encoder.state_dict(), after.encoder.state_dict()
    changed = {
        name for name, tensor in weights.items() if not torch.equal(tensor, trained[name])
    }
    assert changed
    assert all(name.startswith(("blocks.1.", "norm.")) for name in changed)
    assert after.details["licence"] == "CC0"
    assert after.details["trained_on_labels"]["from"] == before.sha256
    assert after.data == before.data
    config = json.loads((heads / task / "config.json").read_text())
    assert config["model_sha256"] == after.sha256
    assert config["end_to_end"]["steps"] == 6
    checked = verify(heads / task)
    assert checked.whole
    assert [output.kind for output in checked.outputs] == ["head", "model"]


def test_a_head_without_the_encoder_that_it_was_trained_with_is_noticed(
    heads: Path, tmp_path: Path
) -> None:
    shutil.copytree(heads / "lvef", tmp_path / "head", ignore=lambda *_: ["encoder"])
    problems = verify(tmp_path / "head").outputs[0].problems
    assert [problem.found for problem in problems] == [
        "the encoder that was trained with it is missing"
    ]


def test_the_head_predicts_with_its_own_encoder_as_at_its_fit(study: Path, heads: Path) -> None:
    found = lvef.evaluate(study / "clips", heads / "lvef", draws=20, precision="fp32").summary
    known = json.loads((heads / "lvef/config.json").read_text())
    assert found["metrics"]["mae"]["value"] == pytest.approx(known["metrics"]["mae"]["value"])
    drawn = segment.evaluate(
        study / "clips", heads / "segment", draws=20, precision="fp32"
    ).summary
    known = json.loads((heads / "segment/config.json").read_text())
    assert drawn["metrics"]["dice"]["lv_cavity"]["value"] == pytest.approx(
        known["metrics"]["dice"]["lv_cavity"]["value"]
    )
    with pytest.raises(EchoError, match="was fitted on the encoder"):
        lvef.predict(study / "clips", heads / "lvef", model=study / "model")


def test_the_same_seed_trains_the_same_weights(
    study: Path, heads: Path, tmp_path: Path
) -> None:
    fit_both(study, tmp_path, LAST, study / "model")
    for name in ("lvef/encoder/model.safetensors", "segment/head.safetensors"):
        assert (tmp_path / name).read_bytes() == (heads / name).read_bytes()


def test_from_scratch_needs_no_model(study: Path, tmp_path: Path) -> None:
    config = lvef.LvefConfig(tune=SCRATCH, windows=1, draws=20)
    lvef.fit(study / "clips", None, tmp_path / "head", config=config)
    model = load_model(tmp_path / "head/encoder")
    assert model.method == "supervised"
    assert model.details["trained_on_labels"]["from"] == "random weights, preset tiny"
    assert model.details["clip_size"] == 32
    table = lvef.predict(study / "clips", tmp_path / "head", draws=20).table
    assert len(table) == 16


def test_what_cannot_be_trained_is_refused(study: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="finetune-blocks"):
        TuneConfig(blocks=0)
    with pytest.raises(UsageError, match="all blocks"):
        TuneConfig(scratch="tiny", blocks=2)
    with pytest.raises(UsageError, match="preset"):
        fit_both(study, tmp_path, TuneConfig(scratch="enormous"), None)
    with pytest.raises(UsageError, match="No encoder"):
        fit_both(study, tmp_path, LAST, None)
    clips = [
        micro_clip(number, labels={"ef_percent": 50.0 + number, "split": "train"})
        for number in range(4)
    ]
    write_clips(tmp_path / "few", clips)
    with pytest.raises(EchoError, match="needs 3"):
        lvef.fit(
            tmp_path / "few", study / "model", tmp_path / "h", config=lvef.LvefConfig(tune=LAST)
        )
    wild = TuneConfig(blocks=1, fit=FitConfig(least_steps=4, epochs=1, batch=4, lr=1e30))
    with pytest.raises(EchoError, match="diverged"):
        fit_both(study, tmp_path, wild, study / "model")


def test_labels_are_cropped_as_their_clips() -> None:
    draw = torch.Generator().manual_seed(0)
    boxes = draw_boxes(3, AugmentConfig(), draw)
    masks = torch.zeros(3, 32, 32, dtype=torch.uint8)
    masks[:, 8:20, 6:22] = 2
    shown = crop((masks == 2)[:, None, None].float(), boxes)[:, 0, 0]
    cut = crop_labels(masks, boxes)
    assert set(torch.unique(cut).tolist()) == {0, 2}
    assert torch.equal(cut == 2, shown > 0.5)
