"""What the scripts of published tables share: a study folder, an encoder, two columns.

Nothing is done twice: a clip set, a run or a model that stands in the study folder is used.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from echocli.api.preprocess import preprocess
from echocli.api.pretrain import Choice, pretrain
from echocli.console import SILENT, Console, Reporter
from echocli.errors import EchoError

NOT_KNOWN = "not known"
HALF_BEAT = ("data.frames=16", "data.stride=1")
"""A window that CAMUS' loops from end-diastole to end-systole fill; a second is too long."""
SECOND_HAND = (
    "The published figures are from summaries of the paper, not from its tables: read the "
    "paper before you quote them."
)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A data set, the study that is made of it, and the encoder that is judged."""

    data: Path
    """The data set's folder, as it was unpacked."""
    out: Path
    """Study folder."""
    model: Path | None = None
    """A run, or a public checkpoint that ``echocli models import`` wrote."""
    choice: Choice = field(default_factory=Choice)
    """What to train where no model is named."""
    size: int = 112
    """Side of a stored frame in pixels."""
    reporter: Reporter = SILENT

    def clips(self) -> Path:
        """Return the clips of the data set, made with its own split and rule of normal."""
        out = self.out / "clips"
        return preprocess([self.data], out, size=self.size, reporter=self.reporter).clips

    def encoder(self, name: str = "", changes: Sequence[str] = ()) -> Path:
        """Return the named model, or one that is trained on the clips, once.

        Args:
            name: Of the run; the preset's if left out.
            changes: Settings; those of the choice come after them.
        """
        if self.model is not None:
            return self.model
        run = self.out / "runs" / (name or self.choice.preset or "base")
        if not (run / "model").exists():
            choice = replace(self.choice, changes=(*changes, *self.choice.changes))
            pretrain(self.clips(), choice, out=run, reporter=self.reporter)
        return run / "model"


class Row(NamedTuple):
    """A figure of the paper beside ours."""

    what: str
    theirs: str
    ours: str


def parser_of(page: str | None, preset: str) -> argparse.ArgumentParser:
    """Return what reads the command line that all these scripts have.

    Args:
        page: Docstring of the script.
        preset: What is trained unless a model or another preset is named.
    """
    parser = argparse.ArgumentParser(
        description=page, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="the data set's folder")
    parser.add_argument("--out", type=Path, default=Path("reproduce"), help="study folder")
    parser.add_argument("--model", type=Path, help="a run or an imported checkpoint")
    parser.add_argument("--preset", default=preset, help="to train where no model is named")
    parser.add_argument("--init", help="model that training starts from")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings")
    return parser


def place_of(
    typed: argparse.Namespace,
    *,
    method: str | None = None,
    where: str | None = None,
    size: int = 112,
) -> Place:
    """Return what a command line asks for.

    Args:
        typed: What ``parser_of`` read.
        method: Of the training; the preset's if left out.
        where: Clips to train on.
        size: Side of a stored frame.
    """
    choice = Choice(
        method=method, preset=typed.preset, where=where, init=typed.init, changes=typed.set
    )
    return Place(
        data=typed.data,
        out=typed.out,
        model=typed.model,
        choice=choice,
        size=size,
        reporter=Console(),
    )


@contextmanager
def in_two_lines() -> Iterator[None]:
    """End a script that cannot go on with what happened and what mends it."""
    try:
        yield
    except EchoError as error:
        raise SystemExit(f"error: {error.problem}\n  fix: {error.remedy}") from None


def told(figure: Mapping[str, Any] | None, scale: float = 1.0, digits: int = 3) -> str:
    """Return a figure with its interval; a dash where there is none.

    Args:
        figure: ``value, low, high``.
        scale: What it is multiplied with: 100 for per cent.
        digits: Behind the point.
    """
    if figure is None or figure["value"] is None:
        return "-"
    value = f"{scale * figure['value']:.{digits}f}"
    if figure["low"] is None:
        return f"{value} (no interval)"
    low, high = (f"{scale * figure[key]:.{digits}f}" for key in ("low", "high"))
    return f"{value} ({low} to {high})"


def counted(test: Mapping[str, Any] | None) -> str:
    """Return of how many clips, or frames, and patients figures are."""
    if not test:
        return "no labelled test patient"
    unit = next(name for name in ("clips", "frames") if name in test)
    return f"{test[unit]} {unit} of {test['patients']} patients"


def tell(title: str, rows: Sequence[Row], differences: Sequence[str]) -> None:
    """Print published figures beside ours, and in what the protocols differ."""
    lines = [Row("", "published", "ours, 95 %"), *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    print(f"\n{title}\n")
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())
    print("\nThe two columns are not of one protocol:")
    for difference in (*differences, SECOND_HAND):
        print(f"- {difference}")
