"""Records what commands print on a terminal of 100 columns, for the tutorial and the screens.

    python docs/record.py tutorial FOLDER    # runs the console blocks of docs/tutorial.md there
    python docs/record.py screens STUDY      # runs SCREENS in a study of `echocli demo`

A console block is lines `$ command`, each with what it printed, which is replaced; nothing is
run where a block's first line begins with `$ #`.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

HERE = Path(__file__).parent
ROWS, COLUMNS = 50, 100
MOST_LINES = 75
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
PART = re.compile(r"\x1b\[([\d;?]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)")
FONTS = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)
"""They would be fetched from the network."""
SCREENS = {
    "help": "echocli --help",
    "wrong-word": "echocli pretrian",
    "doctor": "echocli doctor",
    "inspect": "echocli inspect other",
    "preprocess": "echocli preprocess . other -o again/clips",
    "plan": "echocli pretrain --plan",
    "pretrain": "echocli pretrain --method vjepa --steps 20 -o runs/screen",
    "embed": "echocli embed -o again.parquet",
    "score": "echocli score --anomaly --false-positive-rate 0.2 -o again.csv",
    "lvef-fit": "echocli lvef fit -o heads/again",
    "lvef": "echocli lvef -o again-lvef.csv",
    "lvef-evaluate": "echocli lvef evaluate",
    "segment-fit": "echocli segment fit -o heads/masks",
    "segment-evaluate": "echocli segment evaluate",
    "classify-evaluate": "echocli classify evaluate",
    "robustness": "echocli robustness lvef --perturb shadow,narrow -o worse",
    "report": "echocli report -o again.html",
    "export": "echocli export clips -o videos",
    "verify": "echocli verify .",
    "models": "echocli models list",
    "shell-init": "echocli shell-init bash | head -20",
    "config": "echocli config show | head -30",
    "schema": "echocli schema | head -12",
    "demo": "echocli demo -o small --patients 15 --steps 1",
}
INTRODUCTION = """# Screens

What commands print on a terminal of 100 columns, in the study that `echocli demo` makes:

    python docs/record.py screens echo-demo

"""


def screen_of(line: str, folder: Path) -> list[str]:
    """Run a line of shell on a terminal and return the lines that it leaves on the screen."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    shell = subprocess.Popen(
        ["bash", "-c", line],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError:  # how Linux says that the other side is closed
            break
        if not part:
            break
        parts.append(part)
    shell.wait()
    os.close(ours)
    return settled(b"".join(parts).decode())


def settled(output: str) -> list[str]:
    """Return the lines that are left when bars have been drawn over and taken away."""
    lines, row, over = [""], 0, False
    for match in PART.finditer(output):
        numbers, letter, back, down, text = match.groups()
        if letter == "A":
            row = max(0, row - int(numbers or 1))
        elif letter == "K":
            lines[row] = ""
        elif letter == "m":
            lines[row] = match.group() if over else lines[row] + match.group()
            over = False
        elif back:
            over = True
        elif down:
            row, over = row + 1, False
            lines += [""] * (row + 1 - len(lines))
        elif text:
            lines[row] = text if over else lines[row] + text
            over = False
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def plain(lines: list[str]) -> list[str]:
    """Return lines without colours."""
    return [Text.from_ansi(line).plain.rstrip() for line in lines]


def picture(title: str, lines: list[str]) -> str:
    """Return lines as SVG."""
    if len(lines) > MOST_LINES:
        left_out = f"... {len(lines) - MOST_LINES + 10} lines ..."
        lines = [*lines[: MOST_LINES - 20], left_out, *lines[-10:]]
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), legacy_windows=False)
    for line in (f"\x1b[1m$ {title}\x1b[0m", *lines):
        shown = Text.from_ansi(line)
        for part in shown.divide(range(COLUMNS, len(shown), COLUMNS)):
            console.print(part, soft_wrap=True)
    frame = FONTS.sub("", CONSOLE_SVG_FORMAT).replace("Fira Code", "DejaVu Sans Mono, Menlo")
    name = re.sub(r"\W+", "-", title)
    return console.export_svg(title="", theme=MONOKAI, code_format=frame, unique_id=name)


def record_tutorial(page: Path, folder: Path, only: Sequence[str]) -> None:
    """Run the console blocks of a page, and put what they print under their commands."""
    numbers = count(1)

    def recorded(match: re.Match[str]) -> str:
        nonlocal folder
        number = str(next(numbers))
        if only and number not in only:
            return match[0]
        commands = [line[2:] for line in match[1].splitlines() if line.startswith("$ ")]
        if commands[0].startswith("#"):
            return match[0]
        lines = []
        for command in commands:
            lines.append(f"$ {command}")
            if command.startswith("cd "):
                folder = folder / command[3:]
                continue
            lines += plain(screen_of(command, folder))
        return "```console\n" + "\n".join(lines) + "\n```"

    text = page.read_text(encoding="utf-8")
    page.write_text(BLOCK.sub(recorded, text), encoding="utf-8")


def main(what: str, folder: Path, *only: str) -> None:
    """Record the tutorial, or the screens.

    Args:
        what: ``tutorial`` or ``screens``.
        folder: Where the commands run.
        only: Names of screens, or numbers of blocks from 1; all if left out.
    """
    if what == "tutorial":
        record_tutorial(HERE / "tutorial.md", folder, only)
        return
    (HERE / "screens").mkdir(exist_ok=True)
    for name in only or SCREENS:
        lines = screen_of(SCREENS[name], folder)
        (HERE / "screens" / f"{name}.svg").write_text(
            picture(SCREENS[name], lines), encoding="utf-8"
        )
    there = {n: line for n, line in SCREENS.items() if (HERE / f"screens/{n}.svg").is_file()}
    shown = "\n\n".join(f"## `{line}`\n\n![]({name}.svg)" for name, line in there.items())
    (HERE / "screens/README.md").write_text(INTRODUCTION + shown + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
