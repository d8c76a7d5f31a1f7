"""What may happen to a command while it writes. Called in a child before the command runs."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

CHANGES = frozenset(
    (
        *("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "os.link"),
        *("os.symlink", "os.chmod", "shutil.move", "shutil.rmtree"),
    )
)
"""What Python tells before it changes a folder; files opened to be written come too."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
AT_END: list[Callable[[], Any]] = []
"""Done when the command has ended."""
THE_END = b"\0that is all\0"
"""After this nothing more is said."""


def _when_changed(root: str, told: Callable[[], None]) -> None:
    """Call a function before each change below a folder."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            changes = isinstance(args[2], int) and args[2] & WRITING
        else:
            changes = event in CHANGES
        if changes and any(_is_below(arg, root) for arg in args):
            told()

    sys.addaudithook(hook)


def _is_below(arg: object, root: str) -> bool:
    if not isinstance(arg, str | bytes | os.PathLike):
        return False
    return os.path.abspath(os.fsdecode(arg)).startswith(root)


def count_changes(options: list[str]) -> None:
    """Count the changes below a folder.

    Args:
        options: The folder, and the file that shall hold the number.
    """
    root, note = options
    count = 0

    def told() -> None:
        nonlocal count
        count += 1

    def write() -> None:
        with open(note, "w") as file:
            file.write(str(count))

    _when_changed(root, told)
    AT_END.append(write)


def die_at_change(options: list[Any]) -> None:
    """Kill the process just before a change below a folder.

    Args:
        options: The folder, and which change, from 1.
    """
    root, last = options
    count = 0

    def told() -> None:
        nonlocal count
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)

    _when_changed(root, told)


def die_at_size(count: int) -> None:
    """Kill the process when a file would grow beyond so many bytes, in the midst of it."""
    speak_freely()
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, count))


def speak_freely() -> None:
    """Let another process write down what this one says, before its files are limited.

    It goes on a word from this one: helpers, such as the server that forks workers, hold the
    pipe too, and end only after this process.
    """
    ours, theirs = os.pipe()
    writer = os.fork()
    if writer == 0:
        os.close(theirs)
        while (said := os.read(ours, 1 << 16)) and not said.endswith(THE_END):
            os.write(1, said)
        os.write(1, said.removesuffix(THE_END))
        os._exit(0)

    def end() -> None:
        sys.stdout.flush()
        os.write(2, THE_END)
        os.waitpid(writer, 0)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)

    os.dup2(theirs, 1)
    os.dup2(theirs, 2)
    os.close(ours)
    os.close(theirs)
    AT_END.append(end)


def clock_back(_: Any) -> None:
    """Set the clock back by an hour each time that somebody looks."""
    start = time.time()
    looks = iter(range(1_000_000_000))
    time.time = lambda: start - 3600 * next(looks)


def work_in(folder: str) -> None:
    """Work in a folder, with the key of a study there."""
    os.chdir(folder)
    os.environ["ECHOCLI_KEY_FILE"] = os.path.join(folder, "key")


def rival(note: str) -> None:
    """Let a second process do the same at the same time.

    Args:
        note: File that shall hold the exit code of the second.
    """
    pid = os.fork()
    if pid == 0:
        return

    def wait() -> None:
        _, status = os.waitpid(pid, 0)
        with open(note, "w") as file:
            file.write(str(os.waitstatus_to_exitcode(status)))

    AT_END.append(wait)
