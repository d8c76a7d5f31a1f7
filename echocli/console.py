"""What a command says: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import Console as RichConsole

SECONDS_BETWEEN_LINES = 60.0
WORD = re.compile(r"\s*(?:`[^`]*`|\S)+")
"""A word with the space before it; a command in backticks is one."""


class Advance(Protocol):
    """What a long work calls as it goes."""

    def __call__(self, done: int, /, remark: str = "") -> None:
        """Tell how many units were just done.

        Args:
            done: Units since the last call.
            remark: What else to show beside them, instead of the units a second.
        """


class Reporter(Protocol):
    """What the Python API needs of whoever watches it."""

    def say(self, message: str) -> None:
        """Tell something worth knowing."""

    def warn(self, message: str) -> None:
        """Tell something worth acting on."""

    def progress(
        self, description: str, total: int | None, done: int = 0
    ) -> AbstractContextManager[Advance]:
        """Show how far a long work is while the block runs.

        Args:
            description: What it is.
            total: How many units there are, if that is known.
            done: Units that were done before.
        """


class _Silent:
    def say(self, message: str) -> None:
        pass

    def warn(self, message: str) -> None:
        pass

    @contextmanager
    def progress(self, description: str, total: int | None, done: int = 0) -> Iterator[Advance]:
        yield _nothing


SILENT: Reporter = _Silent()
"""Says nothing: the default of every function of the Python API."""


class Console:
    """The terminal.

    Args:
        quiet: Say nothing but warnings; results shrink to paths and ids.
        as_json: Results are JSON documents.
    """

    def __init__(self, *, quiet: bool = False, as_json: bool = False) -> None:
        self.quiet = quiet
        self.as_json = as_json
        self._with_bar: RichConsole | None = None
        """Where a bar is drawn at the moment; what is said meanwhile must go above it."""

    def say(self, message: str) -> None:
        """Tell something worth knowing, on standard error."""
        if not self.quiet:
            self._tell(message)

    def warn(self, message: str) -> None:
        """Tell something worth acting on, on standard error, quiet or not."""
        self._tell(f"warning: {message}", "yellow")

    def error(self, problem: str, remedy: str) -> None:
        """Tell what went wrong and what mends it, in two lines."""
        self._tell(f"error: {problem}", "red")
        self._tell(f"  fix: {remedy}")

    def result(self, text: str) -> None:
        """Write one line of the result on standard output."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def document(self, schema: str, payload: dict[str, Any]) -> None:
        """Write the result as one JSON document; ``echocli schema`` shows its form.

        Args:
            schema: Name and version of the form; a file in ``echocli/schemas`` holds it.
            payload: The result. A schema in it is that of a file and not told.

        Raises:
            ValueError: If the payload holds NaN, which JSON has no word for.
        """
        document = {"schema": schema} | payload | {"schema": schema}
        self.result(json.dumps(document, indent=2, allow_nan=False))

    @property
    def draws(self) -> bool:
        """Whether standard output is a terminal, so that tables are drawn."""
        return sys.stdout.isatty()

    def table(
        self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]
    ) -> None:
        """Write a table on standard output: drawn on a terminal, tab-separated elsewhere."""
        if not self.draws:
            for row in (columns, *rows):
                self.result("\t".join("" if value is None else str(value) for value in row))
            return
        from rich.console import Console as RichConsole
        from rich.table import Table
        from rich.text import Text

        drawn = Table(title=title, title_justify="left", header_style="bold")
        for column in columns:
            drawn.add_column(column, overflow="fold")  # a narrow terminal loses no letter
        for row in rows:
            drawn.add_row(*(Text("" if value is None else str(value)) for value in row))
        RichConsole(highlight=False).print(drawn)

    @contextmanager
    def progress(self, description: str, total: int | None, done: int = 0) -> Iterator[Advance]:
        """Show a bar on a terminal, one line a minute elsewhere, nothing when quiet."""
        console, before = _terminal(), self._with_bar
        if self.quiet:
            yield _nothing
        elif console.is_terminal and not console.is_dumb_terminal:
            self._with_bar = console
            try:
                yield from _bar(console, description, total, done)
            finally:
                self._with_bar = before
        else:
            yield from self._lines(description, total, done)

    def _lines(self, description: str, total: int | None, before: int) -> Iterator[Advance]:
        started = told = time.monotonic()
        done = 0

        def advance(more: int, remark: str = "") -> None:
            nonlocal done, told
            done += more
            now = time.monotonic()
            if done and now - told >= SECONDS_BETWEEN_LINES:
                told = now
                rate = done / (now - started)
                shown = f"{before + done}/{total or '?'}, {remark or f'{rate:.3g}/s'}"
                if total is not None:
                    shown += f", {(total - before - done) / rate / 60:.1f} min left"
                self.say(f"{description}: {shown}")

        yield advance

    def _tell(self, message: str, style: str | None = None) -> None:
        """Write a message on standard error; only a terminal gets it in lines that fit."""
        console = self._with_bar or _terminal()
        if console.is_terminal:
            message = in_lines(message, console.width)
        console.print(message, style=style, markup=False, highlight=False, soft_wrap=True)


def in_lines(message: str, width: int) -> str:
    """Break a message between words, and never within a command in backticks, to be copied.

    Args:
        message: Lines; what follows a break is indented like the line's beginning.
        width: Columns of the terminal.
    """
    lines = []
    for line in message.split("\n"):
        indent = line[: len(line) - len(line.lstrip())]
        lines.append("")
        for word in WORD.findall(line):
            if lines[-1].strip() and len(lines[-1]) + len(word) > width:
                lines.append(indent + word.lstrip())
            else:
                lines[-1] += word
    return "\n".join(lines)


def _terminal() -> RichConsole:
    from rich.console import Console as RichConsole

    # Made anew each time: tests and shells may replace sys.stderr under us.
    return RichConsole(stderr=True)


def _nothing(done: int, remark: str = "") -> None:
    pass


def _bar(
    console: RichConsole, description: str, total: int | None, before: int
) -> Iterator[Advance]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),  # takes what the words leave
        MofNCompleteColumn(),
        TextColumn("{task.fields[remark]}", markup=False),
        TimeRemainingColumn(),
    )
    started = time.monotonic()
    done = 0
    with Progress(*columns, console=console, transient=True, expand=True) as progress:
        task = progress.add_task(description, total=total, completed=before, remark="")

        def advance(more: int, remark: str = "") -> None:
            nonlocal done
            done += more
            rate = f"{done / max(time.monotonic() - started, 1e-6):.3g}/s"
            progress.update(task, advance=more, remark=remark or rate)

        yield advance
