"""A model or a head is whole or refused."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import torch
from ears import Ears

from echocli import checkpoint as checkpoint_module
from echocli.checkpoint import (
    CONFIG,
    find_model,
    load_head,
    load_model,
    save_head,
    save_model,
    tell_unfinished,
)
from echocli.clips.contract import DataConfig
from echocli.errors import EchoError
from echocli.files import read_json
from echocli.models.vit import VisionTransformer, ViTConfig
from echocli.study import SUMS, WEIGHTS, Study

DATA = DataConfig(frames=4, size=32, seconds=0.4, mean=(0.2,), std=(0.3,))


def encoder(cls_token: bool = False) -> VisionTransformer:
    config = ViTConfig(
        frames=4, size=32, tubelet=(2, 16, 16), dim=48, depth=1, cls_token=cls_token
    )
    return VisionTransformer(config, torch.Generator().manual_seed(7))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_model(tmp_path / "run" / "model", encoder(), DATA, "vjepa", {"steps": 3})
    return tmp_path / "run"


@pytest.mark.parametrize("where", ["", "model", f"model/{WEIGHTS}"])
def test_a_model_comes_back_with_its_contract(saved: Path, where: str) -> None:
    loaded = load_model(saved / where)
    assert loaded.data == DATA
    assert loaded.method == "vjepa"
    assert loaded.details == {"steps": 3}
    video = torch.randn(2, 1, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(loaded.encoder(video), encoder()(video), rtol=0, atol=0)
    assert not any(p.requires_grad for p in loaded.encoder.parameters())


def test_a_model_of_a_training_that_was_stopped_is_called_that(tmp_path: Path) -> None:
    for done, warnings in ((3, 1), (9, 0)):
        ears, details = Ears(), {"steps": 9, "steps_done": done}
        save_model(tmp_path / str(done), encoder(), DATA, "vjepa", details)
        tell_unfinished(load_model(tmp_path / str(done)), ears)
        assert len(ears.warned) == warnings
        assert ears.heard_of("step 3 of 9") == bool(warnings)


def test_a_class_token_comes_back(tmp_path: Path) -> None:
    save_model(tmp_path, encoder(cls_token=True), DATA, "discovr", {})
    assert load_model(tmp_path).encoder.cls_token is not None


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG])
def test_a_changed_byte_is_found(saved: Path, name: str) -> None:
    path = saved / "model" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(EchoError, match="damaged"):
        load_model(saved)


def test_a_model_without_hashes_was_not_finished(saved: Path) -> None:
    (saved / "model" / SUMS).unlink()
    with pytest.raises(EchoError, match="not written to its end"):
        load_model(saved)


def test_a_missing_model_says_what_where_and_how(tmp_path: Path) -> None:
    with pytest.raises(EchoError, match=r"runs.*echocli pretrain"):
        find_model(None, Study(tmp_path))
    with pytest.raises(EchoError, match=r"no such model.*runs.*echocli pretrain"):
        find_model("mine", Study(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(EchoError, match="echocli pretrain"):
        load_model(tmp_path / "empty")
    (tmp_path / "begun" / "checkpoints").mkdir(parents=True)
    with pytest.raises(EchoError, match="--resume"):
        load_model(tmp_path / "begun")


def test_the_newest_run_and_a_runs_name_are_found(tmp_path: Path) -> None:
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "latest").write_text("a\n")
    assert find_model(None, Study(tmp_path)) == tmp_path / "runs" / "a"
    assert find_model("a", Study(tmp_path)) == tmp_path / "runs" / "a"


def test_a_head_comes_back_and_knows_its_task(tmp_path: Path) -> None:
    weights = {"w": torch.arange(6.0).reshape(2, 3)}
    save_head(tmp_path, weights, {"task": "lvef", "pool": "mean"})
    tensors, config = load_head(tmp_path, "lvef")
    torch.testing.assert_close(tensors["w"], weights["w"])
    assert config["pool"] == "mean"
    with pytest.raises(EchoError, match="segment fit"):
        load_head(tmp_path, "segment")
    with pytest.raises(EchoError, match="lvef fit"):
        load_head(tmp_path / "absent", "lvef")


def test_hashes_of_a_model_cover_both_files(saved: Path) -> None:
    assert set(read_json(saved / "model" / SUMS)) == {WEIGHTS, CONFIG}


@pytest.mark.parametrize("failing", [WEIGHTS, CONFIG, SUMS])
def test_a_full_disk_leaves_the_model_that_stood_there(
    saved: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def full(file: Path, *rest: object, **more: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    before = load_model(saved).sha256
    wrote = Path.write_text
    if failing == WEIGHTS:
        monkeypatch.setattr(checkpoint_module, "save_file", lambda whole, path: full(path))
    else:

        def write(file: Path, *rest: Any, **more: Any) -> None:
            (full if failing in file.name else wrote)(file, *rest, **more)

        monkeypatch.setattr(Path, "write_text", write)
    with pytest.raises(OSError, match="full"):
        save_model(saved / "model", encoder(cls_token=True), DATA, "discovr", {})
    monkeypatch.undo()
    assert load_model(saved).sha256 == before
    assert sorted(p.name for p in (saved / "model").iterdir()) == [SUMS, CONFIG, WEIGHTS]
