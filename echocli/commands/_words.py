"""Words that options take: completed in a shell, and answered with the nearest if mistyped."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import typer


def one_of(*words: str) -> dict[str, Any]:
    """Return what ``typer.Option`` is told of an option that takes one of a few words."""

    def check(value: str | None) -> str | None:
        if value is None or value in words:
            return value
        from difflib import get_close_matches

        near = get_close_matches(value, words, 1, 0.4)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise typer.BadParameter(f"it is one of {', '.join(words)}.{hint}")

    return {**among(lambda: words), "metavar": "|".join(words), "callback": check}


def among(words: Callable[[], Iterable[str]]) -> dict[str, Any]:
    """Return what ``typer.Option`` is told of an option that takes other words, too."""

    def complete(typed: str) -> list[str]:
        return [word for word in words() if word.startswith(typed)]

    return {"autocompletion": complete}


def method_names() -> list[str]:
    """Return the names of the pretraining methods, without loading one."""
    from importlib import resources

    folder = resources.files("echocli").joinpath("models", "methods")
    files = (item.name for item in folder.iterdir())
    names = (name.removesuffix(".py") for name in files if name.endswith(".py"))
    return sorted(name for name in names if name != "base" and not name.startswith("_"))


def preset_names() -> list[str]:
    """Return the names of the presets."""
    from echocli import config

    return config.preset_names()
