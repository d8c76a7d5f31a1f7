"""Public formats against the numbers and the name lists of the public code."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from echocli.api._models.read import read_weights
from echocli.models.positions import sincos_3d, sincos_line
from echocli.models.vit import VisionTransformer
from echocli.models.weights import base
from echocli.models.weights.base import Found, KeysError, Wish

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures"
pytestmark = pytest.mark.skipif(
    not FIXTURES.exists(), reason="The parity fixtures are not here."
)
CLOSE = {"rtol": 0, "atol": 2e-5}


def numbers(file: str) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return dict(load_file(FIXTURES / file))


def imported(file: str, **wish: Any) -> VisionTransformer:
    found = read_weights(FIXTURES / file)
    (name,) = base.recognise(found)
    wishes = Wish(**{"heads": 3, "frames": 4, "size": 64, **wish})
    converted = base.load(name).convert(found, wishes)
    encoder = VisionTransformer(converted.config, None)
    encoder.load_state_dict(converted.weights, assign=True)
    return encoder.eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("folder", "file", "sizes"),
    [
        ("vjepa1_micro", "checkpoint.pth.tar", ("", "_96px")),
        ("vjepa2_micro", "checkpoint.pt", ("", "_96px", "_64x48px")),
    ],
)
def test_v_jepa_features_agree_at_every_size(
    folder: str, file: str, sizes: tuple[str, ...]
) -> None:
    expected = numbers(f"{folder}/io.safetensors")
    target = imported(f"{folder}/{file}")
    for size in sizes:
        features = target(expected[f"clip{size}"])
        assert_close(features, expected[f"target_encoder.features{size}"], **CLOSE)
    encoder = imported(f"{folder}/{file}", branch="encoder")
    assert_close(encoder(expected["clip"]), expected["encoder.features"], **CLOSE)
    for kind in range(2):
        context = encoder(expected["clip"], expected[f"mask{kind}.enc"])
        assert_close(context, expected[f"mask{kind}.encoder.context"], **CLOSE)


def test_hugging_faces_v_jepa_2_agrees() -> None:
    expected = numbers("vjepa2_micro/hf_io.safetensors")
    video = expected["hf.pixel_values_videos"].transpose(1, 2)
    encoder = imported("vjepa2_micro/hf", heads=None)
    assert_close(encoder(video), expected["hf.last_hidden_state"], **CLOSE)


def test_v_jepa_2_1_agrees_for_clips_pictures_and_levels() -> None:
    expected = numbers("vjepa21_micro/io.safetensors")
    encoder = imported("vjepa21_micro/checkpoint.pt")
    pairs = [("clip", "features"), ("clip_96px", "features_96px"), ("image", "features_image")]
    for video, features in pairs:
        assert_close(encoder(expected[video]), expected[features], **CLOSE)
    levels = encoder.levels(expected["clip"])
    assert_close(levels, expected["features_hierarchical_4x"], **CLOSE)
    context = encoder(expected["clip"], expected["mask.enc"])
    assert_close(context, expected["context"], **CLOSE)


@pytest.mark.parametrize("branch", ["video_teacher", "encoder"])
@pytest.mark.parametrize("file", ["checkpoint-399.pth", "checkpoint-weights-only.pth"])
def test_discovr_features_agree(branch: str, file: str) -> None:
    expected = numbers("discovr_micro/io.safetensors")
    encoder = imported(f"discovr_micro/{file}", branch=branch, frames=8)
    cls, tokens = encoder.embed(expected["clip"])
    assert cls is not None
    whole = torch.cat([cls[:, None], tokens], dim=1)
    assert_close(whole, expected[f"{branch}.full"], **CLOSE)
    visible = torch.stack([(~mask).nonzero()[:, 0] for mask in expected["mask.global"]])
    cls, tokens = encoder.embed(expected["clip"], visible)
    assert cls is not None
    whole = torch.cat([cls[:, None], tokens], dim=1)
    assert_close(whole, expected[f"{branch}.masked_global"], **CLOSE)


def mock(shapes: dict[str, Any]) -> dict[str, Tensor]:
    """Full-size tensors that take no memory: one zero, seen everywhere."""
    return {name: torch.zeros(()).expand(tuple(shape)) for name, shape in shapes.items()}


def published() -> list[Any]:
    lists = {"v1": "vjepa", "v2": "vjepa2", "v21": "vjepa21"}
    cases = []
    for version, name in lists.items():
        file = FIXTURES / f"vjepa_keys_{version}.json"
        if file.exists():
            for model in json.loads(file.read_text(encoding="utf-8")):
                cases.append(pytest.param(file, model, name, id=model))
    return cases


@pytest.mark.parametrize(("file", "model", "name"), published())
def test_every_published_v_jepa_comes_in_with_every_name_accounted_for(
    file: Path, model: str, name: str
) -> None:
    listed = json.loads(file.read_text(encoding="utf-8"))[model]
    branch = "ema_encoder" if "dist" in model else "target_encoder"
    shapes = {f"predictor.{n}": s for n, s in listed["predictor"].items()}
    for part in ("encoder", branch):
        shapes |= {f"{part}.{n}": s for n, s in listed["encoder"].items()}
    tensors = mock(shapes)
    for key in [n for n in tensors if n.endswith("encoder.module.backbone.pos_embed")]:
        side = round((shapes[key][1] // 8) ** 0.5)
        tensors[key] = sincos_3d((8, side, side), shapes[key][2])[None]
    found = Found(tensors=tensors)
    assert base.recognise(found) == [name]
    converted = base.load(name).convert(found, Wish())
    ours = sum(tensor.numel() for tensor in converted.weights.values())
    assert ours == listed["encoder_params"]  # the list counts no table of positions
    fixed = [s for n, s in listed["encoder"].items() if n.endswith("pos_embed")]
    taken = set(tensors) - set(converted.left_out)
    assert taken <= {n for n in tensors if n.startswith(f"{branch}.")}
    assert len(taken) == len(listed["encoder"]) - len(fixed)
    changed = dict(tensors)
    one = next(n for n in taken if n.endswith("blocks.7.attn.qkv.weight"))
    changed[f"{one}s"] = changed.pop(one)
    with pytest.raises(KeysError) as refused:
        base.load(name).convert(replace(found, tensors=changed), Wish())
    assert (refused.value.missing, refused.value.unexpected) == ([one], [f"{one}s"])


@pytest.mark.parametrize("bias", [True, False])
def test_the_published_discovr_comes_in_with_every_name_accounted_for(bias: bool) -> None:
    shapes: dict[str, Any] = {}
    text = (FIXTURES / "discovr_state_dict_keys.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        row = re.fullmatch(r"(\S+)\s+(\[[\d, ]+\])(\s+i=0\.\.(\d+))?", line)
        if row is None:
            continue
        for i in range(int(row[4] or 0) + 1):
            name = row[1].replace("{i}", str(i))
            if bias or not name.endswith(("q_bias", "v_bias")):
                shapes[f"model.module.{name}"] = json.loads(row[2])
    assert len(shapes) == (693 if bias else 637)
    tensors = mock(shapes)
    for branch, tokens in (("video_teacher", 1568), ("encoder", 1568)):
        table = torch.cat([torch.zeros(1, 768), sincos_line(tokens, 768)])
        tensors[f"model.module.{branch}.pos_embed"] = table[None]
    found = Found(tensors=tensors)
    assert base.recognise(found) == ["discovr"]
    converted = base.load("discovr").convert(found, Wish())
    assert (converted.config.frames, converted.config.size) == (64, 112)
    assert converted.config.qkv_bias == bias
    taken = set(tensors) - set(converted.left_out)
    assert taken <= {n for n in tensors if n.startswith("model.module.video_teacher.")}
    for extra in ("model.module.video_teacher.blocks.3.attn.k_bias", "model.module.new_head"):
        more = replace(found, tensors={**tensors, extra: torch.zeros(768)})
        with pytest.raises(KeysError) as refused:
            base.load("discovr").convert(more, Wish())
        assert refused.value.unexpected == [extra]
