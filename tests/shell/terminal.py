"""A shell on a pseudo-terminal, as a user sits before it."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import struct
import sys
import termios
import time
from fcntl import ioctl
from pathlib import Path
from types import TracebackType

import pytest

ARGV = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}

FAKE = """#!/bin/sh
if [ -n "$_ECHOCLI_COMPLETE" ]; then {python} -m echocli; touch {log}.done; exit; fi
line=ran
for word in "$@"; do line="$line <$word>"; done
printf '%s\\n' "$line" >> {log}
if [ "$2" = - ]; then cat; fi
printf 'row of %s\\n' "$1"
exit "${{FAKE_STATUS:-0}}"
"""
"""Stands for echocli: keeps its words, copies standard input on `-`, prints one row."""


class Terminal:
    """Types lines at a real shell and waits until each is done.

    Args:
        shell: bash, zsh or fish; the test is skipped if this machine lacks it.
        folder: The working directory; also holds the fake echocli and its log.
    """

    def __init__(self, shell: str, folder: Path) -> None:
        if shutil.which(shell) is None:
            pytest.skip(f"{shell} is not installed here")
        self.shell = shell
        self.folder = folder
        self.log = folder / "ran.log"
        self._count = 0
        bin_folder = folder / "bin"
        bin_folder.mkdir(exist_ok=True)
        fake = bin_folder / "echocli"
        fake.write_text(FAKE.format(python=sys.executable, log=self.log))
        fake.chmod(0o755)
        environment = {
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "HOME": str(folder),
            "TERM": "xterm" if shell == "zsh" else "dumb",
            "LANG": "C.UTF-8",
            "PS1": "$ ",
        }
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:  # pragma: no cover
            os.chdir(folder)
            os.execvpe(ARGV[shell][0], ARGV[shell], environment)
        ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        time.sleep(0.3)
        self.type("")

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.close(self._terminal)
        os.waitpid(self._pid, 0)

    def type(self, line: str, *, seconds: float = 30.0) -> str:
        """Type a line and return what the terminal showed until it was done."""
        self._count += 1
        # What is typed differs from what is printed, so the echo of the keys does not match.
        mark = f"@{self._count}@".encode()
        os.write(self._terminal, f"{line}\n".encode())
        os.write(self._terminal, f"printf '@%s@\\n' {self._count}\n".encode())
        seen = self.read_until(mark, seconds)
        return seen.decode(errors="replace")

    def complete(self, keys: str, *, by_echocli: bool) -> None:
        """Press keys that end in TAB and wait until the shell has completed the word."""
        answered = self.log.with_name(f"{self.log.name}.done")
        answered.unlink(missing_ok=True)
        os.write(self._terminal, f"{keys}\t".encode())
        end = time.monotonic() + 20
        while by_echocli and not answered.exists():
            assert time.monotonic() < end, f"{self.shell} did not ask echocli"
            time.sleep(0.05)
        time.sleep(0.5)

    def read_until(self, mark: bytes, seconds: float) -> bytes:
        """Return what the terminal shows up to a mark; fail if it does not come in time."""
        seen = b""
        end = time.monotonic() + seconds
        while mark not in seen:
            ready, _, _ = select.select([self._terminal], [], [], 0.1)
            if ready:
                seen += os.read(self._terminal, 65536)
            assert time.monotonic() < end, f"{self.shell} did not answer: {seen!r}"
        return seen

    def runs(self) -> list[str]:
        """Return what the fake echocli was started with since the last call."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return lines
