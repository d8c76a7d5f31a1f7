"""What a command says: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import Console as RichConsole

Advance = Callable[[int], None]
"""Call it with the number of units just done."""

SECONDS_BETWEEN_LINES = 60.0


class Reporter(Protocol):
    """What the Python API needs of whoever watches it."""

    def say(self, message: str) -> None:
        """Tell something worth knowing."""

    def warn(self, message: str) -> None:
        """Tell something worth acting on."""

    def progress(self, description: str, total: int | None) -> AbstractContextManager[Advance]:
        """Show how far a long work is while the block runs."""


class _Silent:
    def say(self, message: str) -> None:
        pass

    def warn(self, message: str) -> None:
        pass

    @contextmanager
    def progress(self, description: str, total: int | None) -> Iterator[Advance]:
        yield lambda done: None


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

    def say(self, message: str) -> None:
        """Tell something worth knowing, on standard error."""
        if not self.quiet:
            self._error_console().print(message, markup=False, highlight=False, soft_wrap=True)

    def warn(self, message: str) -> None:
        """Tell something worth acting on, on standard error, quiet or not."""
        self._error_console().print(
            f"warning: {message}", style="yellow", markup=False, highlight=False, soft_wrap=True
        )

    def error(self, problem: str, remedy: str) -> None:
        """Tell what went wrong and what mends it, in two lines."""
        console = self._error_console()
        console.print(
            f"error: {problem}", style="red", markup=False, highlight=False, soft_wrap=True
        )
        console.print(f"  fix: {remedy}", markup=False, highlight=False, soft_wrap=True)

    def result(self, text: str) -> None:
        """Write one line of the result on standard output."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def document(self, schema: str, payload: dict[str, Any]) -> None:
        """Write the result as one JSON document.

        Raises:
            ValueError: If the payload holds NaN, which JSON has no word for.
        """
        self.result(json.dumps({"schema": schema, **payload}, indent=2, allow_nan=False))

    def table(
        self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]
    ) -> None:
        """Write a table on standard output: drawn on a terminal, tab-separated elsewhere."""
        if not sys.stdout.isatty():
            for row in (columns, *rows):
                self.result("\t".join("" if value is None else str(value) for value in row))
            return
        from rich.console import Console as RichConsole
        from rich.table import Table
        from rich.text import Text

        drawn = Table(title=title, title_justify="left", header_style="bold")
        for column in columns:
            drawn.add_column(column)
        for row in rows:
            drawn.add_row(*(Text("" if value is None else str(value)) for value in row))
        RichConsole(highlight=False).print(drawn)

    @contextmanager
    def progress(self, description: str, total: int | None) -> Iterator[Advance]:
        """Show a bar on a terminal, one line a minute elsewhere, nothing when quiet."""
        if self.quiet:
            yield lambda done: None
        elif self._error_console().is_terminal:
            yield from self._bar(description, total)
        else:
            yield from self._lines(description, total)

    def _bar(self, description: str, total: int | None) -> Iterator[Advance]:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        started = time.monotonic()
        done = 0
        with Progress(*columns, console=self._error_console(), transient=True) as progress:
            task = progress.add_task(description, total=total, rate="")

            def advance(step: int) -> None:
                nonlocal done
                done += step
                rate = done / max(time.monotonic() - started, 1e-6)
                progress.update(task, advance=step, rate=f"{rate:.3g}/s")

            yield advance

    def _lines(self, description: str, total: int | None) -> Iterator[Advance]:
        started = told = time.monotonic()
        done = 0

        def advance(step: int) -> None:
            nonlocal done, told
            done += step
            now = time.monotonic()
            if now - told >= SECONDS_BETWEEN_LINES:
                told = now
                rate = done / (now - started)
                left = "" if total is None else f", {(total - done) / rate / 60:.1f} min left"
                self.say(f"{description}: {done}/{total or '?'}, {rate:.3g}/s{left}")

        yield advance

    def _error_console(self) -> RichConsole:
        from rich.console import Console as RichConsole

        # Made anew each time: tests and shells may replace sys.stderr under us.
        return RichConsole(stderr=True)
