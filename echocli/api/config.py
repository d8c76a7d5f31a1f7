"""What a pretraining would be set to, and where each setting comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echocli.api._pretrain.auto import AUTO
from echocli.api._pretrain.settings import OPTION, resolve_settings
from echocli.config import keys_of, leaves, nest, read_preset, read_settings, to_table

DEFAULT = "default"


@dataclass(frozen=True)
class ConfigResult:
    """Settings after all layers."""

    settings: dict[str, Any]
    """In sections; ``auto`` where the memory of the machine will decide."""
    sources: dict[str, str]
    """Where each setting comes from, by its dotted key."""

    def changed(self) -> ConfigResult:
        """Return the settings that are no defaults."""
        sources = {key: source for key, source in self.sources.items() if source != DEFAULT}
        every = leaves(self.settings, None)
        return ConfigResult(nest({k: v for k, v in every if k in sources}), sources)


def config(
    *,
    method: str | None = None,
    preset: str | None = None,
    file: Path | None = None,
    changes: Sequence[str] = (),
) -> ConfigResult:
    """Merge all layers as a pretraining would: defaults, preset, file, environment, changes.

    Args:
        method: That of the preset if left out, if it has one.
        preset: The standard one if left out.
        file: TOML or JSON file of settings, or a run's ``config.json``.
        changes: Words such as ``optim.lr=1e-4``.

    Raises:
        EchoError: If the file cannot be read.
        UsageError: If a method, preset, key or value is not possible; the nearest is named.
    """
    wanted = resolve_settings(method=method, preset=preset, file=file, changes=changes)
    sources = {key: wanted.sources.get(key, DEFAULT) for key in keys_of(wanted.value)}
    layers = {
        f"preset {wanted.value.preset}": read_preset(wanted.value.preset),
        str(file): read_settings(file) if file else {},
    }
    # What chooses the other settings is settled first, and counts as an option ever after.
    for key, typed in (("method", method), ("preset", preset)):
        if typed is None and sources[key] == OPTION:
            said = [source for source, values in layers.items() if key in values]
            sources[key] = said[-1] if said else DEFAULT
    every = dict(leaves(to_table(wanted.value), wanted.value))
    return ConfigResult(nest(every | dict.fromkeys(wanted.automatic, AUTO)), sources)
