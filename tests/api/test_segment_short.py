"""Loops that are shorter than a window: a half beat, as CAMUS has them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_hearts import ED, ES, clip, ventricle, write_clips

from echocli.api import segment
from echocli.api._finetune import TuneConfig
from echocli.api._segment.frames import BEYOND
from echocli.api._segment.tokens import tokens_of
from echocli.api.segment import SegmentConfig
from echocli.checkpoint import load_head, load_model, save_head, save_model
from echocli.clips.contract import DataConfig
from echocli.clips.record import Clip
from echocli.clips.store import ClipSet
from echocli.console import _Silent
from echocli.device import choose_device
from echocli.errors import EchoError
from echocli.models.tasks.segmentation import SegmentationConfig
from echocli.models.vit import VisionTransformer, ViTConfig
from echocli.statistics.overlap import dice

WINDOW = DataConfig(frames=8, size=32, seconds=0.4)
"""0.35 s from the first to the last frame; a half beat lasts 0.28 s."""
QUICK = SegmentConfig(draws=2, head=SegmentationConfig(steps=150, batch=8))


class Listening(_Silent):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def say(self, message: str) -> None:
        self.heard.append(message)


def half_beat(number: int) -> Clip:
    """Return a clip from end-diastole to end-systole, with masks at both ends."""
    one = clip(number)
    assert one.times_s is not None
    return replace(one, frames=one.frames[: ES + 1], times_s=one.times_s[: ES + 1])


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    config = ViTConfig(frames=8, size=32, tubelet=(2, 4, 4), dim=48, depth=1, heads=3)
    encoder = VisionTransformer(config, torch.Generator().manual_seed(0))
    save_model(folder / "model", encoder, WINDOW, "vjepa", {"clip_size": 32})
    write_clips(folder / "clips", [half_beat(number) for number in range(25)])
    segment.fit(folder / "clips", folder / "model", folder / "head", config=QUICK)
    return folder


def test_a_frozen_encoder_learns_from_half_beats_and_draws_all_their_frames(
    study: Path, tmp_path: Path
) -> None:
    config = json.loads((study / "head/config.json").read_text())
    assert config["short"] == "part"
    assert config["n"]["test"] == {"clips": 5, "frames": 10, "patients": 5}
    ours, mean = config["metrics"]["dice"], config["mean_map"]["dice"]
    assert ours["lv_cavity"]["value"] > 0.85 > mean["lv_cavity"]["value"]
    listening = Listening()
    found = segment.predict(
        study / "clips", study / "head", tmp_path / "masks", draws=2, reporter=listening
    )
    assert any(
        "25 of 25 clip(s) are shorter than a window of 0.4 s" in said
        for said in listening.heard
    )
    assert found.left_out == []
    masks = ClipSet.open(tmp_path / "masks")
    drawn = masks.frames(masks.manifest["clip_id"].tolist().index("clip4"))
    truth = ventricle(4, 32)[1]
    assert len(drawn) == ES + 1
    overlaps = [dice(drawn[frame] == 1, truth[frame] == 1) for frame in range(ED, ES + 1)]
    assert min(overlaps) > 0.8


def test_what_stands_beyond_a_loop_is_not_looked_at(study: Path) -> None:
    model, clips = load_model(study / "model"), ClipSet.open(study / "clips")
    indices = np.array([0, 1, 2, 4, 5, 7, BEYOND, BEYOND])
    tokens = tokens_of(model, clips, [0], [indices], choose_device("cpu", "fp32"))
    assert not tokens[:, :3].isnan().any()
    assert tokens[:, 3].isnan().all()
    frames = torch.from_numpy(clips.frames(0)[np.maximum(indices, 0)]).float()[None, None]
    video = (frames / 255 - WINDOW.mean[0]) / WINDOW.std[0]
    seen = torch.arange(3 * 64)[None]
    with torch.inference_mode():
        wanted = model.encoder(video, seen)
        video[:, :, 6:] = 1e3
        torch.testing.assert_close(model.encoder(video, seen), wanted)
    torch.testing.assert_close(tokens[0, :3].flatten(0, 2), wanted[0])


def test_encoders_in_training_and_older_heads_leave_short_loops_out_by_name(
    study: Path, tmp_path: Path
) -> None:
    tuned = SegmentConfig(tune=TuneConfig(blocks=1))
    with pytest.raises(EchoError, match="shorter than one window") as caught:
        segment.fit(study / "clips", study / "model", tmp_path / "head", config=tuned)
    assert "leave --finetune-blocks" in caught.value.remedy
    assert "--from-scratch unet" in caught.value.remedy
    tensors, config = load_head(study / "head", "segment")
    del config["short"]
    save_head(tmp_path / "older", tensors, config)
    with pytest.raises(EchoError, match="shorter than one window"):
        segment.evaluate(study / "clips", tmp_path / "older", model=study / "model")


def test_frames_between_the_ends_of_a_half_beat_are_a_part_of_their_own(
    study: Path, tmp_path: Path
) -> None:
    frames = (ED, 3, ES)
    one = half_beat(4)
    labels = {**one.labels, "ed_frame": ED, "es_frame": ES}
    masks = ventricle(4, 32)[1][list(frames)]
    traced = replace(one, labels=labels, masks=masks, mask_frames=frames)
    clips = write_clips(tmp_path / "clips", [traced])
    found = segment.evaluate(clips, study / "head", draws=2).summary["subgroups"]["phase"]
    assert {part["name"]: part["frames"] for part in found} == {"ED": 1, "ES": 1, "between": 1}
