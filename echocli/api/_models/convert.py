"""What a file of public weights means: its format, its encoder, its input contract."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from echocli.api._models.catalogue import Public, warning_of
from echocli.clips.contract import DataConfig
from echocli.config import to_table
from echocli.errors import EchoError, UsageError
from echocli.models.weights import base
from echocli.models.weights._grey import fold_to_grey
from echocli.models.weights.base import Converted, Found, KeysError, Wish

MOST_NAMES = 12
"""Names that a refusal lists of each kind; it counts the others."""
UNKNOWN = "unknown: ask whoever made the file"


@dataclass(frozen=True)
class Description:
    """What a file is, told without loading its numbers."""

    format: str
    label: str
    branch: str
    """Network that an import takes."""
    tensors: int
    parameters: int
    """Of the encoder."""
    encoder: dict[str, Any]
    data: dict[str, Any]
    left_out: dict[str, int]
    """Names that an import leaves out, counted by reason."""
    licence: str
    source: str
    trained_on: str
    warning: str


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a user may say of weights; see the options of ``echocli models import``."""

    format: str | None = None
    """That of the file; found by its names if left out."""
    wish: Wish = field(default_factory=Wish)
    seconds: float | None = None
    """How long a window lasts; that of ``DataConfig``, or the published stride, if left out."""
    colour: bool = False
    """Keep three channels, for clips in colour."""


def convert(
    found: Found, choice: Choice, public: Public | None = None
) -> tuple[Converted, str]:
    """Return weights as ours, and the name of their format.

    Raises:
        EchoError: If names, shapes or the settings beside them do not fit the format.
    """
    name = choice.format or (public.format if public else None) or recognise(found)
    wish = choice.wish
    if public is not None:
        wish = replace(wish, size=wish.size or public.size)
    try:
        converted = base.load(name).convert(found, wish)
        return (converted if choice.colour else fold_to_grey(converted)), name
    except KeysError as error:
        raise EchoError(
            f"These are not whole weights of {base.load(name).LABEL}: {tell(error)}.",
            "Fetch the file again, or name its format with --format.",
        ) from None
    except ValueError as error:
        raise UsageError(
            str(error), "Say it with --heads, --frames, --size, --branch or --format."
        ) from None
    except (TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError) as error:
        if not found.words:
            raise
        raise EchoError(
            f"The settings that came with the weights cannot be those of "
            f"{base.load(name).LABEL} ({type(error).__name__}).",
            "Fetch the whole folder again.",
        ) from error


def recognise(found: Found) -> str:
    fitting = base.recognise(found)
    if len(fitting) == 1:
        return fitting[0]
    some = ", ".join(sorted(found.tensors)[:3])
    raise EchoError(
        f"No one format fits this file of {len(found.tensors)} tensors ({some} ...).",
        f"Name one with --format: {', '.join(base.available())}.",
    )


def tell(error: KeysError) -> str:
    kinds = {
        "missing": error.missing,
        "unexpected": error.unexpected,
        "of another shape": error.wrong,
    }
    told = []
    for kind, found in kinds.items():
        more = f" and {len(found) - MOST_NAMES} more" if len(found) > MOST_NAMES else ""
        if found:
            told.append(f"{kind}: {', '.join(found[:MOST_NAMES])}{more}")
    return "; ".join(told)


def contract(converted: Converted, choice: Choice) -> DataConfig:
    """Return how clips must be read for these weights."""
    config = converted.config
    stride = None if choice.seconds else converted.stride
    return DataConfig(
        frames=config.frames,
        size=config.size,
        seconds=choice.seconds or DataConfig.seconds,
        stride=stride,
        mean=converted.mean,
        std=converted.std,
        channels=config.channels,
        sector_tokens=False,  # they were trained on all tokens
    )


def describe_found(
    converted: Converted, found: Found, name: str, public: Public | None, choice: Choice
) -> Description:
    module = base.load(name)
    return Description(
        format=name,
        label=module.LABEL,
        branch=converted.branch,
        tensors=len(found.tensors),
        parameters=sum(tensor.numel() for tensor in converted.weights.values()),
        encoder=to_table(converted.config),
        data=to_table(contract(converted, choice)),
        left_out=dict(Counter(converted.left_out.values())),
        licence=public.licence if public else module.LICENCE,
        source=public.source if public else module.SOURCE,
        trained_on=public.trained_on if public else UNKNOWN,
        warning=public.warning if public else warning_of(name),
    )
