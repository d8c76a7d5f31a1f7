"""``echocli shell-init``: the shell code behind ``echo pretrain``, ``echo embed`` and so on."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from echocli.commands._words import one_of
from echocli.console import Console


class Shell(StrEnum):
    """A shell that the words were tried in."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def shell_code(shell: Shell, commands: list[str]) -> str:
    """Return the shell code that runs our commands after the word ``echo``.

    Args:
        shell: Which shell reads it.
        commands: Names of all commands.
    """
    from importlib.resources import files

    code = files("echocli").joinpath("shell", f"echo.{shell}").read_text(encoding="utf-8")
    # Quoted, so that a global alias of zsh cannot change a name while the code is read.
    pattern = "|".join(f"'{name}'" for name in commands)
    return code.replace("@PATTERN@", pattern).replace("@WORDS@", " ".join(commands))


def command(
    shell: Annotated[
        str,
        typer.Argument(
            help="The shell that will read the code: bash, zsh or fish.",
            **{**one_of(*Shell), "metavar": "SHELL"},
        ),
    ],
) -> None:
    r"""Print shell code that makes `echo pretrain`, `echo embed` ... run echocli.

    * `echocli shell-init bash > ~/.echocli.bash`: then source ~/.echocli.bash in ~/.bashrc

    * `echocli shell-init zsh > ~/.echocli.zsh`: then source ~/.echocli.zsh in ~/.zshrc

    * `echocli shell-init fish > ~/.config/fish/conf.d/echocli.fish`: nothing more to do

    * `eval "$(echocli shell-init bash)"`: try it in this shell only

    The rule: if the word after `echo` is a command of echocli and the line was typed at a
    prompt, it runs; everything else (scripts, functions, sourced files, `xargs echo`) is the
    shell's own echo, byte for byte. `builtin echo embed` and `echo -- embed` always print.
    Completion of commands, options and files comes with it.
    """
    from echocli.main import command_names

    Console().result(shell_code(Shell(shell), command_names()).rstrip("\n"))
