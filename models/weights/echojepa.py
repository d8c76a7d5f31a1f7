"""EchoJEPA and others who trained V-JEPA 2's code on heart ultrasound."""

from __future__ import annotations

from ._vjepa import TABLE, convert_family, generation
from .base import Converted, Found, Wish

LABEL = "EchoJEPA"
LICENCE = "unclear: the code is MIT, the training data were credentialed (MIMIC-IV-Echo)"
SOURCE = "arXiv 2602.02603; github.com/bowang-lab/EchoJEPA"
USUAL = (16, 224)
"""Frames, and rows and columns, of the published training."""


def recognises(found: Found) -> bool:
    """Return whether a file is of this format: that of V-JEPA 2, with the iteration beside."""
    return generation(found) == "echojepa"


def convert(found: Found, wish: Wish) -> Converted:
    """Turn a file's tensors into ours, as those of V-JEPA 2."""
    return convert_family(
        found,
        wish,
        renamed={},
        not_needed={TABLE: "stale: a table of positions that the reference ignores"},
        usual=USUAL,
        positions="rotary",
        rope_pairing="tiled",
    )
