"""Settings that say ``auto``: what is left to the memory of the machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from echocli.config import Layer, Table, leaves

AUTO = "auto"
BATCH = "optim.batch"
RECOMPUTE = "encoder.recompute"
UNASKED = frozenset({RECOMPUTE})
"""What is automatic unless a layer says something else: it changes no number."""


@dataclass(frozen=True)
class Layers:
    """Layers of settings, all of them plain values."""

    plain: list[Layer]
    """Without the word ``auto``: what stands below it holds."""
    automatic: frozenset[str]
    """Settings for which it was the last word."""


def take_auto(layers: Sequence[Layer]) -> Layers:
    """Take the word ``auto`` out of layers, the weakest first."""
    plain, automatic = [], set(UNASKED)
    for layer in layers:
        values = layer.values
        said = dict(leaves(values, None))
        for key in (BATCH, RECOMPUTE):
            if said.get(key) == AUTO:
                automatic.add(key)
                values = _without(values, key)
            elif key in said:
                automatic.discard(key)
        plain.append(replace(layer, values=values))
    return Layers(plain, frozenset(automatic))


def _without(values: Table, key: str) -> dict[str, Any]:
    section, name = key.split(".")
    left = {inner: value for inner, value in values[section].items() if inner != name}
    return {**values, section: left}
