"""V-JEPA 2: ``vitl.pt`` and its like."""

from __future__ import annotations

from ._vjepa import TABLE, convert_family, generation
from .base import Converted, Found, Wish

LABEL = "V-JEPA 2"
LICENCE = "MIT (code; the cards of the weights say MIT or Apache-2.0)"
SOURCE = "Assran et al. 2025, arXiv 2506.09985; github.com/facebookresearch/vjepa2"
USUAL = (16, 256)
"""Frames, and rows and columns, of most of the training."""
STALE = {TABLE: "stale: a table of positions that the reference ignores, being rotary"}


def recognises(found: Found) -> bool:
    """Return whether a file is of this format."""
    return generation(found) == "vjepa2"


def convert(found: Found, wish: Wish) -> Converted:
    """Turn a file's tensors into ours, with the published quirk in its rotary positions."""
    return convert_family(
        found,
        wish,
        renamed={},
        not_needed=STALE,
        usual=USUAL,
        positions="rotary",
        rope_pairing="tiled",
    )
