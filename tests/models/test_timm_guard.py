"""timm as the oracle of our blocks, and as a start for our encoder."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from echocli.models.positions import sincos_3d
from echocli.models.timm_guard import load_timm
from echocli.models.vit import VisionTransformer
from echocli.models.weights import timm_vit
from echocli.models.weights.base import Found, KeysError, Wish

SHAPE = {"embed_dim": 48, "depth": 2, "num_heads": 3}


def inflated(picture: Any) -> VisionTransformer:
    wish = Wish(heads=SHAPE["num_heads"], frames=2, size=32)
    converted = timm_vit.convert(Found(tensors=picture.state_dict()), wish)
    encoder = VisionTransformer(converted.config, None)
    encoder.load_state_dict(converted.weights, assign=True)
    return encoder.eval()


@pytest.fixture(scope="module", params=[None, 0.3], ids=["plain", "layer_scale"])
def picture(request: pytest.FixtureRequest) -> Any:
    """A small 2-D transformer of timm's, its weights away from their neat beginning."""
    vision = load_timm().models.vision_transformer.VisionTransformer
    scale = {"init_values": request.param}
    model = vision(img_size=32, patch_size=8, num_classes=0, **SHAPE, **scale).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


def test_a_block_equals_timms(picture: Any, generator: torch.Generator) -> None:
    tokens = torch.randn(2, 7, 48, generator=generator)
    ours, theirs = inflated(picture).blocks[1], picture.blocks[1]
    assert_close(ours(tokens), theirs(tokens), rtol=1e-5, atol=1e-6)


def test_a_still_clip_gives_what_timm_gives_for_the_picture(
    picture: Any, generator: torch.Generator
) -> None:
    with torch.no_grad():
        picture.pos_embed[:, :1] = 0
        picture.pos_embed[:, 1:] = sincos_3d((1, 4, 4), 48)
    image = torch.randn(2, 3, 32, 32, generator=generator)
    cls, tokens = inflated(picture).embed(image[:, :, None].expand(-1, -1, 2, -1, -1))
    expected = picture.forward_features(image)
    assert cls is not None
    assert_close(torch.cat([cls[:, None], tokens], dim=1), expected, rtol=1e-4, atol=1e-5)


def test_other_kinds_of_blocks_are_refused_by_name(picture: Any) -> None:
    tensors = {**picture.state_dict(), "blocks.0.attn.q_norm.weight": torch.ones(16)}
    with pytest.raises(KeysError) as refused:
        timm_vit.convert(Found(tensors=tensors), Wish(heads=3))
    assert refused.value.unexpected == ["blocks.0.attn.q_norm.weight"]
