"""Every task's commands have one shape: the same options, meaning the same, told in one way."""

from __future__ import annotations

import importlib
from inspect import Parameter, signature
from types import ModuleType

import pytest

from echocli.commands._desks import EvaluateDesk, FitDesk, PredictDesk
from echocli.commands._tasks import page, subcommand, task_app
from echocli.main import command_names

DESKS = {"fit": FitDesk, "predict": PredictDesk, "evaluate": EvaluateDesk}


def groups() -> dict[str, ModuleType]:
    """Return the command files that are task groups: those with something to fit."""
    modules = {
        name: importlib.import_module(f"echocli.commands.{name.replace('-', '_')}")
        for name in command_names()
    }
    return {name: m for name, m in modules.items() if hasattr(m, "app") and hasattr(m, "fit")}


def options_of(function: object) -> dict[str, Parameter]:
    assert callable(function)
    return dict(signature(function).parameters)


TASKS = groups()


def test_the_groups_are_found() -> None:
    assert set(TASKS) == {"lvef", "segment", "classify"}


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("verb", DESKS)
def test_a_task_has_every_shared_option_with_the_shared_default(name: str, verb: str) -> None:
    app = task_app("made", "Made.")

    @subcommand(app, "made", DESKS[verb])
    def bare(desk: object) -> None:
        """Do nothing."""

    ours, shared = options_of(getattr(TASKS[name], verb)), options_of(bare)
    assert len(shared) > 5
    for option, parameter in shared.items():
        assert ours[option].default == parameter.default, option
        # Typer's options know no equality.
        told = [vars(o.annotation.__metadata__[0]) for o in (ours[option], parameter)]
        assert told[0] == told[1], option


@pytest.mark.parametrize("name", TASKS)
def test_a_group_has_the_three_commands_and_no_more(name: str) -> None:
    commands = [c.name or c.callback.__name__ for c in TASKS[name].app.registered_commands]
    assert commands == ["fit", "predict", "evaluate"]


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("verb", DESKS)
def test_a_help_page_names_its_own_task_in_every_example(name: str, verb: str) -> None:
    text = getattr(TASKS[name], verb).__doc__
    examples = [part for part in text.split("\n\n") if part.startswith("*")]
    assert len(examples) >= 2
    assert all(f"`echocli {name}" in example for example in examples)
    assert "{" not in text


def test_a_page_has_its_line_its_examples_and_its_text_in_this_order() -> None:
    own = """Do it.

    * `b`: own

    Own text
    in two lines.
    """
    shared = """
    * `a`: shared

    Shared text.
    """
    assert page(own, shared) == (
        "Do it.\n\n* `a`: shared\n\n* `b`: own\n\nOwn text\nin two lines.\n\nShared text."
    )


def test_a_command_gets_its_desk_and_its_own_options() -> None:
    app, seen = task_app("made", "Made."), []

    @subcommand(app, "made", FitDesk)
    def fit(desk: FitDesk, depth: int = 1) -> None:
        """Fit."""
        seen.append((desk, depth))

    typed = {key: option.default for key, option in options_of(fit).items()}
    fit(**{**typed, "seed": 7, "depth": 3})
    assert seen == [(FitDesk(task="made", seed=7), 3)]
