"""Help pages and wrong usage, in plain text: quick to print, to read aloud and to search.

A page is the docstring of a command: one line, then examples, then text (see ``_options``).
"""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from inspect import cleandoc
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from echocli.console import Console
from echocli.errors import ExitCode

ORDER = (
    *("demo", "doctor", "inspect", "preprocess", "pretrain", "embed", "score"),
    *("lvef", "segment", "classify", "robustness", "report", "export", "verify", "models"),
    *("config", "schema", "shell-init"),
)
"""Commands as a study goes through them; others follow by name."""
KINDS = {
    "path": "PATH",
    "list[Path]": "PATH",
    "file": "FILE",
    "directory": "FOLDER",
    "int": "N",
    "int range": "N",
    "float": "X",
    "float range": "X",
    "str": "TEXT",
    "list[str]": "TEXT",
}
"""What a value is called where an option has no word of its own for it."""
WIDEST = 96
LEFT = 30
"""Columns of the left side of a list; longer names have a line of their own."""
KIND = re.compile(r" <([^>]+)>$")
EXAMPLE = re.compile(r"\* `(?P<line>[^`]+)`(?:: (?P<what>.+))?")
PLAINER = (
    (r" \(Possible options.*", ""),
    (r"(unexpected extra argument)\(?s?\)? \(.*\)", r"\1s"),  # may name a patient's file
    (r"Input should be", "it should be"),
    (r", unable to parse string.*", ""),
)
"""What is left out of Typer's words, or said in plainer ones."""
WrongUsage: type[Exception] = typer.BadParameter.__mro__[1]
"""Typer's class of all wrong usage, which it has no public name for."""


class Page(TyperCommand):
    """A command with a plain help page."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Read the words; what is wrong with them is told as of this command."""
        try:
            return super().parse_args(ctx, args)
        except WrongUsage as error:
            error.ctx = error.ctx or ctx  # type: ignore[attr-defined]
            raise

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write the page."""
        formatter.write(help_page(self, ctx))


class GroupPage(TyperGroup):
    """A group of commands with a plain help page, and wrong usage told like any error."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write the page."""
        formatter.write(help_page(self, ctx))

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401
        """Return the names of the commands; of echocli itself in the order of a study."""
        names = super().list_commands(ctx)
        if ctx.parent is not None:
            return names
        return [name for name in ORDER if name in names] + sorted({*names} - {*ORDER})

    def main(self, *args: Any, **extra: Any) -> None:  # noqa: ANN401
        """Run the command line and exit."""
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except WrongUsage as error:
            _tell(error)
            code = ExitCode.USAGE
        except SystemExit:
            if type(sys.stdout).__name__ != "PacifyFlushWrapper":
                raise
            code = ExitCode.DONE  # Typer met a pipe whose reader has seen enough
        sys.exit(code or 0)


def help_page(command: Any, ctx: typer.Context) -> str:  # noqa: ANN401
    """Return the help page of a command: how it is called, examples, text, its options."""
    width = min(typer.get_terminal_size().columns, WIDEST)
    title, examples, text = parts_of(command.help or "")
    parameters = [param for param in command.get_params(ctx) if not getattr(param, "hidden", 0)]
    arguments = [param for param in parameters if param.param_type_name == "argument"]
    panels: dict[str, list[tuple[str, str]]] = {}
    for option in parameters:
        if option.param_type_name == "option":
            panel = getattr(option, "rich_help_panel", None) or "Options"
            panels.setdefault(panel, []).append(_option(option, ctx))
    words = [ctx.command_path, *map(_in_usage, arguments), "[OPTIONS]"]
    commands = _commands(command, ctx)
    if commands:
        words[-1:] = ["COMMAND", "..."]
    lines = [f"{_bold('Usage:')} {' '.join(words)}", "", *_filled(title, width)]
    lines += ["", _bold("Examples:"), *_examples(examples, width)] if examples else []
    for paragraph in text:
        lines += ["", *_filled(paragraph, width)]
    named = [(_name(argument), _help(argument, ctx)) for argument in arguments]
    for heading, rows in (("Commands", commands), ("Arguments", named), *panels.items()):
        lines += ["", _bold(f"{heading}:"), *_listed(rows, width)] if rows else []
    return "\n".join([*lines, ""])


