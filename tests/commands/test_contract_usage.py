"""Wrong usage: two lines, exit code 2, the nearest name, and nothing that names a patient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from contract import Heard, all_commands, call

from echocli.main import command_names, insert_default_subcommand

COMMANDS = all_commands()
NAME = "QUILLFEATHER^ZEPHYRINE"


def refused(*words: str) -> Heard:
    """Call a command that must refuse its usage."""
    heard = call(Path(), *words)
    assert heard.code == 2, heard.err
    assert heard.out == ""
    lines = heard.err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("error: ")
    assert lines[0].endswith(".")
    assert lines[1].startswith("  fix: ")
    return heard


@pytest.mark.parametrize("name", COMMANDS)
def test_a_mistyped_option_names_the_nearest(name: str) -> None:
    option = max((max(p.opts, key=len) for p in COMMANDS[name].params), key=len)
    if not option.startswith("--"):
        option = "--help"
    typed = option[:-1] + "x"
    assert f"Did you mean {option}?" in refused(*name.split(), typed).err


@pytest.mark.parametrize("name", [*command_names(), *(n for n in COMMANDS if " " in n)])
def test_a_mistyped_command_names_the_nearest(name: str) -> None:
    *group, last = name.split()
    if group and group[0] in ("lvef", "segment", "classify"):
        return  # `echocli lvef fitt` reads the clips of a folder named fitt
    heard = refused(*group, last[:-1] + "q")
    assert f"Did you mean {last}?" in heard.err or "Did you mean" in heard.err


def words_with_choices() -> list[tuple[str, str, str]]:
    """Return command, option and word of every option that takes one of a few words."""
    found: list[tuple[str, str, str]] = []
    for name, command in COMMANDS.items():
        for param in command.params:
            if param.param_type_name == "option" and "|" in (param.metavar or ""):
                found += [(name, max(param.opts, key=len), w) for w in param.metavar.split("|")]
    return found


@pytest.mark.parametrize(("name", "option", "word"), words_with_choices())
def test_a_mistyped_word_names_the_nearest(name: str, option: str, word: str) -> None:
    heard = refused(*name.split(), option, word + "x")
    assert f"Did you mean {word}?" in heard.err


def test_words_with_choices_are_found() -> None:
    found = {(name, option) for name, option, _ in words_with_choices()}
    assert {("embed", "--per"), ("score", "--distance"), ("lvef fit", "--probe")} <= found
    assert len(found) > 20


@pytest.mark.parametrize(
    ("words", "nearest"),
    [
        (["config", "show", "--preset", "smal"], "small"),
        (["config", "show", "--method", "discover"], "discovr"),
        (["config", "show", "--set", "optim.lrr=1"], "optim.lr"),
        (["schema", "scores-1"], "score-1"),
    ],
)
def test_a_mistyped_name_names_the_nearest(words: list[str], nearest: str) -> None:
    assert f"Did you mean {nearest}?" in refused(*words).err


def completed(monkeypatch: pytest.MonkeyPatch, line: str) -> set[str]:
    """Return what bash would complete at the end of a line."""
    monkeypatch.setenv("_ECHOCLI_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
    return set(call(Path()).out.split())


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("echocli ", {"embed", "score", "shell-init"}),
        ("echocli lvef ", {"fit", "predict", "evaluate"}),
        ("echocli embed --ov", {"--overwrite"}),
        ("echocli pretrain --preset ", {"tiny", "small", "laptop"}),
        ("echocli pretrain --method ", {"discovr", "vjepa", "videomae"}),
        ("echocli lvef fit --from-scratch s", {"small"}),
        ("echocli embed --device c", {"cpu", "cuda"}),
        ("echocli shell-init ", {"bash", "zsh", "fish"}),
    ],
)
def test_values_are_completed(
    line: str, some: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = completed(monkeypatch, line)
    assert some <= found
    assert all(word.startswith(line.rpartition(" ")[2]) for word in found)


@pytest.mark.parametrize(("name", "option", "word"), words_with_choices()[::3])
def test_every_word_of_an_option_is_completed(
    name: str, option: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert word in completed(monkeypatch, f"echocli {name} {option} {word[:1]}")


@pytest.mark.parametrize("typed", ["predikt", "fitt", "evaluat"])
def test_a_mistyped_subcommand_is_no_file(
    typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = call(tmp_path, "lvef", typed)
    assert heard.code == 2
    assert f"No such command '{typed}'" in heard.err
    assert "Did you mean" in heard.err
    monkeypatch.chdir(tmp_path)
    (tmp_path / typed).mkdir()
    assert insert_default_subcommand(["lvef", typed]) == ["lvef", "predict", typed]


def test_wrong_usage_names_the_page_of_its_command(tmp_path: Path) -> None:
    heard = call(tmp_path, "lvef", "fit", "-o")
    assert heard.code == 2
    assert "`echocli lvef fit -h`" in heard.err


def test_two_scores_at_once_are_refused_as_such(tmp_path: Path) -> None:
    heard = call(tmp_path, "score", "--anomaly", "--vote")
    assert heard.code == 2
    assert "two scores" in heard.err


def test_what_was_typed_is_not_repeated_where_it_may_be_a_file() -> None:
    for words in (["verify", "a", f"/archive/{NAME}.dcm"], [f"/archive/{NAME}.dcm"]):
        assert NAME not in refused(*words).err


@pytest.mark.parametrize("words", [[], ["models"], ["config"]])
def test_a_group_alone_shows_its_help(words: list[str]) -> None:
    heard: Any = call(Path(), *words)
    assert heard.code == 2
    assert "Examples:" in heard.err
    assert "error:" not in heard.err


@pytest.mark.parametrize(
    ("words", "own"),
    [
        ("export", "clips"),
        ("score --anomaly", "embeddings.parquet"),
        ("classify", "heads/classify"),
    ],
)
def test_what_a_study_lacks_is_named_and_what_was_typed_is_not(
    words: str, own: str, tmp_path: Path
) -> None:
    missing = call(tmp_path, *words.split())
    assert missing.code == 3
    assert f": {own} " in missing.err
    option = "--head" if words == "classify" else "--"
    typed = call(tmp_path, *words.split(), option, "Doe^Jane.dcm")
    assert typed.code == 3
    assert "what was named" in typed.err
    assert "Doe" not in typed.err
