"""A U-Net in the place of encoder and head."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from made_hearts import clip, write_clips, write_model
from torch import nn

from echocli.api import segment
from echocli.api._finetune import TuneConfig
from echocli.api._segment import unet as unet_module
from echocli.api.segment import SegmentConfig
from echocli.api.verify import verify
from echocli.clips.store import ClipSet
from echocli.errors import EchoError, ExitCode, MachineError, UsageError
from echocli.models.finetune import FitConfig
from echocli.models.tasks.segmentation import IMPOSSIBLE


def config_of(steps: int, **more: float) -> SegmentConfig:
    fit = FitConfig(epochs=1, least_steps=steps, lr=1e-2, batch=8, checks=4)
    return SegmentConfig(draws=50, tune=TuneConfig(scratch="unet", fit=fit), **more)


def convolutions(_: object) -> nn.Module:
    """Return what draws by brightness alone, which these hearts are drawn by."""
    return nn.Sequential(nn.Conv2d(1, 16, 1), nn.GELU(), nn.Conv2d(16, 4, 1))


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unet_module, "_from_library", convolutions)
    monkeypatch.setattr(unet_module, "version", lambda _: "1.2.3")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "clips"
    return write_clips(folder, [clip(number) for number in range(20)])


@pytest.mark.usefixtures("stand_in")
def test_it_is_fitted_kept_and_read_like_any_head(clips: Path, tmp_path: Path) -> None:
    head = tmp_path / "head"
    found = segment.fit(clips, None, head, config=config_of(80)).config
    assert (found["probe"], found["method"], found["model_sha256"]) == ("unet", "unet", "")
    assert found["data"]["frames"] == 1
    assert found["data"]["size"] == 32
    ours, mean = found["metrics"]["dice"], found["mean_map"]["dice"]
    assert ours["lv_cavity"]["value"] > max(0.95, mean["lv_cavity"]["value"])
    assert ours["left_atrium"]["value"] is None
    assert verify(head).whole

    again = segment.evaluate(clips, head, draws=50).summary
    assert again["metrics"] == found["metrics"]
    # Frames of another size, and without times: each is seen by itself.
    untimed = write_clips(tmp_path / "other", [clip(24, side=48, timed=False)])
    predicted = segment.predict(untimed, head, tmp_path / "out", draws=50)
    assert ClipSet.open(tmp_path / "out").frames(0).shape[1:] == (48, 48)
    assert predicted.volumes["ef_percent"].notna().all()
    assert not (ClipSet.open(tmp_path / "out").frames(0) == 3).any()

    with pytest.raises(UsageError, match="reads no encoder"):
        segment.evaluate(clips, head, model=write_model(tmp_path / "model"))
    fewer = segment.fit(clips, None, tmp_path / "few", config=config_of(1, label_fraction=0.3))
    assert fewer.config["n"]["train"]["patients"] == 4


@pytest.mark.usefixtures("stand_in")
def test_a_library_that_has_changed_names_the_one_that_fits(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment.fit(clips, None, tmp_path / "head", config=config_of(1))
    monkeypatch.setattr(unet_module, "_from_library", lambda _: nn.Conv2d(1, 4, 1))
    monkeypatch.setattr(unet_module, "version", lambda _: "9.9")
    with pytest.raises(EchoError, match=r"monai 1\.2\.3.*monai 9\.9") as caught:
        segment.evaluate(clips, tmp_path / "head")
    assert "pip install monai==1.2.3" in caught.value.remedy


def test_without_the_library_it_is_named(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unet_module, "find_spec", lambda _: None)
    with pytest.raises(MachineError, match="MONAI") as caught:
        segment.fit(clips, None, tmp_path / "head", config=config_of(1))
    assert caught.value.code == ExitCode.MACHINE
    assert "pip install monai" in caught.value.remedy
    assert not (tmp_path / "head").exists()
    with pytest.raises(UsageError, match="--layer-decay"):
        SegmentConfig(tune=TuneConfig(scratch="unet", fit=FitConfig(layer_decay=0.5)))


def test_the_librarys_own_learns_and_leaves_the_global_generator_alone(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("monai", reason="MONAI is optional: pip install monai")
    monkeypatch.setattr(unet_module, "FEATURES", (8, 8, 8, 8, 8, 8))
    before = torch.get_rng_state()
    found = segment.fit(clips, None, tmp_path / "head", config=config_of(60)).config
    assert torch.equal(torch.get_rng_state(), before)
    ours, mean = found["metrics"]["dice"], found["mean_map"]["dice"]
    for name in ("lv_cavity", "lv_myocardium"):
        assert ours[name]["value"] > mean[name]["value"] + 0.05, name
    again = segment.evaluate(clips, tmp_path / "head", draws=50).summary
    assert again["metrics"] == found["metrics"]
    kept = json.loads((tmp_path / "head/config.json").read_text())["unet"]
    assert kept["features"] == [8] * 6


def test_it_draws_no_structure_that_no_mask_held() -> None:
    network = unet_module.FrameUNet(convolutions(None))
    network.possible[3] = False
    drawn = network(torch.zeros(2, 1, 16, 16))
    assert (drawn[:, 3] == IMPOSSIBLE).all()
    assert np.isfinite(drawn.detach().numpy()).all()
