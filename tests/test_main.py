"""The command line as a whole: fast help, exit codes, and messages that tell no secrets."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from echocli.errors import EchoError, ExitCode, MachineError, PrivacyError, UsageError
from echocli.main import guard, insert_default_subcommand

SECRET = "Quillfeather^Zephyrine"


def echocli(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "echocli", *words],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
        check=False,
    )


HEAVY = ("torch", "pandas", "numpy", "pydicom", "pyarrow", "matplotlib", "sklearn", "av")


def test_help_of_no_command_imports_anything_heavy() -> None:
    """All help pages in one process, so that the first to import something is named."""
    code = f"""
import importlib, sys
from echocli.main import command_names, run

for words in [["--help"], ["--version"], *([name, "-h"] for name in command_names())]:
    module = importlib.import_module("echocli.commands." + words[0].replace("-", "_"), None) \\
        if words[0] in command_names() else None
    group = getattr(module, "app", None)
    inner = [c.name or c.callback.__name__ for c in group.registered_commands] if group else []
    for asked in [words, *([words[0], name, "-h"] for name in inner)]:
        try:
            run(asked)
        except SystemExit as end:
            assert not end.code, asked
        met = [m for m in {HEAVY!r} if m in sys.modules]
        assert not met, (asked, met)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def seconds(*words: str, **environment: str) -> float:
    """Return the processor time of the quickest of several calls: neighbours only slow it."""

    def once() -> float:
        before = os.times()  # Windows counts none of children
        assert echocli(*words, **environment).returncode == 0
        after = os.times()
        spent = after.children_user + after.children_system
        return spent - before.children_user - before.children_system

    return min(once() for _ in range(4))


ASKED = {
    "_ECHOCLI_COMPLETE": "complete_bash",
    "COMP_WORDS": "echocli pretrain --preset ",
    "COMP_CWORD": "3",
}


@pytest.mark.parametrize(
    ("words", "environment"),
    [(["--help"], {}), (["--version"], {}), (["pretrain", "-h"], {}), ([], ASKED)],
)
def test_help_and_completion_take_less_than_three_tenths_of_a_second_of_processor_time(
    words: list[str], environment: dict[str, str]
) -> None:
    assert seconds(*words, **environment) < 0.3


def test_no_arguments_show_help_and_a_wrong_command_is_refused() -> None:
    assert echocli().returncode == ExitCode.USAGE
    wrong = echocli("emebd")
    assert wrong.returncode == ExitCode.USAGE
    assert "Did you mean embed?" in wrong.stderr


def raising(error: BaseException) -> Callable[[], None]:
    def command() -> None:
        raise error

    return guard(command)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EchoError("It is broken.", "Mend it."), 3),
        (UsageError("It is wrong.", "Say it right."), 2),
        (MachineError("It is missing.", "Install it."), 5),
        (PrivacyError("It would leak.", "Mask it."), 7),
        (OSError(errno.ENOSPC, "No space left", SECRET), 6),
        (KeyboardInterrupt(), 130),
        (ValueError(SECRET), 1),
        (KeyError(SECRET), 1),
    ],
)
def test_errors_become_exit_codes_without_secrets(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        raising(error)()
    told = capsys.readouterr()
    assert end.value.code == code
    assert told.out == ""
    assert SECRET not in told.err
    assert told.err.count("error:") == 1
    assert told.err.count("fix:") == 1


def test_a_bug_is_told_with_its_place_and_debug_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        raising(ZeroDivisionError("inner words"))()
    told = capsys.readouterr().err
    assert "ZeroDivisionError at " in told
    assert "inner words" not in told
    monkeypatch.setenv("ECHOCLI_DEBUG", "1")
    with pytest.raises(SystemExit):
        raising(ZeroDivisionError("inner words"))()
    assert "Traceback" in capsys.readouterr().err


def test_predict_is_what_a_task_group_does_by_default() -> None:
    assert insert_default_subcommand(["lvef", "clips"]) == ["lvef", "predict", "clips"]
    assert insert_default_subcommand(["segment"]) == ["segment", "predict"]
    assert insert_default_subcommand(["lvef", "fit", "clips"]) == ["lvef", "fit", "clips"]
    assert insert_default_subcommand(["lvef", "--help"]) == ["lvef", "--help"]
    assert insert_default_subcommand(["--debug", "lvef", "x"]) == [
        "--debug",
        "lvef",
        "predict",
        "x",
    ]
    assert insert_default_subcommand(["embed", "videos"]) == ["embed", "videos"]
    assert insert_default_subcommand(["lvef", "-q"]) == ["lvef", "predict", "-q"]
