"""A fitted head of ``segment``, read from its folder and ready to draw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from echocli.api._encode import prepare
from echocli.api._heads import encoder_of
from echocli.api._segment.fits import DENSE, PART
from echocli.api._segment.labeller import Labeller
from echocli.api._segment.networks import Network, TokenNetwork
from echocli.api._segment.unet import UNET, load_unet
from echocli.checkpoint import load_head
from echocli.console import Reporter
from echocli.errors import UsageError
from echocli.models.tasks.dense_segmentation import DenseSegmenter
from echocli.models.tasks.segmentation import LinearSegmenter
from echocli.study import Study

TASK = "segment"


def open_head(
    head: Path, model: Path | None, device: str, precision: str, reporter: Reporter
) -> tuple[Labeller, dict[str, Any]]:
    """Return a fitted head and its config.

    Args:
        head: Folder written by ``fit``.
        model: The encoder; the one the head remembers if left out.
        device: Where to compute.
        precision: How exactly.
        reporter: Is told where.

    Raises:
        EchoError: If head and encoder do not belong together.
        UsageError: If an encoder is named and none is needed.
        MachineError: If the head needs a library that is missing.
    """
    tensors, config = load_head(head, TASK)
    average = tensors.pop("mean_map")
    network: Network
    if config.get("probe") == UNET:
        if model is not None:
            raise UsageError(f"{head} is a U-Net and reads no encoder.", "Leave --model out.")
        network = load_unet(tensors, config, head)
        place = prepare(device, precision, reporter)
    else:
        loaded = encoder_of(head, config, model, Study())
        place = prepare(device, precision, reporter)
        kind = DenseSegmenter if config.get("probe") == DENSE else LinearSegmenter
        part = config.get("short") == PART
        network = TokenNetwork(loaded, kind.from_state(tensors).to(place.torch), part)
    return Labeller(network, average, place), config
