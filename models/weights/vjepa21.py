"""V-JEPA 2.1: ``vjepa2_1_vitb_dist_vitG_384.pt`` and its like."""

from __future__ import annotations

from ._vjepa import convert_family, generation
from .base import Converted, Found, Wish

LABEL = "V-JEPA 2.1"
LICENCE = "MIT (of the repository; no licence of the weights alone is stated)"
SOURCE = "arXiv 2603.14482; github.com/facebookresearch/vjepa2"
USUAL = (16, 384)
"""Frames, and rows and columns, of the last part of the training."""
LEVELS = 4
SIDE = 16
"""Rows and columns of the grid over which rotary positions are spread: that of 256 pixels."""
RENAMED = {
    "norm.": f"norms_block.{LEVELS - 1}.",
    "level_norms.": "norms_block.",
    "still_embed.": "patch_embed_img.",
    "still_token": "img_mod_embed",
    "clip_token": "video_mod_embed",
}


def recognises(found: Found) -> bool:
    """Return whether a file is of this format."""
    return generation(found) == "vjepa21"


def convert(found: Found, wish: Wish) -> Converted:
    """Turn a file's tensors into ours."""
    return convert_family(
        found,
        wish,
        renamed=RENAMED,
        not_needed={},
        usual=USUAL,
        positions="rotary",
        rope_pairing="interleaved",
        rope_side=SIDE,
        levels=LEVELS,
        stills=True,
    )
