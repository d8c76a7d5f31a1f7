"""What every weight format is; a file in this folder is one, and its name is the format's."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast, runtime_checkable

from torch import Tensor

from ..vit import ViTConfig

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of red, green and blue on a scale of 0 to 1: how the public encoders were fed."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a file holds, before anybody says what it means."""

    tensors: Mapping[str, Tensor]
    """By name. What stands in a part of the file has the part's name in front."""
    words: Mapping[str, Any] = field(default_factory=dict)
    """Everything else: the epoch, the settings, the ``config.json`` beside the file."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a user may say of an import."""

    branch: str | None = None
    """Which of several networks in the file; the one that its authors evaluate if left out."""
    heads: int | None = None
    """Attention heads, where neither the file nor a published width tells."""
    frames: int | None = None
    """Frames of a usual clip; those of the training if left out."""
    size: int | None = None
    """Rows and columns of a usual clip; those of the training if left out."""


@dataclass(frozen=True, kw_only=True)
class Converted:
    """Public weights as ours."""

    config: ViTConfig
    weights: dict[str, Tensor]
    """By our names, complete."""
    left_out: dict[str, str]
    """Names in the file that are not needed, each with the reason."""
    branch: str
    """Which network of the file it is."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    """What the encoder expects to be subtracted from pixels in 0..1, a number a channel."""
    std: tuple[float, ...] = IMAGENET_STD
    """What it expects them to be divided by after."""
    stride: int | None = None
    """Step from frame to frame of a window, where a sampling of heart clips was published."""


class KeysError(ValueError):
    """A file whose names or shapes are not those of its format.

    Args:
        missing: Names that should be there.
        unexpected: Names that should not.
        wrong: Names whose tensor has another shape, with both shapes.
    """

    def __init__(
        self, missing: list[str], unexpected: list[str], wrong: list[str] | None = None
    ) -> None:
        self.missing = missing
        self.unexpected = unexpected
        self.wrong = wrong or []
        parts = {
            "missing": missing,
            "unexpected": unexpected,
            "of another shape": self.wrong,
        }
        super().__init__(
            "; ".join(f"{kind}: {', '.join(names)}" for kind, names in parts.items() if names)
        )


@runtime_checkable
class FormatModule(Protocol):
    """What a file in this folder offers."""

    LABEL: str
    """What people call it."""
    LICENCE: str
    """Of the weights that its authors published."""
    SOURCE: str
    """Where it is described."""

    def recognises(self, found: Found) -> bool:
        """Return whether a file is of this format. No file is of two."""

    def convert(self, found: Found, wish: Wish) -> Converted:
        """Turn a file's tensors into ours.

        Raises:
            KeysError: If a name is missing or unexpected, or a tensor has another shape.
            ValueError: If something else does not fit; the message says what.
        """


def pixel_scale(found: Found) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and spread of pixels as stated beside the weights, ImageNet's otherwise."""
    said = found.words.get("preprocessor") or {}
    mean, std = said.get("image_mean"), said.get("image_std")
    return tuple(mean or IMAGENET_MEAN), tuple(std or IMAGENET_STD)


def available() -> list[str]:
    """Return the names of the formats: the files in this folder."""
    package = importlib.import_module(__package__)
    names = (found.name for found in pkgutil.iter_modules(package.__path__))
    return sorted(name for name in names if name != "base" and not name.startswith("_"))


def load(name: str) -> FormatModule:
    """Return a format's module.

    Raises:
        ValueError: If there is no such format.
    """
    if name not in available():
        raise ValueError(f"There is no format {name}; formats are {', '.join(available())}.")
    return cast(FormatModule, importlib.import_module(f"{__package__}.{name}"))


def recognise(found: Found) -> list[str]:
    """Return the formats that a file may be of: one if all is well."""
    return [name for name in available() if load(name).recognises(found)]
