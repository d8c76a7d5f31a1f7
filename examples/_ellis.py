"""V-JEPA with localisation as Ellis et al. train and judge it, for both of their tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from _tables import HALF_BEAT, Place

from echocli.api import segment
from echocli.models.finetune import FitConfig

PRESET = "ellis-vitl-12b"
SIZE = 224
STRUCTURES = ("lv_cavity", "lv_myocardium", "left_atrium")


def trained(place: Place, share: float, blocks: int) -> Path:
    """Return the encoder trained with some share of V-JEPA's loss and some blocks frozen."""
    changes = (*HALF_BEAT, f"vjepa.jepa_weight={share}", f"vjepa.frozen_blocks={blocks}")
    return place.encoder(f"vjepa-{blocks}b-lambda-{share:g}", changes)


def mean_dice(
    place: Place, encoder: Path, fit: FitConfig | None, fraction: float = 1.0
) -> float:
    """Return the Dice of a dense head on test patients, mean of the structures."""
    head = place.out / "heads" / f"{encoder.parent.name}-{100 * fraction:g}"
    config = segment.SegmentConfig(
        probe="dense", dense=fit or FitConfig(), label_fraction=fraction
    )
    if not head.exists():
        segment.fit(place.clips(), encoder, head, config=config, reporter=place.reporter)
    found = segment.evaluate(place.clips(), head, reporter=place.reporter)
    dice = found.summary["metrics"]["dice"]
    return float(np.mean([dice[name]["value"] for name in STRUCTURES]))
