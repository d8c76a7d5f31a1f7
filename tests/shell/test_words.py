"""The one-sentence rule of the `echo` words, on pseudo-terminals in real shells."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from terminal import Terminal

ARGUMENTS = [
    "", "-n", "-e", "-E", "-ne", "-nE", "-s", "--", "-", "--help", "-h", "hello", "a b", "*",
    r"\t", r"\n", r"a\\b", r"\0101", r"\x41", r"\c", r"\e[0m", "$HOME", "!", "#", "~", "~/x",
    "embed", "score", "Embed", "embeds", "embed ", " embed", "report.html",
]  # fmt: skip


def in_shells(cases: list[tuple[str, str]]) -> pytest.MarkDecorator:
    """Run a test with each line in each shell that has its syntax."""
    flat = [(shell, line) for shells, line in cases for shell in shells.split()]
    return pytest.mark.parametrize(("terminal", "line"), flat, indirect=["terminal"])


def quote(word: str) -> str:
    return f"'{word}'"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("echo pretrain", ["ran <pretrain>"]),
        ("echo embed videos/", ["ran <embed> <videos/>"]),
        ("echo score --anomaly", ["ran <score> <--anomaly>"]),
        ("echo segment", ["ran <segment>"]),
        ("echo shell-init bash", ["ran <shell-init> <bash>"]),
        ("echo embed 'a b' '' -- '*'", ["ran <embed> <a b> <> <--> <*>"]),
        ("echo report > shown.txt", ["ran <report>"]),
        ("echo lvef fit; echo no", ["ran <lvef> <fit>"]),
    ],
)
def test_a_command_typed_at_the_prompt_runs(
    terminal: Terminal, line: str, expected: list[str]
) -> None:
    terminal.type(line)
    assert terminal.runs() == expected


def test_a_pipeline_of_words_carries_the_rows(terminal: Terminal) -> None:
    terminal.type("echo embed videos/ -o - | echo score - --anomaly | sort -r > rows.txt")
    assert sorted(terminal.runs()) == [
        "ran <embed> <videos/> <-o> <->",
        "ran <score> <-> <--anomaly>",
    ]
    assert (terminal.folder / "rows.txt").read_text() == "row of score\nrow of embed\n"


def test_a_pipeline_may_begin_with_another_program(terminal: Terminal) -> None:
    terminal.type("printf 'one.dcm\\n' | echo embed - | cat > rows.txt")
    assert terminal.runs() == ["ran <embed> <->"]
    assert (terminal.folder / "rows.txt").read_text() == "one.dcm\nrow of embed\n"


@in_shells(
    [
        ("bash zsh", "(echo embed)"),
        ("bash zsh", "x=$(echo embed)"),
        ("bash zsh", "cat <(echo embed) > out.txt"),
        ("zsh", "cat =(echo embed) > out.txt"),
        ("bash zsh", "{ echo embed; }"),
        ("bash zsh", "for i in 1; do echo embed; done"),
        ("bash zsh", "if true; then echo embed; fi"),
        ("bash zsh fish", "true && echo embed"),
        ("bash zsh", "! echo embed"),
        ("bash zsh fish", "time echo embed"),
        ("bash zsh fish", "eval 'echo embed'"),
        ("bash zsh", "echo embed & wait"),
        ("fish", "set x (echo embed)"),
        ("fish", "begin; echo embed; end"),
        ("fish", "for i in 1; echo embed; end"),
        ("fish", "cat (echo embed | psub) > out.txt"),
    ]
)
def test_a_command_inside_a_typed_construction_runs(terminal: Terminal, line: str) -> None:
    terminal.type(line)
    assert terminal.runs() == ["ran <embed>"]


@in_shells(
    [
        ("bash zsh fish", "builtin echo embed > out.txt"),
        ("bash zsh fish", "printf embed | xargs echo > out.txt"),
        ("bash zsh fish", "sh -c 'echo embed' > out.txt"),
        ("bash zsh fish", "env echo embed > out.txt"),
        ("bash zsh fish", "command echo embed > out.txt"),
        ("bash zsh fish", "source ./sourced > out.txt"),
        ("bash zsh fish", "SHELL_OF_TEST ./sourced > out.txt"),
        ("bash zsh fish", "SHELL_OF_TEST -c 'source ./words; echo embed' > out.txt"),
        ("bash zsh fish", "SHELL_OF_TEST -ic 'source ./words; echo embed' > out.txt"),
        ("bash zsh fish", "SHELL_OF_TEST -c 'source ./words; source ./sourced' > out.txt"),
        ("bash zsh", "f() { echo embed; }; f > out.txt"),
        ("bash zsh", "f() { echo embed; }; (f | cat) > out.txt"),
        ("bash zsh", "f() { echo embed; }; printf '%s\\n' $(f) > out.txt"),
        ("fish", "function f; echo embed; end; f > out.txt"),
        ("fish", "function f; echo embed; end; f | cat > out.txt"),
        ("fish", "function f; echo embed; end; printf '%s\\n' (f) > out.txt"),
        ("fish", "function g --on-event e; echo embed > out.txt; end; emit e"),
    ]
)
def test_a_command_that_was_not_typed_is_printed(terminal: Terminal, line: str) -> None:
    (terminal.folder / "sourced").write_text("echo embed\n")
    out = terminal.folder / "out.txt"
    out.unlink(missing_ok=True)
    terminal.type(line.replace("SHELL_OF_TEST", terminal.shell))
    assert out.read_text() == "embed\n"
    assert terminal.runs() == []


def test_two_dashes_before_the_word_always_print(terminal: Terminal) -> None:
    terminal.type("echo -- embed > ours.txt")
    terminal.type("builtin echo -- embed > builtin.txt")
    assert terminal.runs() == []
    ours = (terminal.folder / "ours.txt").read_text()
    assert ours == (terminal.folder / "builtin.txt").read_text()
    assert "embed" in ours


def test_other_words_are_printed_byte_for_byte(terminal: Terminal) -> None:
    draw = random.Random(7)
    lines = [[], *([word] for word in ARGUMENTS)]
    lines += [draw.choices(ARGUMENTS, k=draw.randint(1, 4)) for _ in range(150)]
    # In a sourced file even our own words print, so that every line can be compared.
    for name, verb in (("ours", "echo"), ("builtin", "builtin echo")):
        script = "".join(f"{verb} {' '.join(map(quote, words))}\n" for words in lines)
        (terminal.folder / name).write_text(script)
        terminal.type(f"source ./{name} > {name}.txt")
    ours = (terminal.folder / "ours.txt").read_bytes()
    assert len(ours) > 1000
    assert ours == (terminal.folder / "builtin.txt").read_bytes()
    assert terminal.runs() == []


@pytest.mark.parametrize(
    "words", [[], ["hello"], ["-n", "x"], ["Embed"], ["embed "], ["", "embed"]]
)
def test_other_words_typed_at_the_prompt_are_printed(
    terminal: Terminal, words: list[str]
) -> None:
    typed = " ".join(map(quote, words))
    terminal.type(f"echo {typed} > ours.txt")
    terminal.type(f"builtin echo {typed} > builtin.txt")
    ours = (terminal.folder / "ours.txt").read_bytes()
    assert ours == (terminal.folder / "builtin.txt").read_bytes()
    assert terminal.runs() == []


def test_the_exit_status_is_that_of_echocli(terminal: Terminal) -> None:
    status = "$status" if terminal.shell == "fish" else "$?"
    terminal.type("export FAKE_STATUS=3")
    terminal.type(f"echo embed; builtin echo {status} > s.txt")
    terminal.type("export FAKE_STATUS=0")
    assert (terminal.folder / "s.txt").read_text() == "3\n"
    assert terminal.runs() == ["ran <embed>"]


@pytest.mark.skipif(not Path("/proc/loadavg").exists(), reason="needs Linux's /proc")
def test_an_ordinary_echo_starts_no_process(terminal: Terminal) -> None:
    loop = {"fish": "for i in (seq 2000); echo hello $i; end > many.txt"}
    before = last_process_id()
    terminal.type(
        loop.get(terminal.shell, "for i in {1..2000}; do echo hello $i; done > many.txt")
    )
    assert len((terminal.folder / "many.txt").read_text().splitlines()) == 2000
    # Other programs of the machine start processes too, but not 2000 in that moment.
    assert last_process_id() - before < 1000


def last_process_id() -> int:
    return int(Path("/proc/loadavg").read_text().split()[-1])
