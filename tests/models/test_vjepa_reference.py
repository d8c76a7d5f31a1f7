"""V-JEPA, 2 and 2.1, against the numbers of their published codes for small random weights."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from echocli.models.methods.vjepa import VJEPA, Config, build
from echocli.models.optim import OptimConfig, build_optimizer
from echocli.models.predictor import Predictor
from echocli.models.vit import ViTConfig

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures"
pytestmark = pytest.mark.skipif(
    not FIXTURES.exists(), reason="The parity fixtures are not here."
)
SIZES: dict[str, Any] = {
    "frames": 4,
    "size": 64,
    "channels": 3,
    "dim": 48,
    "depth": 2,
    "heads": 3,
}
TURNED: dict[str, Any] = {"positions": "rotary", "rope_pairing": "tiled"}


@dataclass(frozen=True)
class Reference:
    """Our method with the published code's weights, and what that code computed."""

    method: VJEPA
    numbers: dict[str, Tensor]
    step: dict[str, Any]
    after: dict[str, Tensor]

    @property
    def draws(self) -> dict[str, Tensor]:
        """The masks of the fixture."""
        names = {"context": "enc", "targets": "pred"}
        return {
            f"{ours}{kind}": self.numbers[f"mask{kind}.{theirs}"]
            for ours, theirs in names.items()
            for kind in (0, 1)
        }


def read(folder: str) -> dict[str, Tensor]:
    safetensors = pytest.importorskip("safetensors.torch")
    loaded: dict[str, Tensor] = safetensors.load_file(FIXTURES / folder / "io.safetensors")
    return loaded


def our_name(name: str) -> str:
    """Return our name of a weight, ``encoder.`` or ``predictor.`` in front."""
    name = name.replace("module.", "").replace("backbone.", "").replace("predictor_", "")
    return re.sub(r"^encoder\.", "context_encoder.", name)


def weights_of(file: Path, branches: dict[str, str], tokens: int) -> dict[str, Tensor]:
    """Return the weights of a file under our names, as many mask tokens as asked for.

    Args:
        file: What the published code saved.
        branches: Its networks, and what they are called in ours.
        tokens: How many mask tokens there are.
    """
    saved: dict[str, Any] = torch.load(file, weights_only=True)
    found, masks = {}, []
    for branch, ours in branches.items():
        for name, value in saved[branch].items():
            plain = name.replace("module.backbone.", "")
            if plain.startswith("mask_tokens"):
                masks.append(value)
            elif not plain.endswith("pos_embed"):
                value = value.flatten(1) if value.ndim == 5 else value
                found[f"{ours}.{plain.replace('predictor_', '')}"] = value
    return found | ({"predictor.mask_tokens": torch.cat(masks[:tokens])} if masks else {})


@pytest.fixture(params=["vjepa1", "vjepa2"])
def reference(request: pytest.FixtureRequest) -> Reference:
    """The first and the second V-JEPA; the second trains one mask token of its ten."""
    safetensors = pytest.importorskip("safetensors.torch")
    first = request.param == "vjepa1"
    folder = FIXTURES / f"{request.param}_micro"
    step = json.loads((folder / "step.json").read_text(encoding="utf-8"))
    config = Config(
        predictor_dim=36,
        predictor_depth=2,
        predictor_heads=3,
        jepa_weight=1.0,
        mask_tokens=2 if first else 1,
        momentum=step["ema_m"],
        momentum_end=step["ema_m"],
    )
    shape = ViTConfig(**SIZES, **({} if first else TURNED))
    method = build(shape, config, torch.Generator())
    branches = {
        "encoder": "context_encoder",
        "target_encoder": "target_encoder",
        "predictor": "predictor",
    }
    weights = weights_of(next(folder.glob("checkpoint.*")), branches, config.mask_tokens)
    missing, unexpected = method.load_state_dict(weights, strict=False)
    assert missing == ["context_weight"]
    assert not unexpected
    after = safetensors.load_file(folder / "step.safetensors")
    return Reference(method, read(folder.name), step, after)


def test_target_features_agree(reference: Reference) -> None:
    numbers = reference.numbers
    features, targets = reference.method.teach(numbers["clip"], None)
    assert_close(features, numbers["target_encoder.features"], rtol=0, atol=2e-5)
    assert_close(targets, numbers["target_encoder.features_layernorm"], rtol=0, atol=2e-5)


@pytest.mark.parametrize("kind", [0, 1])
def test_context_and_predictions_agree(kind: int, reference: Reference) -> None:
    numbers, method = reference.numbers, reference.method
    seen, asked = numbers[f"mask{kind}.enc"], numbers[f"mask{kind}.pred"]
    context = method.context_encoder(numbers["clip"], seen)
    assert_close(context, numbers[f"mask{kind}.encoder.context"], rtol=0, atol=2e-5)
    said = method.predictor(context, seen, asked, method.encoder.config.grid, kind)
    assert_close(said.targets, numbers[f"mask{kind}.predictor.out"], rtol=0, atol=2e-5)


