"""V-JEPA against the numbers that its published code gives for small random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from echocli.models.layers import take
from echocli.models.methods.vjepa import VJEPA, Config, build
from echocli.models.predictor import jepa_loss
from echocli.models.vit import ViTConfig

FIXTURE = Path(__file__).parents[3] / "shared" / "fixtures" / "vjepa1_micro"
pytestmark = pytest.mark.skipif(
    not FIXTURE.exists(), reason="The parity fixtures are not here."
)
SHAPE = ViTConfig(frames=4, size=64, channels=3, dim=48, depth=2, heads=3)
SETTINGS = Config(predictor_dim=36, predictor_depth=2, predictor_heads=3, jepa_weight=1.0)


def renamed(weights: dict[str, Tensor], names: dict[str, str]) -> dict[str, Tensor]:
    """Strip the wrappers' prefixes, rename, and leave out the tables of positions."""
    ours = {}
    for name, value in weights.items():
        name = name.removeprefix("module.").removeprefix("backbone.")
        if name.endswith("pos_embed") or name.startswith("mask_tokens"):
            continue
        for theirs, own in names.items():
            name = name.replace(theirs, own)
        ours[name] = value.flatten(1) if value.ndim == 5 else value
    return ours


@pytest.fixture(scope="module")
def numbers() -> dict[str, Tensor]:
    safetensors = pytest.importorskip("safetensors.torch")
    loaded: dict[str, Tensor] = safetensors.load_file(FIXTURE / "io.safetensors")
    return loaded


@pytest.fixture(scope="module")
def reference() -> VJEPA:
    """Our method with the reference's weights."""
    saved: dict[str, Any] = torch.load(FIXTURE / "checkpoint.pth.tar", weights_only=True)
    method = build(SHAPE, SETTINGS, torch.Generator())
    method.context_encoder.load_state_dict(renamed(saved["encoder"], {}))
    method.target_encoder.load_state_dict(renamed(saved["target_encoder"], {}))
    names = {"predictor_": ""}
    predictor = renamed(saved["predictor"], names)
    tokens = [saved["predictor"][f"module.backbone.mask_tokens.{i}"] for i in range(2)]
    predictor["mask_tokens"] = torch.cat(tokens)
    method.predictor.load_state_dict(predictor)
    return method.eval().requires_grad_(False)


def test_target_features_agree(reference: VJEPA, numbers: dict[str, Tensor]) -> None:
    features = reference.target_encoder(numbers["clip"])
    assert_close(features, numbers["target_encoder.features"], rtol=0, atol=2e-5)
    normed = F.layer_norm(features, (SHAPE.dim,))
    assert_close(normed, numbers["target_encoder.features_layernorm"], rtol=0, atol=2e-5)


@pytest.mark.parametrize("kind", [0, 1])
def test_context_and_predictions_agree(
    kind: int, reference: VJEPA, numbers: dict[str, Tensor]
) -> None:
    seen, asked = numbers[f"mask{kind}.enc"], numbers[f"mask{kind}.pred"]
    context = reference.context_encoder(numbers["clip"], seen)
    assert_close(context, numbers[f"mask{kind}.encoder.context"], rtol=0, atol=2e-5)
    predicted = reference.predictor(context, seen, asked, SHAPE.grid, kind)
    assert_close(predicted, numbers[f"mask{kind}.predictor.out"], rtol=0, atol=2e-5)


def test_loss_agrees(reference: VJEPA, numbers: dict[str, Tensor]) -> None:
    targets = numbers["target_encoder.features_layernorm"]
    losses = [
        jepa_loss(
            numbers[f"mask{kind}.predictor.out"], take(targets, numbers[f"mask{kind}.pred"])
        )
        for kind in range(2)
    ]
    assert_close(torch.stack(losses).mean(), numbers["loss"][0], rtol=1e-6, atol=0)
