"""timm as the oracle of our blocks, and as a start for our encoder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from echocli.models.positions import sincos_3d
from echocli.models.timm_guard import inflate_from_timm, load_timm
from echocli.models.vit import VisionTransformer, ViTConfig

CONFIG = ViTConfig(
    frames=2, size=32, channels=3, tubelet=(2, 8, 8), dim=48, depth=2, heads=3, cls_token=True
)


@pytest.fixture(scope="module")
def picture() -> Any:
    """A small 2-D transformer of timm's, its weights away from their neat beginning."""
    vision = load_timm().models.vision_transformer.VisionTransformer
    sizes = {"embed_dim": CONFIG.dim, "depth": CONFIG.depth, "num_heads": CONFIG.heads}
    model = vision(img_size=32, patch_size=8, num_classes=0, **sizes).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


def test_a_block_equals_timms(picture: Any, generator: torch.Generator) -> None:
    encoder = VisionTransformer(CONFIG, generator)
    inflate_from_timm(encoder, picture)
    tokens = torch.randn(2, 7, CONFIG.dim, generator=generator)
    assert_close(encoder.blocks[1](tokens), picture.blocks[1](tokens))


def test_a_still_clip_gives_what_timm_gives_for_the_picture(
    picture: Any, generator: torch.Generator
) -> None:
    encoder = VisionTransformer(CONFIG, generator)
    inflate_from_timm(encoder, picture)
    with torch.no_grad():
        picture.pos_embed[:, :1] = 0
        picture.pos_embed[:, 1:] = sincos_3d((1, 4, 4), CONFIG.dim)
    image = torch.randn(2, 3, 32, 32, generator=generator)
    cls, tokens = encoder.embed(image[:, :, None].expand(-1, -1, 2, -1, -1))
    expected = picture.forward_features(image)
    assert cls is not None
    assert_close(torch.cat([cls[:, None], tokens], dim=1), expected, rtol=1e-4, atol=1e-5)


def test_a_grey_clip_gives_what_the_grey_picture_gives(
    picture: Any, generator: torch.Generator
) -> None:
    encoder = VisionTransformer(replace(CONFIG, channels=1), generator)
    inflate_from_timm(encoder, picture)
    image = torch.randn(1, 1, 32, 32, generator=generator)
    tokens = encoder.patch_embed(image[:, :, None].expand(-1, -1, 2, -1, -1))
    assert_close(tokens, picture.patch_embed(image.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize("change", [{"tubelet": (2, 16, 16)}, {"dim": 96}, {"channels": 2}])
def test_what_does_not_fit_is_refused(
    picture: Any, change: dict[str, Any], generator: torch.Generator
) -> None:
    encoder = VisionTransformer(replace(CONFIG, **change), generator)
    with pytest.raises(ValueError, match=r"fit|differ"):
        inflate_from_timm(encoder, picture)
