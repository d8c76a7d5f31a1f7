"""Shells that have read our code."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from terminal import Terminal

from echocli.commands.shell_init import Shell, shell_code

COMMANDS = [
    "embed",
    "lvef",
    "preprocess",
    "pretrain",
    "report",
    "score",
    "segment",
    "shell-init",
]


@pytest.fixture(scope="module", params=[shell.value for shell in Shell])
def terminal(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Terminal]:
    """A prompt whose shell has read our code."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "words").write_text(shell_code(Shell(request.param), COMMANDS))
    with Terminal(request.param, folder) as shell:
        if request.param == "zsh":
            shell.type("autoload -Uz compinit; compinit -u -D")
        shell.type("source ./words")
        shell.runs()
        yield shell
