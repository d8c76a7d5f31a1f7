"""The command line: finds the commands, and turns what goes wrong into exit codes."""

from __future__ import annotations

import functools
import importlib
import io
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer
import typer.completion

import echocli
import echocli.commands
from echocli.commands._help import GroupPage, Page
from echocli.console import Console
from echocli.errors import NO_SPACE, REFUSED, EchoError, ExitCode, WorkerError

DEFAULT_SUBCOMMAND = "predict"
"""What a task group does when no subcommand is typed."""

HELP = """Self-supervised learning on heart ultrasound, from DICOM files to scores.

* `echocli demo`: a whole study on phantom hearts, in minutes, no download

* `echocli preprocess /archive/echo`: de-identified clips of your own files, then

* `echocli pretrain && echocli embed && echocli score --anomaly && echocli report`

Inside a study folder each command finds what the one before it wrote. `echocli COMMAND -h`
shows examples of each.
"""
COMPLETING = "_ECHOCLI_COMPLETE"
"""Variable by which a shell asks for completions."""


def command_names() -> list[str]:
    """Return the names of all commands: the files of ``echocli/commands``."""
    modules = pkgutil.iter_modules(echocli.commands.__path__)
    return sorted(m.name.replace("_", "-") for m in modules if not m.name.startswith("_"))


def build_app(names: Iterable[str] | None = None) -> typer.Typer:
    """Return the Typer application.

    Args:
        names: The commands in it; all if left out.
    """
    app = typer.Typer(
        name="echocli",
        cls=GroupPage,
        help=HELP,
        no_args_is_help=True,
        add_completion=False,  # `echocli shell-init` brings it
        pretty_exceptions_enable=False,  # its tracebacks may show patients' names
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode=None,
    )
    app.callback()(_global_options)
    for name in command_names() if names is None else names:
        module = _module(name)
        if hasattr(module, "app"):
            app.add_typer(_guard_group(module.app), name=name, cls=GroupPage)
        else:
            app.command(name, cls=Page)(guard(module.command))
    return app


def run(arguments: list[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        arguments: Words after the program's name; those typed if left out.
    """
    # Threads that wait by spinning can slow a shared machine down many times. What reads this
    # does so once, when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    open_what_is_closed()
    let_everything_out()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if COMPLETING in os.environ:
        typer.completion.get_completion_inspect_parameters()  # makes the shells known
        asked = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
        words = asked.split()[1:]
    try:
        build_app(_named(words))(insert_default_subcommand(words), prog_name="echocli")
    finally:
        _flush()


def open_what_is_closed() -> None:
    """Let what a shell has closed (``>&-``) lead nowhere; no file of ours takes its place."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def let_everything_out() -> None:
    """Let standard output take all letters, and names of any bytes, whatever its encoding is.

    What is no terminal gets UTF-8, as our files are, and on Windows no carriage returns, so
    that the next program, ours or another, reads the same everywhere.
    """
    stream = sys.stdout
    if not isinstance(stream, io.TextIOWrapper):
        return
    if stream.isatty():
        stream.reconfigure(errors="backslashreplace")
    else:
        stream.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")


def _named(words: list[str]) -> list[str] | None:
    """Return the command that is typed, to load it alone; nothing if that needs all."""
    position = _position(words)
    return None if position is None else [words[position]]


def _position(words: list[str]) -> int | None:
    """Return where among the words the command is, if there is one."""
    position = next((i for i, word in enumerate(words) if not word.startswith("-")), None)
    return position if position is not None and words[position] in command_names() else None


def _module(command: str) -> ModuleType:
    return importlib.import_module(f"echocli.commands.{command.replace('-', '_')}")


def _flush() -> None:
    """Write what is left, now: Python would complain at exit if nobody reads it any more."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _leave_standard_output()


def _leave_standard_output() -> None:
    """Let what is still to be written go nowhere: the reader has seen enough."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def insert_default_subcommand(words: list[str]) -> list[str]:
    """Turn ``segment videos/`` into ``segment predict videos/``."""
    position = _position(words)
    if position is None:
        return words
    module = _module(words[position])
    if not hasattr(module, "app"):
        return words
    following = words[position + 1 : position + 2]
    subcommands = {
        c.name or getattr(c.callback, "__name__", "") for c in module.app.registered_commands
    }
    if DEFAULT_SUBCOMMAND not in subcommands or following in (["-h"], ["--help"]):
        return words
    if following and following[0] in subcommands:
        return words
    if following and _is_mistyped(following[0], subcommands):
        return words  # the group names the nearest
    return [*words[: position + 1], DEFAULT_SUBCOMMAND, *words[position + 1 :]]


def _is_mistyped(word: str, commands: Iterable[str]) -> bool:
    """Tell a subcommand with a slip in it from the name of a file."""
    from difflib import get_close_matches

    return bool(get_close_matches(word, commands, 1, 0.75)) and not Path(word).exists()


def guard(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command that ends with a message and an exit code, never with a traceback."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        try:
            function(*args, **kwargs)
        except (typer.Exit, typer.Abort, SystemExit):
            raise
        except BaseException as error:
            if os.environ.get("ECHOCLI_DEBUG"):
                _print_stack(error)
            raise SystemExit(int(_explain(error))) from None

    return guarded


def _guard_group(group: typer.Typer) -> typer.Typer:
    for command in group.registered_commands:
        if command.callback is not None and command.cls is not Page:
            command.callback = guard(command.callback)
            command.cls = Page
    return group


def _explain(error: BaseException) -> ExitCode:
    """Say what went wrong and return the exit code."""
    console = Console()
    if isinstance(error, EchoError):
        console.error(error.problem, error.remedy)
        return error.code
    if isinstance(error, KeyboardInterrupt):
        console.error("Stopped by Ctrl-C.", "Run the same command again to go on.")
        return ExitCode.INTERRUPTED
    if isinstance(error, BrokenPipeError):
        _leave_standard_output()
        return ExitCode.DONE
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        console.error("The disk is full.", "Free some space, then run the same command again.")
        return ExitCode.SPACE
    if isinstance(error, OSError) and error.errno in REFUSED:
        console.error(
            f"The system refused: {os.strerror(error.errno)} (at {_our_last_line(error)}).",
            "See that what is read may be read and what is written may be written, then run "
            "the same command again.",
        )
        return ExitCode.MACHINE
    # The message of a foreign exception may hold a patient's name, so only its kind and our
    # own line are told.
    told = f"{type(error).__name__} at {_our_last_line(error)}"
    console.error(
        f"A bug in echocli: {error if isinstance(error, WorkerError) else told}.",
        "Please report this line, or the longer account of `echocli --debug ...`: neither "
        "holds names of patients or files.",
    )
    return ExitCode.BUG


def _print_stack(error: BaseException) -> None:
    """Print where an error came from, without its words: they may name a patient or a file."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    for link in reversed(chain):
        lines = traceback.format_tb(link.__traceback__)
        if isinstance(link, WorkerError):
            lines.append(link.stack)
        head, tail = "Traceback, without messages:\n", f"{type(link).__name__}\n"
        typer.echo("".join([head, *lines, tail]), err=True)


def _our_last_line(error: BaseException) -> str:
    package = Path(__file__).parent
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if package in Path(f.filename).parents] or list(frames)
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "an unknown line"


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"echocli {echocli.__version__}")
        raise typer.Exit


def _global_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version."
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show tracebacks, without names of patients or files."),
    ] = False,
) -> None:
    if debug:
        os.environ["ECHOCLI_DEBUG"] = "1"
