"""Where timm enters. It takes seconds to import, so this happens in the function."""

from __future__ import annotations

import importlib
from types import ModuleType

import torch

MISSING_OPERATOR = "operator torchvision::nms does not exist"


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