def test_loss_and_gradients_agree(reference: Reference) -> None:
    output = reference.method(reference.numbers["clip"], reference.draws)
    assert output.loss.item() == pytest.approx(reference.step["loss"], rel=1e-6)
    output.loss.backward()
    parameters = dict(reference.method.named_parameters())
    compared = 0
    for theirs, norm in reference.step["grad_norms"].items():
        name, _, number = our_name(theirs).partition("mask_tokens.")
        gradient = parameters[f"{name}mask_tokens" if number else name].grad
        assert gradient is not None
        ours = gradient[int(number)] if number else gradient
        assert ours.norm().item() == pytest.approx(norm, rel=1e-4), theirs
        compared += 1
    tokens = len(reference.method.predictor.mask_tokens)
    trained = sum(p.requires_grad for p in reference.method.parameters())
    assert compared == trained - 1 + tokens


def test_one_step_of_the_optimiser_and_the_teacher_agrees(reference: Reference) -> None:
    method, step = reference.method, reference.step
    config = OptimConfig(lr=step["lr"], betas=tuple(step["betas"]), decayed="published")
    optimizer = build_optimizer(method, config)
    for group in optimizer.param_groups:
        group["weight_decay"] = step["weight_decay"] if group["decays"] else 0.0
    output = method(reference.numbers["clip"], reference.draws)
    output.loss.backward()
    optimizer.step()
    method.after_step(0.0, output.state)
    ours = method.state_dict()
    for theirs, value in reference.after.items():
        name, _, number = our_name(theirs).partition("mask_tokens.")
        if number and int(number) >= len(method.predictor.mask_tokens):
            continue  # of the ten tokens of V-JEPA 2, nine are never used
        updated = ours[f"{name}mask_tokens"][[int(number)]] if number else ours[name]
        expected = value.flatten(1) if value.ndim == 5 else value
        # Adam's first step divides gradients as small as its epsilon: 3e-4 is a whole step.
        assert_close(updated, expected, rtol=0, atol=6e-6, msg=theirs)


def distilled() -> tuple[Predictor, VJEPA]:
    """V-JEPA 2.1 in its distilled layout: one level in, the teacher's width out."""
    shape = ViTConfig(
        **SIZES | {"depth": 12}, positions="rotary", rope_side=16, levels=4, stills=True
    )
    method = build(shape, Config(jepa_weight=1.0, context_weight=0.5), torch.Generator())
    # As its hub builds it: unlike its training, without spreading the predictor's positions.
    inner = ViTConfig(frames=4, size=64, dim=36, depth=4, heads=3, positions="rotary")
    predictor = Predictor(
        inner,
        48,
        levels=1,
        outputs=96,
        mask_tokens=8,
        dense=True,
        generator=torch.Generator(),
    )
    file = FIXTURES / "vjepa21_micro" / "checkpoint.pt"
    names = {
        "norms_block.3.": "norm.",
        "norms_block.": "level_norms.",
        "patch_embed_img.": "still_embed.",
        "img_mod_embed": "still_token",
        "video_mod_embed": "clip_token",
    }
    weights = {}
    for name, value in weights_of(
        file, {"ema_encoder": "", "predictor": "predictor"}, 8
    ).items():
        for theirs, ours in names.items():
            if not name.startswith("predictor."):
                name = name.replace(theirs, ours)
        weights[name.removeprefix(".")] = value
    told = {
        n.removeprefix("predictor."): v
        for n, v in weights.items()
        if n.startswith("predictor.")
    }
    # What is added to every token of a clip is held by the offset and by the mask tokens.
    added = told.pop("video_mod_embed")
    del told["img_mod_embed"]
    told["embed.bias"] = told["embed.bias"] + added.flatten()
    told["mask_tokens"] = told["mask_tokens"] + added
    predictor.load_state_dict(told)
    encoder = {n: v for n, v in weights.items() if not n.startswith("predictor.")}
    for network in (method.context_encoder, method.target_encoder):
        network.load_state_dict(encoder)
    return predictor, method


def test_the_levels_and_both_heads_of_vjepa_21_agree() -> None:
    numbers = read("vjepa21_micro")
    predictor, method = distilled()
    levels = method.target_encoder.levels(numbers["clip"])
    assert_close(levels, numbers["features_hierarchical_4x"], rtol=0, atol=2e-5)
    seen, asked = numbers["mask.enc"], numbers["mask.pred"]
    context = method.context_encoder(numbers["clip"], seen)
    assert_close(context, numbers["context"], rtol=0, atol=2e-5)
    said = predictor(context, seen, asked, method.encoder.config.grid, 0)
    assert said.context is not None
    assert_close(said.targets, numbers["predictor.pred"], rtol=0, atol=2e-5)
    assert_close(said.context, numbers["predictor.context"], rtol=0, atol=2e-5)


def test_every_level_of_vjepa_21_is_normalised_by_itself() -> None:
    numbers = read("vjepa21_micro")
    _, method = distilled()
    _, targets = method.teach(numbers["clip"], None)
    chunks = numbers["features_hierarchical_4x"].split(48, dim=-1)
    expected = torch.cat([F.layer_norm(chunk, (48,)) for chunk in chunks], dim=-1)
    assert_close(targets, expected, rtol=0, atol=2e-5)
