"""Help pages: examples first, every option told, plain at 80 columns, fast to print."""

from __future__ import annotations

import re
import shlex
import sys
import textwrap
from itertools import groupby
from typing import Any

import pytest
import typer
from contract import all_commands, call

from echocli.commands._help import _bold, parts_of
from echocli.main import build_app, insert_default_subcommand

APP: Any = typer.main.get_command(build_app())
COMMANDS = all_commands()
PAGES = {
    "": APP,
    **COMMANDS,
    **{n: c for n, c in APP.commands.items() if hasattr(c, "commands")},
}
SHORT = {"-o": "--out", "-q": "--quiet", "-m": "--model", "-0": "--null", "-h": "--help"}
"""Short names mean the same in every command."""
SIGNS = {"|", "||", "&&", ">", "<"}
"""Signs of a shell between calls."""


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def page_of(name: str, option: str = "--help") -> str:
    heard = call(".", *name.split(), option)
    assert (heard.code, heard.err) == (0, "")
    return heard.out


@pytest.mark.parametrize("name", PAGES)
def test_a_page_leads_with_examples_and_tells_every_option(name: str) -> None:
    page = page_of(name)
    assert page == page_of(name, "-h")
    assert page.index("\nExamples:\n") < page.index("\nOptions:\n")
    title, examples, _ = parts_of(PAGES[name].help)
    assert title.endswith(".")
    assert len(examples) >= (1 if name in ("config", "doctor") else 2)
    for line, _ in examples:
        assert f"\n  {line}\n" in page, "an example is never broken over lines"
    context = PAGES[name].make_context(name, [], resilient_parsing=True)
    for param in PAGES[name].get_params(context):
        named = max(param.opts, key=len) if param.param_type_name == "option" else None
        assert (param.help or "").endswith((".", "!")), f"{name} {param.name}"
        assert named is None or re.search(rf"(^|\s){re.escape(named)}[\s,]", page)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_plain_text_of_80_columns(name: str) -> None:
    page = page_of(name)
    examples = {f"  {line}" for line, _ in parts_of(PAGES[name].help)[1]}
    assert [x for x in page.splitlines() if len(x) > 80 and x not in examples] == []
    assert page.isascii()
    assert not re.search(r"<\w+>|\[\[|\brange\b", page), "a word of the program, not of people"


@pytest.mark.parametrize("name", COMMANDS)
def test_short_options_mean_the_same_everywhere(name: str) -> None:
    for param in COMMANDS[name].params:
        for short in (o for o in param.opts if re.fullmatch("-.", o)):
            assert SHORT[short] in param.opts


def examples() -> list[tuple[str, ...]]:
    """Return the words of every call of echocli in the examples of all pages."""
    found: set[tuple[str, ...]] = set()
    for line in (line for command in PAGES.values() for line, _ in parts_of(command.help)[1]):
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        calls = [list(call) for sign, call in groupby(words, SIGNS.__contains__) if not sign]
        found |= {tuple(call[1:]) for call in calls if call[0] == "echocli"}
    return sorted(found)


@pytest.mark.parametrize("line", examples(), ids=" ".join)
def test_an_example_can_be_typed(line: tuple[str, ...]) -> None:
    words = insert_default_subcommand(list(line))
    command: Any = APP
    while hasattr(command, "commands") and words:
        assert words[0] in command.commands, line
        command = command.commands[words.pop(0)]
    known = {option for param in command.params for option in param.opts} | {"-h", "--help"}
    typed = {w.partition("=")[0] for w in words if re.match("-[-a-z0-9]", w)}
    assert typed <= known, line


def test_the_examples_are_found() -> None:
    assert len(examples()) > 60


def test_headings_are_bold_on_a_terminal_that_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert _bold("Usage:") == "\033[1mUsage:\033[0m"
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert _bold("Usage:") == "Usage:"


def test_a_docstring_has_its_parts() -> None:
    docstring = """Do it.

    * `a | b`: at once,
    or later

    * `c`

    Words
    of text.
    """
    title, found, text = parts_of(textwrap.dedent(docstring))
    assert title == "Do it."
    assert found == [("a | b", "at once, or later"), ("c", "")]
    assert text == ["Words of text."]
