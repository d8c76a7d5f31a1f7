"""Where timm enters: its 2-D vision transformers as a start for ours.

timm takes seconds to import, so this happens in the functions.
"""

from __future__ import annotations

import importlib
from types import ModuleType

import torch
from torch import Tensor, nn

from .vit import VisionTransformer

MISSING_OPERATOR = "operator torchvision::nms does not exist"
FOREIGN_PARTS = ("pos_embed", "head.", "fc_norm.", "cls_token", "patch_embed.")


def load_timm() -> ModuleType:
    """Import timm, also where torchvision is built for another torch.

    The torchvision wheel of the Python index is linked to CUDA. Beside a CPU build of torch
    its operators do not register and its import stops at the first of them. timm needs none
    of them, so declaring two is enough.

    Raises:
        RuntimeError: If torchvision fails in another way.
    """
    try:
        return importlib.import_module("timm")
    except RuntimeError as error:
        if MISSING_OPERATOR not in str(error):
            raise
    declare_operators()
    return importlib.import_module("timm")


def declare_operators() -> None:
    """Tell torch the signatures of torchvision's two box operators."""
    arguments = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", arguments)


def inflate_kernel(weight: Tensor, channels: int, duration: int) -> Tensor:
    """Turn a picture's patch kernel into a tubelet's, as one matrix.

    The kernel is spread evenly over the frames and, for a grey clip, summed over colours, so
    that a clip that stands still gives what the picture gave.

    Args:
        weight: Outputs, colours, rows, columns.
        channels: Of the clip: 1, or as many as the picture's.
        duration: Frames of a tubelet.

    Raises:
        ValueError: If the clip has another number of channels.
    """
    if channels == 1:
        weight = weight.sum(dim=1, keepdim=True)
    if weight.shape[1] != channels:
        raise ValueError(f"{len(weight[0])} colours do not fit {channels} channels.")
    frames = weight[:, :, None].expand(-1, -1, duration, -1, -1) / duration
    return frames.flatten(1)


@torch.no_grad()
def inflate_from_timm(encoder: VisionTransformer, picture: nn.Module) -> None:
    """Give an encoder the weights of one of timm's 2-D vision transformers.

    Positions are not taken over: ours are fixed, and know time.

    Args:
        encoder: Changed in place; same width, depth and patch size as the other.
        picture: From ``load_timm().create_model(...)``, with or without its public weights.

    Raises:
        ValueError: If the two do not fit.
    """
    source = picture.state_dict()
    blocks = {name: t for name, t in source.items() if not name.startswith(FOREIGN_PARTS)}
    tubelet = encoder.config.tubelet
    weight = source["patch_embed.proj.weight"]
    if weight.shape[2:] != tubelet[1:]:
        raise ValueError(f"Patches of {tuple(weight.shape[2:])} do not fit {tubelet[1:]}.")
    kernel = inflate_kernel(weight, encoder.config.channels, tubelet[0])
    ours = {
        **blocks,
        "patch_embed.proj.weight": kernel,
        "patch_embed.proj.bias": source["patch_embed.proj.bias"],
    }
    if encoder.cls_token is not None:
        ours["cls_token"] = source["cls_token"]
    expected = {name: t.shape for name, t in encoder.state_dict().items()}
    if expected != {name: t.shape for name, t in ours.items()}:
        raise ValueError("The two transformers differ in width, depth or kind of block.")
    encoder.load_state_dict(ours)
