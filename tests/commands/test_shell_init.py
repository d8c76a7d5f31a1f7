"""``echocli shell-init`` itself; what its code does is tested in tests/shell."""

from __future__ import annotations

import pytest

from echocli.commands.shell_init import Shell, shell_code
from echocli.main import command_names, run


@pytest.mark.parametrize("shell", list(Shell))
def test_the_code_names_every_command_and_nothing_is_left_to_fill_in(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        run(["shell-init", shell])
    assert stop.value.code == 0
    code = capsys.readouterr().out
    assert code.rstrip("\n") == shell_code(shell, command_names()).rstrip("\n")
    assert "@PATTERN@" not in code
    assert "@WORDS@" not in code
    for name in command_names():
        assert name in code


@pytest.mark.parametrize("shell", ["powershell", "tcsh", ""])
def test_an_unknown_shell_is_wrong_usage_and_the_known_ones_are_named(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        run(["shell-init", shell])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    for name in Shell:
        assert name in said
