"""Each command is a thin shell over one typed function, which has the same choices."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator
from inspect import Parameter, signature
from typing import Any, get_args, get_type_hints

import pytest
from contract import CALLS, all_commands

TERMINAL = {"as_json", "json", "quiet", "null", "help"}
"""Options of how a result is shown, or names are typed."""
FUNCTIONS = {
    "config show": "config.config",
    "lvef evaluate --from-masks": "lvef.evaluate_masks",
    "lvef predict --from-masks": "lvef.from_masks",
    "models list": "models.known_models",
    "models info": "models.describe",
    "models import": "models.import_model",
    "pretrain --plan": "pretrain.plan",
    "pretrain --preset list": None,  # read from the files of the presets
    "score --vote": "vote.vote",
    "shell-init": None,  # code for a shell, of no use to Python
}
"""Where the function has another name than the command; the usual is ``lvef.fit``."""
RENAMED = {
    "rate": "lr",
    "label_column": "label_columns",
    "assume_fps": "assume_rate_hz",
    "time_limit": "seconds",
    "memory_limit": "memory_bytes",
    "clip_id": "ids",
    "perturb": "perturbations",
    **{f"models {name} form": "format" for name in ("info", "import", "verify")},
}
"""What an option, of one command or of all, is called in the API."""
REASONS = {
    "anomaly": "chooses the function",
    "vote": "chooses the function",
    "plan": "chooses the function",
    "only_changed": "a method of the result",
    "bundle": "a function of the result",
    "doctor overwrite": "of the bundle",
    "lvef evaluate from_masks": "chooses the function",
    "lvef predict from_masks": "chooses the function",
    **dict.fromkeys(
        ("linkage", "inspect out", "inspect overwrite"),
        "sinks of inspect_each, which takes files one by one",
    ),
    **dict.fromkeys(
        ("slurm", "submit", "nodes", "gpus", "hours", "sbatch"),
        "where the command runs, not what it does; see echocli/slurm.py",
    ),
}
"""Why an option is in no function."""


def function_of(name: str) -> Any:
    """Return the function that a command is a shell over, if it is over one."""
    words = name.partition(" --")[0].split()
    told = FUNCTIONS.get(name, f"{words[0]}.{words[-1]}")
    if told is None:
        return None
    module, _, function = told.partition(".")
    return getattr(importlib.import_module(f"echocli.api.{module}"), function)


def choices_of(function: Any) -> set[str]:
    """Return the names of all that can be chosen: parameters, and fields of those that have."""
    hints = get_type_hints(function)
    names = set(signature(function).parameters)
    return names | {found for name in names for found in _fields(hints.get(name))}


def _fields(hint: Any) -> Iterator[str]:
    for kind in (hint, *get_args(hint)):
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            inner = get_type_hints(kind)
            for field in dataclasses.fields(kind):
                yield field.name
                yield from _fields(inner[field.name])


@pytest.mark.parametrize("name", sorted(n for n in CALLS if FUNCTIONS.get(n, "") is not None))
def test_a_command_is_a_shell_over_one_typed_function(name: str) -> None:
    function = function_of(name)
    hints = get_type_hints(function)
    assert set(signature(function).parameters) < set(hints), "a parameter without a type"
    result = hints["return"]
    inner = [kind for kind in (result, *get_args(result)) if dataclasses.is_dataclass(kind)]
    assert inner, f"{name}: {result} is no dataclass"
    reporter = signature(function).parameters.get("reporter")
    assert reporter is None or reporter.default is not Parameter.empty


@pytest.mark.parametrize("name", sorted(all_commands()))
def test_each_option_is_a_choice_of_the_api(name: str) -> None:
    if FUNCTIONS.get(name, "") is None:
        return
    served = [n for n in CALLS if n.partition(" --")[0] == name]
    choices = set().union(
        *(choices_of(function_of(n)) for n in served if FUNCTIONS.get(n, "") is not None)
    )
    for option in options_of(name) - TERMINAL:
        if not {option, f"{name} {option}"} & {*REASONS}:
            called = RENAMED.get(f"{name} {option}", RENAMED.get(option, option))
            assert called in choices, f"{name}: {option}"


def options_of(name: str) -> set[str]:
    """Return the names of a command's options, as its function has them."""
    params = all_commands()[name].params
    return {param.name for param in params if param.param_type_name == "option"}


def test_no_exception_is_left_over() -> None:
    names = {option for name in all_commands() for option in options_of(name)}
    names |= {f"{name} {option}" for name in all_commands() for option in options_of(name)}
    assert {*RENAMED, *REASONS} <= names
    assert {*FUNCTIONS} <= {*CALLS}
