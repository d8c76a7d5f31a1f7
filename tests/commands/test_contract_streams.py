"""Pipes: rows to standard output, lists from standard input, readers that go away."""

from __future__ import annotations

import csv
import errno
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from contract import CALLS, LIGHT, SETTINGS, Hear, all_commands, call, words_of

from echocli.main import run

STREAMING = sorted(
    name
    for name in CALLS
    if name.partition(" --")[0] in all_commands()
    and any(
        "--out" in param.opts and " - " in f" {param.help.replace(';', ' ')} "
        for param in all_commands()[name.partition(" --")[0]].params
    )
    and name not in ("segment predict", "pretrain --plan", "pretrain --preset list")
)
LISTS = {
    "inspect": ("--workers", "1", "-o", "-"),
    "preprocess": ("-o", "listed/clips", "--size", "32", "--workers", "1"),
    "embed": ("-o", "-", "--windows", "1", *LIGHT),
    "lvef predict": ("-o", "-", *LIGHT),
    "classify predict": ("-o", "-", *LIGHT),
    "segment predict": ("-o", "listed/masks", "--overlays", "0", *LIGHT),
    "lvef evaluate": LIGHT,
    "classify evaluate": LIGHT,
    "segment evaluate": LIGHT,
    "pretrain": ("--plan", "--method", "vjepa", "--steps", "2", *LIGHT, *SETTINGS),
}
"""Commands that read a list of paths, and what else they are told."""


def streamed(name: str) -> list[str]:
    """Return the words of a call whose rows go to standard output."""
    words = words_of(name, "unwritten")
    if "-o" in words:
        del words[words.index("-o") : words.index("-o") + 2]
    return [*words, "-o", "-"]


def test_the_streaming_commands_are_found() -> None:
    assert {"embed", "inspect", "score", "score --vote", "lvef predict"} <= set(STREAMING)
    assert {"classify predict", "robustness"} <= set(STREAMING)


@pytest.mark.parametrize("name", STREAMING)
def test_a_dash_streams_rows_and_writes_nothing(name: str, hear: Hear, study: Path) -> None:
    heard = call(study, *streamed(name))
    assert heard.code == 0, heard.err
    lines = [line for line in heard.out.splitlines() if not line.startswith("# echocli")]
    rows = list(csv.reader(lines))
    assert len(rows) > 1
    assert {len(row) for row in rows} == {len(rows[0])}
    assert not (study / "unwritten").exists()
    assert not (study / "-").exists()


GONE = BrokenPipeError(errno.EPIPE, "Broken pipe")


class Closing(io.TextIOWrapper):
    """Standard output whose reader goes away after the first line."""

    def __init__(self) -> None:
        self.nowhere = os.open(os.devnull, os.O_WRONLY)
        self.lines = 0
        super().__init__(io.BytesIO(), write_through=True)

    def fileno(self) -> int:
        return self.nowhere

    def write(self, text: str) -> int:
        self.lines += text.count("\n")
        if self.lines > 1:
            raise GONE
        return len(text)

    def flush(self) -> None:
        if self.lines > 1:
            raise GONE


@pytest.mark.parametrize("words", [["-h"], ["schema"], *map(streamed, STREAMING)], ids=str)
def test_a_reader_that_goes_away_ends_a_command_quietly(
    words: list[str],
    hear: Hear,
    study: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(study)
    monkeypatch.setattr(sys, "stdout", Closing())
    with pytest.raises(SystemExit) as end:
        run(words)
    assert not end.value.code
    assert "error" not in capsys.readouterr().err


def test_a_real_pipe_that_closes_is_quiet() -> None:
    line = f"'{sys.executable}' -m echocli schema --json | head -c 1 > /dev/null"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_commands_that_read_lists_are_found() -> None:
    def reads(command: Any) -> bool:
        return any("--null" in param.opts for param in command.params)

    assert {name for name, command in all_commands().items() if reads(command)} == set(LISTS)


@pytest.mark.parametrize(
    ("name", "null"), [*((name, False) for name in LISTS), ("inspect", True)]
)
def test_a_list_on_standard_input_is_read(
    name: str, null: bool, hear: Hear, study: Path
) -> None:
    source = "dicom" if name in ("inspect", "preprocess") else "clips"
    words = [*name.split(), *LISTS[name]]
    typed = f"{source}\0" if null else f"{source}\n"
    listed = call(study, *words, "-", *(["-0"] if null else []), typed=typed)
    assert listed.code == 0, listed.err
    if "--plan" in words:  # seconds are measured anew
        assert "clips used\t11, of 11" in listed.out
        assert not re.search(r"from .*\t.*\b(method|preset)\b", listed.out)  # told above
    elif any("listed" in word for word in words):
        assert (study / listed.out.strip()).is_dir()
    else:
        assert listed.out == call(study, *words, source).out


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
@pytest.mark.parametrize(
    ("words", "code"), [("schema >&-", 0), ("schema <&- >&- 2>&-", 0), ("embd 2>&-", 2)]
)
def test_what_a_shell_has_closed_is_quiet(words: str, code: int, tmp_path: Path) -> None:
    line = f"exec '{sys.executable}' -m echocli {words}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, cwd=tmp_path, timeout=60)
    assert (done.returncode, done.stderr) == (code, b"")
