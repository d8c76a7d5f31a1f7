"""Every command, found by walking the application, is run near planted identifiers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from forked import Forks, forks
from hard_study import CPU, LOADED, write_sources
from leaks import find_leaks
from typer.core import TyperCommand, TyperGroup

from echocli.datasets.phantom import PhantomConfig, draw_patient, identifiers
from echocli.errors import ExitCode
from echocli.main import build_app

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs fork")

NOT_RUN = {
    "demo": "draws its own phantoms and reads nothing",
    "shell-init": "prints shell code and reads nothing",
    "schema": "prints what is shipped and reads nothing",
}
SOURCE = "{source}"
"""Stands for what is a patient's: a file that is none, or one that is not there."""
NEAR: dict[str, tuple[str, ...]] = {
    "preprocess": (SOURCE, "-o", "near/clips"),
    "inspect": (SOURCE, "--json"),
    "embed": (SOURCE, "-o", "near/e.parquet", *CPU),
    "pretrain": (SOURCE, "--method", "videomae", "--steps", "1", "-o", "near/run", *CPU),
    "score": (SOURCE, "--anomaly", "-o", "near/scores.csv"),
    "lvef fit": (SOURCE, "-o", "near/lvef", *CPU),
    "lvef predict": (SOURCE, "-o", "near/lvef.csv", *CPU),
    "lvef evaluate": (SOURCE, *CPU),
    "segment fit": (SOURCE, "-o", "near/segment", *CPU),
    "segment predict": (SOURCE, "-o", "near/masks", *CPU),
    "segment evaluate": (SOURCE, *CPU),
    "classify fit": (SOURCE, "-o", "near/classify", *CPU),
    "classify predict": (SOURCE, "-o", "near/classify.csv", *CPU),
    "classify evaluate": (SOURCE, *CPU),
    "robustness": ("lvef", SOURCE),
    "report": (SOURCE, "-o", "near/report.html"),
    "export": (SOURCE, "-o", "near/export"),
    "models list": (),
    "models info": (SOURCE,),
    "models import": (SOURCE, "-o", "near/model"),
    "models verify": (SOURCE,),
    "verify": (SOURCE,),
    "doctor": (SOURCE,),
    "config show": ("--config", SOURCE),
}
"""Each command with a patient's file in the place of its first input."""
REPEATING = ("models info", "models import", "models verify", "config show", "score", "doctor")
"""Commands that repeat what was typed: weights, settings and embeddings are no patient's, and
the last takes no file."""
NAME = "Kowalewska-19610412"


def leaves(command: TyperCommand | TyperGroup, name: str = "") -> Iterator[str]:
    """Yield the full name of every command below one."""
    if isinstance(command, TyperGroup):
        for part, inner in command.commands.items():
            yield from leaves(inner, f"{name} {part}".strip())
    else:
        yield name


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    with forks(tmp_path_factory.mktemp("forks"), *LOADED) as process:
        yield process


def test_every_command_is_tried() -> None:
    found = set(leaves(typer.main.get_command(build_app())))
    assert found - set(NOT_RUN) == set(NEAR)


def test_no_command_tells_what_stands_in_a_file_it_cannot_use(
    run: Forks, tmp_path: Path
) -> None:
    write_sources(tmp_path)
    planted = identifiers(draw_patient(11, 0, PhantomConfig()))
    letter = tmp_path / f"{NAME}.dcm"
    letter.write_text(" ".join(planted))
    said = []
    for name, words in NEAR.items():
        typed = [word.replace(SOURCE, str(letter)) for word in words]
        ended = run("--debug", *name.split(), *typed, work_in=str(tmp_path))
        assert ended.code != ExitCode.BUG, (name, ended.errors)
        hidden = planted if name in REPEATING else [*planted, NAME]
        said += [(name, leak) for leak in find_leaks([ended.errors], hidden)]
    for name in NEAR.keys() - set(REPEATING):
        typed = [word.replace(SOURCE, f"gone/{NAME}.avi") for word in NEAR[name]]
        ended = run(*name.split(), *typed, work_in=str(tmp_path))
        said += [(name, leak) for leak in find_leaks([ended.errors], [NAME])]
    assert said == []
    near = tmp_path / "near"
    assert not near.exists() or find_leaks([near], planted) == []