def parts_of(docstring: str) -> tuple[str, list[tuple[str, str]], list[str]]:
    """Return the first line of a page, its examples with what they do, and its paragraphs."""
    title, *rest = (" ".join(part.split()) for part in cleandoc(docstring).split("\n\n"))
    found = [(part, EXAMPLE.fullmatch(part)) for part in rest]
    examples = [(match["line"], match["what"] or "") for _, match in found if match]
    return title, examples, [part for part, match in found if not match]


def _commands(group: Any, ctx: typer.Context) -> list[tuple[str, str]]:  # noqa: ANN401
    if not isinstance(group, TyperGroup):
        return []
    named = {name: group.get_command(ctx, name) for name in group.list_commands(ctx)}
    return [(name, parts_of(c.help or "")[0]) for name, c in named.items() if c is not None]


def _name(argument: Any) -> str:  # noqa: ANN401
    return (argument.metavar or argument.name).strip("[].").upper()  # type: ignore[no-any-return]


def _in_usage(argument: Any) -> str:  # noqa: ANN401
    name = _name(argument) + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _option(option: Any, ctx: typer.Context) -> tuple[str, str]:  # noqa: ANN401
    """Return the names of an option with the word for its value, and its help."""
    short, long = (
        [o for o in option.opts if o.startswith("--") == wanted] for wanted in (0, 1)
    )
    names = f"{', '.join(short) + ',':4}" if short else " " * 4
    if option.metavar:
        value = option.metavar
    else:
        kind = KIND.search(option.get_help_record(ctx)[0])
        value = KINDS.get(kind[1], kind[1]) if kind else ""
    return f"{names}{', '.join(long)} {value}".rstrip(), _help(option, ctx)


def _help(param: Any, ctx: typer.Context) -> str:  # noqa: ANN401
    text = " ".join(param.get_help_record(ctx)[1].split())
    text = re.sub(r"([\d.]+)<=x<=([\d.]+)(?=\]$)", r"\1 to \2", text)
    return re.sub(r"x>=([\d.]+)(?=\]$)", r"\1 or more", text)


def _examples(examples: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    for line, what in examples:
        yield f"  {_bold(line, '36')}"  # never broken: it will be copied
        if what:
            yield from textwrap.wrap(
                what, width, initial_indent=" " * 6, subsequent_indent=" " * 6
            )


def _filled(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)


def _listed(rows: list[tuple[str, str]], width: int) -> Iterator[str]:
    """Yield names on the left, what they mean on the right."""
    left = min(max(len(name) for name, _ in rows) + 4, LEFT)
    for name, what in rows:
        lines = _filled(what, max(width - left, 20))
        start = f"  {name}"
        if len(start) > left - 2:
            yield start
        elif lines:
            yield f"{start:{left}}{lines.pop(0)}"
        yield from (" " * left + line for line in lines)


def _bold(text: str, code: str = "1") -> str:
    """Return the text as a heading, where a terminal can show one."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain or not sys.stdout.isatty() else f"\033[{code}m{text}\033[0m"


def _tell(error: Any) -> None:  # noqa: ANN401
    """Tell wrong usage as every error is told; a group alone gets its help page."""
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(error.format_message(), err=True)
        return
    problem, _, near = error.format_message().partition(" Did you mean ")
    for pattern, words in PLAINER:
        problem = re.sub(pattern, words, problem)
    if not near and problem.startswith("No such command"):
        problem = "There is no such command"
    possible = getattr(error, "possibilities", None)
    near = near.strip("'?") if near else (possible or [""])[0]
    ctx = getattr(error, "ctx", None)
    path = "echocli" if ctx is None else ctx.command_path
    hint = f"Did you mean {near}? " if near else ""
    Console().error(f"{problem.rstrip('.')}.", f"{hint}`{path} -h` shows what there is.")
