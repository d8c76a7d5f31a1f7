"""Settings come in layers, each value says from which, and what is shown can be used again."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from contract import all_commands, call

SHOW = ("config", "show")


@pytest.fixture
def layered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file of settings, beside some in the environment."""
    (tmp_path / "mine.toml").write_text("[optim]\nlr = 2e-4\nbatch = 4\nsteps = 9\n")
    monkeypatch.setenv("ECHOCLI_OPTIM__BATCH", "5")
    monkeypatch.setenv("ECHOCLI_OPTIM__LR", "3e-4")
    return tmp_path


def test_the_later_layer_wins_and_each_value_says_where_it_comes_from(layered: Path) -> None:
    words = ("--preset", "small", "--config", "mine.toml", "--set", "optim.lr=4e-4")
    shown = call(layered, *SHOW, *words, "--json").document
    settings, sources = shown["settings"], shown["sources"]
    told = {key: (settings["optim"][key], sources[f"optim.{key}"]) for key in ("lr", "batch")}
    assert told == {"lr": (4e-4, "--set"), "batch": (5, "the environment")}
    assert (settings["optim"]["steps"], sources["optim.steps"]) == (9, "--config")
    assert (settings["preset"], sources["preset"]) == ("small", "an option")
    assert sources["encoder.dim"] == "preset small"
    assert (settings["seed"], sources["seed"]) == (0, "default")
    assert (settings["method"], sources["method"]) == ("discovr", "default")


@pytest.mark.parametrize("manner", [[], ["-q"], ["--json"], ["--changed"]])
@pytest.mark.parametrize("preset", ["tiny", "ellis-vitl-12b"])
def test_what_is_shown_can_be_given_again(
    manner: list[str], preset: str, tmp_path: Path
) -> None:
    name = "shown.json" if "--json" in manner else "shown.toml"
    first = call(tmp_path, *SHOW, "--preset", preset, "--set", "optim.lr=7e-4", *manner)
    assert first.code == 0, first.err
    (tmp_path / name).write_text(first.out)
    again = call(tmp_path, *SHOW, "--config", name, "--json").document["settings"]
    words = ("--preset", preset, "--set", "optim.lr=7e-4", "--json")
    assert again == call(tmp_path, *SHOW, *words).document["settings"]
    assert again["encoder"]["recompute"] == "auto"  # still left to the machine


def test_a_source_stands_behind_each_value_and_not_when_quiet(tmp_path: Path) -> None:
    told, quiet = call(tmp_path, *SHOW).out, call(tmp_path, *SHOW, "-q").out
    assert tomllib.loads(told) == tomllib.loads(quiet)
    lines = [line for line in told.splitlines() if " = " in line]
    assert len(lines) > 60
    assert all("  # " in line for line in lines)
    assert "  # " not in quiet


def test_defaults_can_be_left_out(tmp_path: Path) -> None:
    sources = call(tmp_path, *SHOW, "--changed", "--json").document["sources"]
    assert sources
    assert "default" not in sources.values()


def test_a_run_tells_its_own_settings(study: Path, tmp_path: Path, hear: object) -> None:
    assert callable(hear)
    hear("pretrain")
    config = study / "made" / "pretrain" / "run" / "config.json"
    shown = call(tmp_path, *SHOW, "--config", str(config), "--json").document["settings"]
    saved = json.loads(config.read_text())["settings"]
    assert shown["optim"] == saved["optim"]
    assert shown["data"] == saved["data"]


def test_only_pretraining_has_layers_of_settings() -> None:
    layered = {"--config", "--set"}
    found = {
        name
        for name, command in all_commands().items()
        if layered & {option for param in command.params for option in param.opts}
    }
    assert found == {"config show", "pretrain"}
