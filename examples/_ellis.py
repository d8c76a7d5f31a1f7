"""V-JEPA with localisation as Ellis et al. train and judge it, for both of their tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from _tables import HALF_BEAT, Place, parser_of, place_of

from echocli.api import segment
from echocli.models.finetune import FitConfig

PRESET = "ellis-vitl-12b"
SIZE = 224
BLOCKS = 12
STRUCTURES = ("lv_cavity", "lv_myocardium", "left_atrium")


def asked(page: str | None) -> tuple[Place, int]:
    """Return what the command line asks for, and how many blocks stay as they were.

    Args:
        page: Docstring of the script.
    """
    parser = parser_of(page, PRESET)
    parser.add_argument(
        "--blocks", type=int, default=BLOCKS, help="frozen ones: 0, 12 or 16 in the paper"
    )
    typed = parser.parse_args()
    if typed.model is not None:
        parser.error("each row trains an encoder of its own: --init is what they start from")
    return place_of(typed, method="vjepa", size=SIZE), typed.blocks


def trained(place: Place, share: float, blocks: int) -> Path:
    """Return the encoder trained with some share of V-JEPA's loss and some blocks frozen."""
    changes = (*HALF_BEAT, f"vjepa.jepa_weight={share}", f"vjepa.frozen_blocks={blocks}")
    return place.encoder(f"vjepa-{blocks}b-lambda-{share:g}", changes)


def judged(
    place: Place, encoder: Path, fit: FitConfig | None, fraction: float = 1.0
) -> dict[str, Any]:
    """Return the figures of a dense head on test patients; it is fitted once."""
    head = place.out / "heads" / f"{encoder.parent.name}-{100 * fraction:g}"
    config = segment.SegmentConfig(
        probe="dense", dense=fit or FitConfig(), label_fraction=fraction
    )
    if not head.exists():
        segment.fit(place.clips(), encoder, head, config=config, reporter=place.reporter)
    return segment.evaluate(place.clips(), head, reporter=place.reporter).summary


def mean_dice(figures: Mapping[str, Any], of: str = "metrics") -> float:
    """Return the Dice, mean of the structures, of the head or of the ``mean_map``."""
    dice = figures[of]["dice"]
    return float(np.mean([dice[name]["value"] for name in STRUCTURES]))
