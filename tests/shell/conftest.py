"""Shells that have read our code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

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


@pytest.fixture(scope="session")
def started() -> Iterator[tuple[ExitStack, dict[str, Terminal]]]:
    """The shells that run already, each started once for all tests."""
    with ExitStack() as stack:
        yield stack, {}


@pytest.fixture(params=[shell.value for shell in Shell])
def terminal(
    request: pytest.FixtureRequest,
    started: tuple[ExitStack, dict[str, Terminal]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Terminal:
    """A prompt whose shell has read our code."""
    stack, terminals = started
    name = str(request.param)
    if name not in terminals:
        folder = tmp_path_factory.mktemp(name)
        (folder / "words").write_text(shell_code(Shell(name), COMMANDS))
        terminals[name] = stack.enter_context(Terminal(name, folder))
        if name == "zsh":
            terminals[name].type("autoload -Uz compinit; compinit -u -D")
        terminals[name].type("source ./words")
    terminals[name].runs()
    return terminals[name]
