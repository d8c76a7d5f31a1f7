"""timm's 2-D vision transformers by name."""

from __future__ import annotations

import os
from typing import Any

from echocli.api._models.fetch import check_online
from echocli.errors import EchoError
from echocli.models.timm_guard import load_timm
from echocli.models.weights.base import Found

PREFIX = "timm:"


def read_timm(name: str) -> Found:
    """Fetch one of timm's transformers with its public weights.

    Args:
        name: timm's own, such as ``vit_base_patch16_dinov3``.

    Raises:
        EchoError: If timm knows no such transformer, or its weights cannot be fetched.
    """
    check_online(f"{PREFIX}{name}")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    timm = load_timm()
    if name.partition(".")[0] not in timm.list_models():
        raise EchoError(
            f"timm has no model {name}.", "See https://huggingface.co/timm for the names."
        )
    try:
        model = timm.create_model(name, pretrained=True)
    except (OSError, RuntimeError):
        raise EchoError(
            f"The weights of {PREFIX}{name} cannot be fetched.",
            "Fetch model.safetensors from https://huggingface.co/timm and import the file.",
        ) from None
    return found_in(model)


def found_in(model: Any) -> Found:  # noqa: ANN401
    """Return the tensors of one of timm's transformers, and what its settings tell.

    Raises:
        EchoError: If it is no vision transformer.
    """
    blocks = getattr(model, "blocks", None)
    if not blocks or not hasattr(blocks[0], "attn"):
        raise EchoError("This model of timm's is no vision transformer.", "Name a vit_ model.")
    settings: dict[str, Any] = model.pretrained_cfg
    words = {
        "heads": blocks[0].attn.num_heads,
        "norm_eps": blocks[0].norm1.eps,
        "mean": tuple(settings["mean"]),
        "std": tuple(settings["std"]),
    }
    return Found(tensors=model.state_dict(), words=words)
