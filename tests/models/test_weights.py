"""Public formats: every name accounted for, and the features that the weights were made for."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from made_weights import DEPTH, HEADS, MADE
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from echocli.models.positions import sincos_3d, sincos_line
from echocli.models.vit import VisionTransformer
from echocli.models.weights import base
from echocli.models.weights._grey import fold_to_grey
from echocli.models.weights.base import Converted, Found, KeysError, Wish

WISH = Wish(heads=HEADS)


def encoder_of(converted: Converted) -> VisionTransformer:
    encoder = VisionTransformer(converted.config, None)
    encoder.load_state_dict(converted.weights, assign=True)
    return encoder.eval().requires_grad_(False)


def convert(name: str, wish: Wish = WISH) -> Converted:
    return base.load(name).convert(MADE[name](), wish)


@pytest.fixture(params=base.available())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def video(generator: torch.Generator) -> Tensor:
    return torch.randn(1, 3, 4, 32, 32, generator=generator)


def test_every_file_in_the_folder_is_a_format_with_a_small_example() -> None:
    assert set(base.available()) == set(MADE)
    for name in base.available():
        module = base.load(name)
        assert isinstance(module, base.FormatModule)
        assert all(words for words in (module.LABEL, module.LICENCE, module.SOURCE))


def test_a_file_is_of_one_format(name: str) -> None:
    assert base.recognise(MADE[name]()) == [name]


def test_every_name_is_taken_or_left_out_for_a_reason(name: str) -> None:
    found, converted = MADE[name](), convert(name)
    assert all(converted.left_out.values())
    used = set(found.tensors) - set(converted.left_out)
    # What is used is needed: without any one of them the file is refused.
    for gone in (n for n in used if "s.1." in n or "r.1." in n or n.endswith("norm.bias")):
        rest = {n: t for n, t in found.tensors.items() if n != gone}
        with pytest.raises(KeysError) as refused:
            base.load(name).convert(replace(found, tensors=rest), WISH)
        assert refused.value.missing == [gone]


def test_without_its_first_name_a_file_is_nothing(name: str) -> None:
    found = MADE[name]()
    stems = ("patch_embed.proj.weight", "projection.weight", "patch_embeddings.proj.weight")
    rest = {n: t for n, t in found.tensors.items() if not n.endswith(stems)}
    assert base.recognise(replace(found, tensors=rest)) == []
    with pytest.raises(KeysError) as refused:
        base.load(name).convert(replace(found, tensors=rest), WISH)
    assert refused.value.missing


def test_the_other_network_of_a_file_has_the_same_names() -> None:
    found = MADE["vjepa2"]()
    gone = "encoder.module.backbone.blocks.1.norm1.bias"
    rest = {n: t for n, t in found.tensors.items() if n != gone}
    with pytest.raises(KeysError) as refused:
        base.load("vjepa2").convert(replace(found, tensors=rest), WISH)
    assert refused.value.missing == [gone]


def test_one_name_too_many_is_refused_by_name(name: str) -> None:
    found = MADE[name]()
    some = next(n for n in found.tensors if "blocks.1." in n or "layer.1." in n)
    for extra in (f"{some}_new", "surprise.weight"):
        more = {**found.tensors, extra: torch.zeros(1)}
        with pytest.raises(KeysError) as refused:
            base.load(name).convert(replace(found, tensors=more), WISH)
        assert extra in refused.value.unexpected


def test_another_shape_is_refused_by_name(name: str) -> None:
    found, converted = MADE[name](), convert(name)
    used = set(found.tensors) - set(converted.left_out)
    one = next(n for n in sorted(used) if n.endswith(("norm.weight", "block.3.weight")))
    wrong = {**found.tensors, one: torch.zeros(7)}
    with pytest.raises(KeysError) as refused:
        base.load(name).convert(replace(found, tensors=wrong), WISH)
    assert refused.value.wrong == [f"{one} is (7,), not (48,)"]


def test_half_precision_comes_in_as_float32(name: str) -> None:
    found = MADE[name]()
    tables = {n: t for n, t in found.tensors.items() if n.endswith("pos_embed")}
    halves = {n: t.half() for n, t in found.tensors.items()} | tables
    converted = base.load(name).convert(replace(found, tensors=halves), WISH)
    assert {t.dtype for t in converted.weights.values()} == {torch.float32}


def test_shapes_alone_are_enough_to_describe_a_file(name: str) -> None:
    found = MADE[name]()
    shapes = replace(found, tensors={n: t.to("meta") for n, t in found.tensors.items()})
    assert base.recognise(shapes) == [name]
    described = base.load(name).convert(shapes, WISH)
    assert described.left_out == convert(name).left_out
    assert described.config.depth == DEPTH


def test_a_grey_clip_gives_what_it_gave_in_colours(
    name: str, generator: torch.Generator
) -> None:
    converted = convert(name)
    grey = fold_to_grey(converted)
    assert grey.config.channels == 1
    assert len(grey.mean) == len(grey.std) == 1
    pixels = torch.rand(1, 1, 4, 32, 32, generator=generator)
    shape = (1, 3, 1, 1, 1)
    mean, std = (torch.tensor(v).reshape(shape) for v in (converted.mean, converted.std))
    seen = (pixels - grey.mean[0]) / grey.std[0]
    in_colours = encoder_of(converted)((pixels - mean) / std)
    assert_close(encoder_of(grey)(seen), in_colours, rtol=0, atol=2e-5)
    assert fold_to_grey(grey) is grey
    if converted.config.stills:
        still = encoder_of(converted)((pixels[:, :, :1] - mean) / std)
        assert_close(encoder_of(grey)(seen[:, :, :1]), still, rtol=0, atol=2e-5)


def test_v_jepa_2_is_the_same_by_hugging_faces_names(video: Tensor) -> None:
    one, other = (encoder_of(convert(n))(video) for n in ("vjepa2", "hf_vjepa2"))
    assert torch.equal(one, other)


def test_videomae_is_the_same_by_hugging_faces_names(video: Tensor) -> None:
    one, other = (encoder_of(convert(n))(video) for n in ("videomae", "hf_videomae"))
    assert torch.equal(one, other)


def test_videomae_equals_its_equations(video: Tensor) -> None:
    weights = {
        n.removeprefix("model.encoder."): t for n, t in MADE["videomae"]().tensors.items()
    }

    def norm(tokens: Tensor, part: str) -> Tensor:
        return F.layer_norm(
            tokens, (48,), weights[f"{part}.weight"], weights[f"{part}.bias"], 1e-6
        )

    stem = "patch_embed.proj"
    patches = F.conv3d(video, weights[f"{stem}.weight"], weights[f"{stem}.bias"], (2, 8, 8))
    tokens = patches.flatten(2).mT[0] + sincos_line(32, 48)
    for i in range(DEPTH):
        block = f"blocks.{i}."
        q, k, v = weights[f"{block}attn.qkv.weight"].chunk(3)
        seen = norm(tokens, f"{block}norm1")
        query = seen @ q.T + weights[f"{block}attn.q_bias"]
        key, value = seen @ k.T, seen @ v.T + weights[f"{block}attn.v_bias"]
        mixed = []
        for head in range(HEADS):
            part = slice(16 * head, 16 * (head + 1))
            scores = query[:, part] @ key[:, part].T / math.sqrt(16)
            mixed.append(scores.softmax(dim=1) @ value[:, part])
        out = torch.cat(mixed, 1) @ weights[f"{block}attn.proj.weight"].T
        tokens = tokens + out + weights[f"{block}attn.proj.bias"]
        inner = norm(tokens, f"{block}norm2") @ weights[f"{block}mlp.fc1.weight"].T
        inner = F.gelu(inner + weights[f"{block}mlp.fc1.bias"])
        out = inner @ weights[f"{block}mlp.fc2.weight"].T + weights[f"{block}mlp.fc2.bias"]
        tokens = tokens + out
    expected = norm(tokens, "norm")
    assert_close(encoder_of(convert("videomae"))(video)[0], expected, rtol=0, atol=2e-5)


def test_queries_may_come_without_offsets() -> None:
    found = MADE["discovr"]()
    bare = {n: t for n, t in found.tensors.items() if not n.endswith(("q_bias", "v_bias"))}
    converted = base.load("discovr").convert(replace(found, tensors=bare), WISH)
    assert not converted.config.qkv_bias
    zeros = {
        n: torch.zeros_like(t) if n.endswith("_bias") else t for n, t in found.tensors.items()
    }
    same = base.load("discovr").convert(replace(found, tensors=zeros), WISH)
    video = torch.ones(1, 3, 4, 32, 32)
    assert_close(encoder_of(converted)(video), encoder_of(same)(video))


def test_the_teacher_is_taken_unless_the_student_is_asked_for() -> None:
    for name, teacher in (("discovr", "video_teacher"), ("vjepa", "target_encoder")):
        taken = convert(name)
        student = convert(name, Wish(heads=HEADS, branch="encoder"))
        assert (taken.branch, student.branch) == (teacher, "encoder")
        found = MADE[name]().tensors
        for converted in (taken, student):
            pattern = f"{converted.branch}."
            norm = next(
                t
                for n, t in found.items()
                if pattern in n
                and n.endswith(".norm.weight")
                and n.split(".")[0 if name == "vjepa" else 1] == converted.branch
            )
            assert torch.equal(converted.weights["norm.weight"], norm)
    with pytest.raises(ValueError, match="image_teacher"):
        convert("discovr", Wish(heads=HEADS, branch="image_teacher"))
    with pytest.raises(KeysError, match="ema_encoder"):
        convert("vjepa", Wish(heads=HEADS, branch="ema_encoder"))


def test_another_table_of_positions_is_refused() -> None:
    for name in ("vjepa", "discovr"):
        found = MADE[name]()
        other = {n: t + 0.1 if n.endswith("pos_embed") else t for n, t in found.tensors.items()}
        with pytest.raises(ValueError, match="not the published"):
            base.load(name).convert(replace(found, tensors=other), WISH)


def test_time_may_have_half_of_the_table() -> None:
    found = MADE["vjepa"]()
    halved = sincos_3d((2, 4, 4), 48, uniform=False)[None]
    tensors = {n: halved if n.endswith("pos_embed") else t for n, t in found.tensors.items()}
    converted = base.load("vjepa").convert(replace(found, tensors=tensors), WISH)
    encoder = encoder_of(converted)
    assert encoder.positions is not None
    assert torch.equal(encoder.positions((2, 4, 4)), halved)
    assert not converted.config.uniform_power


def test_a_table_without_a_predictor_could_be_either_v_jepa() -> None:
    tensors = {n: t for n, t in MADE["vjepa2"]().tensors.items() if "predictor" not in n}
    assert base.recognise(Found(tensors=tensors)) == []
    stale = base.load("vjepa2").convert(Found(tensors=tensors), WISH)
    assert any("stale" in why for why in stale.left_out.values())


def test_heads_must_be_said_where_shapes_do_not_tell() -> None:
    with pytest.raises(ValueError, match="48 wide"):
        convert("vjepa2", Wish())


def test_layer_scales_fold_into_the_layers_before_them(video: Tensor) -> None:
    found = MADE["timm_vit"]()
    doubled = {n: 2 * t if n.endswith("ls1.gamma") else t for n, t in found.tensors.items()}
    twice = base.load("timm_vit").convert(replace(found, tensors=doubled), WISH)
    once = convert("timm_vit")
    for kind in ("weight", "bias"):
        name = f"blocks.0.attn.proj.{kind}"
        gamma = found.tensors["blocks.0.ls1.gamma"]
        rows = gamma[:, None] if kind == "weight" else gamma
        assert torch.equal(once.weights[name], found.tensors[name] * rows)
        assert_close(twice.weights[name], 2 * once.weights[name])
    assert encoder_of(once)(video).shape == (1, 32, 48)
