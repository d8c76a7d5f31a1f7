"""Settings in layers: the later wins, a typo is answered, what is saved repeats it."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from echocli.config import (
    Layer,
    differences,
    from_assignments,
    from_environment,
    parse,
    preset_names,
    read_preset,
    read_settings,
    resolve,
    to_table,
    to_toml,
)
from echocli.errors import EchoError, UsageError


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.5
    kind: Literal["tube", "blocks"] = "tube"
    sides: tuple[int, ...] = (1, 2)

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError("rate must not be negative.")


@dataclass(frozen=True, kw_only=True)
class Outer:
    steps: int = 10
    name: str = "a"
    limit: float | None = None
    mask: Inner = field(default_factory=lambda: Inner(rate=0.75))


def test_the_later_layer_wins_and_sources_are_kept() -> None:
    resolved = resolve(
        Outer(),
        [
            Layer("preset", {"steps": 20, "mask": {"kind": "blocks", "rate": 0.1}}),
            Layer("file", {"mask": {"rate": 0.2}}),
            Layer("--set", {"mask": {"rate": 0.3}, "limit": 2}),
        ],
    )
    assert resolved.value == Outer(steps=20, limit=2.0, mask=Inner(rate=0.3, kind="blocks"))
    assert resolved.sources == {
        "steps": "preset",
        "mask.kind": "preset",
        "mask.rate": "--set",
        "limit": "--set",
    }


def test_a_part_of_a_section_keeps_the_rest_of_its_own_defaults() -> None:
    resolved = resolve(Outer(), [Layer("x", {"mask": {"kind": "blocks"}})])
    assert resolved.value.mask.rate == 0.75  # of Outer, not of Inner


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("stepss", "steps"),
        ("mask.rat", "mask.rate"),
        ("rate", "mask.rate"),
        ("maks.kind", "kind"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest(key: str, nearest: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(Outer(), [Layer("--set", from_assignments([f"{key}=1"]))])
    assert key in caught.value.problem
    assert nearest in caught.value.remedy


@pytest.mark.parametrize(
    "word",
    ["steps=many", "steps=1.5", "mask.kind=cubes", "mask.sides=3", "mask=3", "mask.rate=-1"],
)
def test_an_impossible_value_names_key_and_source(word: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(Outer(), [Layer("--set", from_assignments([word]))])
    assert word.partition("=")[0].rpartition(".")[2] in str(caught.value)


@pytest.mark.parametrize("word", ["steps", "=3"])
def test_a_word_that_sets_nothing_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="sets nothing"):
        from_assignments([word])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("3e-4", 3e-4),
        ("true", True),
        ("none", None),
        ("[1, 2]", [1, 2]),
        ("abc", "abc"),
        ("split == 'val'", "split == 'val'"),
        ("", ""),
        ("'3'", "3"),
    ],
)
def test_words_become_values(text: str, value: Any) -> None:
    parsed = parse(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_the_environment_sets_what_has_a_section() -> None:
    variables = {"ECHOCLI_MASK__RATE": "0.4", "ECHOCLI_DEBUG": "1", "PATH": "/bin"}
    assert from_environment(variables) == {"mask": {"rate": 0.4}}


def test_what_is_saved_repeats_it(tmp_path: Path) -> None:
    settings = Outer(steps=7, name='a "b" \\ c', mask=Inner(rate=1e-7, sides=(3, 4, 5)))
    (tmp_path / "a.toml").write_text(to_toml(to_table(settings), {"mask.rate": "--set"}))
    (tmp_path / "a.json").write_text(json.dumps(to_table(settings)))
    run = {"schema": "echocli.run/1", "device": "x", "settings": to_table(settings)}
    (tmp_path / "config.json").write_text(json.dumps(run))
    for name in ("a.toml", "a.json", "config.json"):
        layer = Layer(name, read_settings(tmp_path / name))
        assert resolve(Outer(), [layer]).value == settings


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.toml", b"x = ", "not TOML, at "),
        ("a.toml", b"a = 1\nKowalewska", "not TOML, at "),
        ("a.json", b'{"a": 1,\n Kowalewska', "not JSON, at line 2, column 2"),
        ("a.json", b'{"\xff', "not JSON, at byte 2"),
        ("b.json", b"3", "holds no settings"),
    ],
)
def test_a_file_that_cannot_be_parsed_is_told_without_its_words(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EchoError, match=told) as error:
        read_settings(tmp_path / name)
    assert "Kowalewska" not in str(error.value)
    with pytest.raises(EchoError, match="cannot be read"):
        read_settings(tmp_path / "absent.toml")


def test_differences_name_both_values() -> None:
    before, after = to_table(Outer()), to_table(Outer(steps=11, mask=Inner(rate=0.1)))
    assert differences(before, before) == []
    assert differences(before, after) == [
        "steps was 10, now 11",
        "mask.rate was 0.75, now 0.1",
    ]


def test_an_unknown_preset_is_answered_with_the_nearest() -> None:
    assert {"tiny", "small", "base", "large"} <= set(preset_names())
    with pytest.raises(UsageError, match="Did you mean small"):
        read_preset("smal")


def test_toml_tells_sources_and_what_it_has_no_word_for() -> None:
    table = {"limit": None, "mask": {"rate": 0.5}, "stages": [{"from": 3, "size": None}]}
    text = to_toml(table, {"limit": "default", "mask.rate": "preset tiny"})
    assert text == (
        "# limit = none  # default\nstages = [{from = 3}]\n\n"
        "[mask]\nrate = 0.5  # preset tiny\n"
    )
    assert tomllib.loads(text) == {"stages": [{"from": 3}], "mask": {"rate": 0.5}}
