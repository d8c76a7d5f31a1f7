"""A checkpoint is whole or refused, and a state survives a crash at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from echocli.checkpoint import (
    CONFIG,
    RESUME,
    SUMS,
    WEIGHTS,
    find_model,
    load_head,
    load_model,
    load_resume,
    save_head,
    save_model,
    save_resume,
)
from echocli.clips.contract import DataConfig
from echocli.errors import EchoError
from echocli.files import read_json
from echocli.models.vit import VisionTransformer, ViTConfig
from echocli.study import Study

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
    with pytest.raises(EchoError, match=r"mine.*runs.*echocli pretrain"):
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


def state(step: int) -> dict[str, object]:
    return {"step": step, "weights": torch.full((1000,), float(step))}


def test_the_newest_state_is_read(tmp_path: Path) -> None:
    for step in range(4):
        save_resume(tmp_path, state(step))
    loaded, before = load_resume(tmp_path)
    assert loaded["step"] == 3
    assert not before


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_state_falls_back_to_the_one_before(tmp_path: Path, damage: str) -> None:
    for step in range(3):
        save_resume(tmp_path, state(step))
    path = tmp_path / RESUME
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[1500] ^= 1
    path.write_bytes(bytes(content[: 100 if damage == "cut" else None]))
    if damage == "remove":
        path.unlink()
    loaded, before = load_resume(tmp_path)
    assert loaded["step"] == 1
    assert before


def test_no_state_at_all_is_told(tmp_path: Path) -> None:
    with pytest.raises(EchoError, match="no checkpoint"):
        load_resume(tmp_path)


KILLED = """
import os, signal, threading, time, sys, torch
from pathlib import Path
from echocli.checkpoint import save_resume
threading.Timer(float(sys.argv[2]), lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
step = 0
while True:
    save_resume(Path(sys.argv[1]), {"step": step, "weights": torch.full((30000,), float(step))})
    step += 1
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize("seconds", [0.15, 0.317])
def test_a_kill_at_any_moment_leaves_a_whole_state(tmp_path: Path, seconds: float) -> None:
    result = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(seconds)], check=False
    )
    assert result.returncode == -signal.SIGKILL
    loaded, _ = load_resume(tmp_path)
    assert (loaded["weights"] == loaded["step"]).all()


FULL = """
import resource, signal, sys, torch
from pathlib import Path
from echocli.checkpoint import load_resume, save_resume
from echocli.errors import SpaceError
folder = Path(sys.argv[1])
save_resume(folder, {"step": 1, "weights": torch.zeros(1000)})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save_resume(folder, {"step": 2, "weights": torch.zeros(100_000)})
except (SpaceError, OSError) as error:
    print(type(error).__name__)
print(load_resume(folder)[0]["step"], sorted(p.name for p in folder.iterdir()))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs RLIMIT_FSIZE")
def test_a_full_disk_keeps_the_last_good_state(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], check=False, capture_output=True, text=True
    )
    assert result.stdout.splitlines() == ["SpaceError", f"1 {[SUMS, RESUME]}"], result.stderr


def test_hashes_of_a_model_cover_both_files(saved: Path) -> None:
    assert set(read_json(saved / "model" / SUMS)) == {WEIGHTS, CONFIG}
