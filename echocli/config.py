"""Settings in layers: defaults, preset, file, environment, options; typos are errors."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any, Generic, TypeVar, get_type_hints

from echocli.errors import EchoError, UsageError

T = TypeVar("T")
PREFIX = "ECHOCLI_"
SEPARATOR = "__"
LARGEST = 2**53
"""No setting is as large; beyond it whole numbers are not exact as floats."""
Table = Mapping[str, Any]


@dataclass(frozen=True)
class Layer:
    """Settings that come from one place."""

    source: str
    """What a user calls the place."""
    values: Table


@dataclass(frozen=True)
class Resolved(Generic[T]):
    """Settings, and where each one that is not a default came from."""

    value: T
    sources: dict[str, str]


def resolve(defaults: T, layers: Sequence[Layer]) -> Resolved[T]:
    """Put layers over defaults; the later layer wins.

    Args:
        defaults: A frozen dataclass, possibly with others inside.
        layers: From the weakest to the strongest.

    Raises:
        UsageError: If a key is unknown (the nearest is named) or a value is not possible.
    """
    merged: dict[str, Any] = {}
    sources: dict[str, str] = {}
    known = list(keys_of(defaults))
    for layer in layers:
        for key, value in leaves(layer.values, defaults):
            if key not in known:
                raise _unknown(key, known, layer.source)
            merged[key] = value
            sources[key] = layer.source
    return Resolved(_apply(defaults, merged, sources, ""), sources)


def keys_of(settings: object, prefix: str = "") -> Iterator[str]:
    """Yield the dotted key of every setting."""
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            yield from keys_of(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}"


def leaves(values: Table, defaults: object, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the settings of a table with dotted keys; a section is never one setting."""
    for name, value in values.items():
        section = getattr(defaults, name, None)
        inside = dataclasses.is_dataclass(section)
        if isinstance(value, Mapping) and (inside or section is None):
            yield from leaves(value, section, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def read_settings(path: Path) -> Table:
    """Read settings from a TOML or JSON file, or from the ``config.json`` of a run.

    Raises:
        EchoError: If the file is missing or cannot be parsed.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError:
        raise EchoError(
            "The file of settings cannot be read.", "Name a TOML or JSON file with --config."
        ) from None
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise EchoError(
            f"The file of settings is not {kind}, at {_place_of(error)}.", "Mend that line."
        ) from None
    if not isinstance(content, dict):
        raise EchoError("The file holds no settings.", "Write them as sections with keys.")
    return content.get("settings", content) if "schema" in content else content


def _place_of(error: ValueError) -> str:
    """Return where a text cannot be parsed, without what stands there."""
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start}"
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}, column {error.colno}"
    return str(error).rpartition("(at ")[2].removesuffix(")")


def preset_names() -> list[str]:
    """Return the names of the presets that come with echocli."""
    folder = resources.files("echocli").joinpath("presets")
    found = (item.name for item in folder.iterdir())
    return sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml"))


def read_preset(name: str) -> Table:
    """Read a preset.

    Raises:
        UsageError: If there is none of that name.
    """
    names = preset_names()
    if name not in names:
        near = get_close_matches(name, names, 1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"There is no preset {name}.", f"{hint}Presets are: {', '.join(names)}."
        )
    return tomllib.loads(_text_of(name))


def preset_summary(name: str) -> str:
    """Return what a preset is for: its first line."""
    return _text_of(name).partition("\n")[0].removeprefix("# ")


def _text_of(preset: str) -> str:
    file = resources.files("echocli").joinpath("presets", f"{preset}.toml")
    return file.read_text(encoding="utf-8")


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings in the environment: ``ECHOCLI_OPTIM__LR=1e-4`` is ``optim.lr``.

    Variables without a double underscore mean other things and are left alone.
    """
    pairs = (
        (name.removeprefix(PREFIX).lower().replace(SEPARATOR, "."), text)
        for name, text in sorted(environment.items())
        if name.startswith(PREFIX) and SEPARATOR in name
    )
    return nest({key: parse(text) for key, text in pairs})


def from_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """Return the settings in words such as ``optim.lr=1e-4``.

    Raises:
        UsageError: If a word has no ``=``.
    """
    found: dict[str, Any] = {}
    for word in assignments:
        key, equals, text = word.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--set {word} sets nothing.", "Write --set section.key=value.")
        found[key.strip()] = parse(text.strip())
    return nest(found)


def parse(text: str) -> Any:  # noqa: ANN401
    """Return the value that a word means: as in TOML, ``none`` for nothing, else text."""
    if text.lower() in ("none", "null"):
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def nest(flat: Table) -> dict[str, Any]:
    """Turn dotted keys into sections."""
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *sections, name = key.split(".")
        inner = nested
        for section in sections:
            inner = inner.setdefault(section, {})
            if not isinstance(inner, dict):
                raise UsageError(f"{section} is a setting, not a section.", f"Mend {key}.")
        inner[name] = value
    return nested


def to_table(settings: object) -> dict[str, Any]:
    """Return settings as plain values, for JSON; reading them again gives the same."""
    plain = json.loads(json.dumps(dataclasses.asdict(settings)))  # type: ignore[call-overload]
    assert isinstance(plain, dict)
    return plain


def to_toml(table: Table, sources: Mapping[str, str] | None = None) -> str:
    """Return settings as TOML. What is ``None`` is a comment, as TOML has no word for it.

    Args:
        table: Plain settings, as ``to_table`` returns them.
        sources: What to say behind a setting, by its dotted key.
    """
    return "\n".join(_toml_lines(table, "", sources or {})).lstrip("\n") + "\n"


def differences(before: Table, after: Table) -> list[str]:
    """Return the settings that differ, one sentence each."""
    old, new = dict(leaves(before, None)), dict(leaves(after, None))
    keys = [*old, *(key for key in new if key not in old)]
    return [
        f"{key} was {_say(old, key)}, now {_say(new, key)}"
        for key in keys
        if key not in old or key not in new or old[key] != new[key]
    ]


def _say(values: Table, key: str) -> str:
    return json.dumps(values[key]) if key in values else "absent"


def _toml_lines(table: Table, prefix: str, sources: Mapping[str, str]) -> Iterator[str]:
    sections = {name: value for name, value in table.items() if isinstance(value, dict)}
    for name, value in table.items():
        if name not in sections:
            line = "# " * (value is None) + f"{name} = {_toml_value(value)}"
            source = sources.get(f"{prefix}{name}")
            yield f"{line}  # {source}" if source else line
    for name, section in sections.items():
        yield f"\n[{prefix}{name}]"
        yield from _toml_lines(section, f"{prefix}{name}.", sources)


def _toml_value(value: object) -> str:
    if isinstance(value, dict):
        inside = (f"{k} = {_toml_value(v)}" for k, v in value.items() if v is not None)
        return f"{{{', '.join(inside)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml_value, value))}]"
    return "none" if value is None else json.dumps(value)  # JSON's scalars are TOML's


def _unknown(key: str, known: Sequence[str], source: str) -> UsageError:
    near = get_close_matches(key, known, 1)
    last = key.rpartition(".")[2]
    same_name = [other for other in known if other.rpartition(".")[2] == last]
    best = (same_name or near or get_close_matches(last, known, 1, 0.4))[:1]
    sections = sorted({other.partition(".")[0] for other in known})
    hint = (
        f"Did you mean {best[0]}?" if best else f"Settings begin with: {', '.join(sections)}."
    )
    return UsageError(f"There is no setting {key} ({source}).", hint)


def _apply(base: T, flat: Table, sources: Table, prefix: str) -> T:
    """Return ``base`` with the settings below ``prefix`` changed and checked."""
    changes: dict[str, Any] = {}
    hints = get_type_hints(type(base))
    for field in dataclasses.fields(base):  # type: ignore[arg-type]
        value, key = getattr(base, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            changes[field.name] = _apply(value, flat, sources, f"{key}.")
        elif key in flat:
            changes[field.name] = _check(hints[field.name], flat[key], key, sources[key])
    try:
        return dataclasses.replace(base, **changes)  # type: ignore[type-var]
    except ValueError as error:
        section = prefix.removesuffix(".") or "the settings"
        raise UsageError(f"{section}: {error}", "Change one of these settings.") from None


def _check(hint: Any, value: Any, key: str, source: str) -> Any:  # noqa: ANN401
    from pydantic import TypeAdapter, ValidationError

    numbers = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(n, int | float) and not abs(n) < LARGEST for n in numbers):
        raise UsageError(f"{key} is beyond all bounds ({source}).", f"Mend {key}.")
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        reason = ": ".join([*(str(part) for part in first["loc"]), first["msg"]])
        raise UsageError(
            f"{key} cannot be {json.dumps(value, default=str)} ({source}): {reason}.",
            f"Give another value, such as --set {key}=VALUE.",
        ) from None
