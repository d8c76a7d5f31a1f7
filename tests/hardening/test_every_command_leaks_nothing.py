"""Every command, found by walking the application, is run near planted identifiers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract import all_commands
from forked import Forks, forks
from hard_study import CPU, LOADED, write_sources
from leaks import find_leaks

from echocli.datasets.phantom import PhantomConfig, draw_patient, identifiers
from echocli.errors import ExitCode

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
OTHER_INPUTS = ("--model", "--init", "--normals", "--bank")
"""Options that name a file to be read, though they may hold a name instead."""
OUTPUTS = ("--out", "--bundle", "--linkage")
"""Options that name a place to write to: where a result stands is the result."""
NAME = "Kowalewska-19610412"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    with forks(tmp_path_factory.mktemp("forks"), *LOADED) as process:
        yield process


def test_every_command_is_tried() -> None:
    assert set(all_commands()) - set(NOT_RUN) == set(NEAR)


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
        said += [(name, leak) for leak in find_leaks([ended.errors], [*planted, NAME])]
    for name, words in NEAR.items():
        typed = [word.replace(SOURCE, f"gone/{NAME}.avi") for word in words]
        ended = run(*name.split(), *typed, work_in=str(tmp_path))
        said += [(name, leak) for leak in find_leaks([ended.errors], [NAME])]
    assert said == []
    near = tmp_path / "near"
    assert not near.exists() or find_leaks([near], planted) == []


def inputs() -> dict[str, str]:
    """Return every option that names a file to be read, with a command that has it."""
    return {
        param.opts[0]: name
        for name in NEAR
        for param in all_commands()[name].params
        if param.type_descriptor.annotation is Path or param.opts[0] in OTHER_INPUTS
        if param.opts[0].startswith("--") and param.opts[0] not in OUTPUTS
    }


def test_no_option_repeats_the_name_of_a_file_that_is_not_there(
    run: Forks, tmp_path: Path
) -> None:
    write_sources(tmp_path)
    assert len(inputs()) >= 9
    said = []
    for option, name in inputs().items():
        typed = [word.replace(SOURCE, "clips") for word in NEAR[name]]
        absent = f"gone/{NAME}.avi"
        ended = run(*name.split(), *typed, option, absent, work_in=str(tmp_path))
        assert ended.code != ExitCode.BUG, (name, option, ended.errors)
        said += [(name, option, leak) for leak in find_leaks([ended.errors], [NAME])]
    assert said == []
