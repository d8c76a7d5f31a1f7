"""Completion after `echo`: our commands, their options and values, and files as ever."""

from __future__ import annotations

import pytest
from terminal import Terminal


def test_names_of_commands_are_completed_without_asking_echocli(terminal: Terminal) -> None:
    terminal.complete("echo shell-in", by_echocli=False)
    terminal.type(" bash")
    assert terminal.runs() == ["ran <shell-init> <bash>"]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("echo shell-init z", "ran <shell-init> <zsh>"),
        ("echo shell-init --he", "ran <shell-init> <--help>"),
        ("echocli shell-init f", "ran <shell-init> <fish>"),
        ("echo embed ordinary-na", "ran <embed> <ordinary-name.txt>"),
    ],
)
def test_options_values_and_files_are_completed(
    terminal: Terminal, keys: str, expected: str
) -> None:
    (terminal.folder / "ordinary-name.txt").touch()
    terminal.complete(keys, by_echocli=True)
    terminal.type("")
    assert terminal.runs() == [expected]


@pytest.mark.parametrize("typed", ["echo plai", "echo -n plai"])
def test_files_are_completed_after_an_ordinary_echo(terminal: Terminal, typed: str) -> None:
    (terminal.folder / "plainly").touch()
    terminal.complete(typed, by_echocli=False)
    terminal.type("> shown.txt")
    assert (terminal.folder / "shown.txt").read_text().strip() == "plainly"
    assert terminal.runs() == []
