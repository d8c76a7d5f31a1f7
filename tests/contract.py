"""All commands: how they are found, how each is called on a tiny study, and what it said."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import typer
from micro import MICRO

from echocli.main import build_app, run

LIGHT = ("--device", "cpu", "--precision", "fp32")
SETTINGS = tuple(word for setting in MICRO for word in ("--set", setting))

# How each command is called on the study: {} stands for a folder of the call's own. A command
# that is missing here fails test_every_command_has_a_call.
CALLS: dict[str, tuple[str, ...]] = {
    "classify fit": ("clips", "-o", "{}/head", "--windows", "1", *LIGHT),
    "classify predict": ("clips", "-o", "{}/classes.csv", *LIGHT),
    "classify evaluate": ("clips", *LIGHT),
    "classify evaluate --against": ("heads/classify", "clips", *LIGHT),
    "config show": ("--preset", "laptop"),
    "demo": ("-o", "{}/study"),
    "doctor": (".",),
    "embed": ("clips", "-o", "{}/made.parquet", "--windows", "1", *LIGHT),
    "export": ("clips", "-o", "{}/look", "--sheet"),
    "inspect": ("dicom", "--workers", "1"),
    "lvef fit": ("clips", "-o", "{}/head", "--windows", "1", *LIGHT),
    "lvef predict": ("clips", "-o", "{}/lvef.csv", *LIGHT),
    "lvef fit --probe attentive": ("clips", "-o", "{}/head", "--epochs", "1", *LIGHT),
    "lvef predict --from-masks": ("clips", "-o", "{}/ef.csv"),
    "lvef evaluate": ("clips", *LIGHT),
    "lvef evaluate --against": ("heads/lvef", "clips", *LIGHT),
    "lvef evaluate --from-masks": ("clips",),
    "models list": (),
    "models info": ("runs/first/model",),
    "models import": (
        "weights.pth",
        "-o",
        "{}/m",
        "--heads",
        "3",
        "--size",
        "32",
        "--frames",
        "4",
    ),
    "models verify": ("runs/first/model",),
    "preprocess": ("dicom", "-o", "{}/clips", "--size", "32", "--workers", "1"),
    "pretrain": (
        "clips",
        "--method",
        "vjepa",
        "--steps",
        "2",
        "-o",
        "{}/run",
        *LIGHT,
        *SETTINGS,
    ),
    "pretrain --plan": ("clips", "--method", "vjepa", "--steps", "2", *LIGHT, *SETTINGS),
    "pretrain --preset list": (),
    "report": (".", "-o", "{}/page.html"),
    "score": ("--anomaly", "-o", "{}/scores.csv", "--false-positive-rate", "0.1"),
    "score --vote": ("-o", "{}/votes.csv"),
    "robustness": (
        "lvef",
        "clips",
        "-o",
        "{}/r",
        "--perturb",
        "shadow",
        "--strengths",
        "1",
        *LIGHT,
    ),
    "schema": (),
    "segment fit": ("clips", "-o", "{}/head", "--windows", "1", "--steps", "5", *LIGHT),
    "segment predict": ("clips", "-o", "{}/masks", "--overlays", "1", *LIGHT),
    "segment evaluate --against": ("heads/segment", "clips", *LIGHT),
    "segment evaluate": ("clips", *LIGHT),
    "shell-init": ("bash",),
    "verify": ("runs/first/model",),
}


@dataclass(frozen=True)
class Heard:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The JSON document on standard output; there must be nothing else."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


Hear = Callable[..., Heard]
"""Of the fixture ``hear``: the name of a command and a manner give what it said."""


@cache
def all_commands() -> dict[str, Any]:
    """Return every command and subcommand by the words that call it."""

    def walk(command: Any, words: str) -> Iterator[tuple[str, Any]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield words, command
        else:
            for name, one in inner.items():
                yield from walk(one, f"{words} {name}".strip())

    return dict(walk(typer.main.get_command(build_app()), ""))


def call(folder: Path, *words: str, typed: str | None = None) -> Heard:
    """Run a command in a folder, in this process, and return what it said.

    Args:
        folder: Where it is called.
        words: After the program's name.
        typed: What stands on standard input.
    """
    out, err, code = io.StringIO(), io.StringIO(), 0
    given = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO((typed or "").encode()))
    try:
        with chdir(folder), redirect_stdout(out), redirect_stderr(err):
            run(list(words))
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stdin = given
    return Heard(code, out.getvalue(), err.getvalue())


def words_of(name: str, place: str, *more: str) -> list[str]:
    """Return the words of a command's call, its outputs in a folder of that name."""
    folder = f"{place}/{name.replace(' ', '-')}"
    return [*name.split(), *(word.replace("{}", folder) for word in CALLS[name]), *more]
