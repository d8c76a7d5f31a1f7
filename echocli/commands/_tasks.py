"""The one shape of every task's commands: predict, which is the default, fit and evaluate."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from inspect import Parameter, Signature, cleandoc, signature
from typing import Any, Concatenate, ParamSpec, TypeVar, get_type_hints

import typer

from echocli.commands._desks import Desk

Own = ParamSpec("Own")
AnyDesk = TypeVar("AnyDesk", bound=Desk)

GROUP_PAGE = """{what}

* `echocli {task} fit`: fit a head on the labelled clips of this study

* `echocli {task} videos/`: predict, which is what happens when no subcommand is typed

* `echocli {task} evaluate`: figures on labelled patients that the head has never seen
"""


def task_app(task: str, what: str) -> typer.Typer:
    """Return the group of a task's commands.

    Args:
        task: Its name.
        what: One sentence for its help page.
    """
    return typer.Typer(help=GROUP_PAGE.format(what=what, task=task), no_args_is_help=False)


def subcommand(
    app: typer.Typer, task: str, desk: type[AnyDesk]
) -> Callable[[Callable[Concatenate[AnyDesk, Own], None]], Callable[..., None]]:
    """Return a decorator that makes a function a subcommand of a task.

    The function gets the desk and the options of its own. Its docstring is a line, then
    examples, then text; those of the desk join them.

    Args:
        app: The task's group.
        task: The task's name.
        desk: What the subcommand shares with those of other tasks.
    """

    def decorate(
        function: Callable[Concatenate[AnyDesk, Own], None],
    ) -> Callable[..., None]:
        shared = _options(desk)
        names = {option.name for option in shared}
        _desk, *own = signature(function, eval_str=True).parameters.values()

        @functools.wraps(function)
        def command(**typed: Any) -> None:  # noqa: ANN401
            at = desk(task=task, **{name: typed.pop(name) for name in names})
            function(at, **typed)  # type: ignore[call-arg]

        # What every command has comes last.
        special = [option for option in shared if option.name not in Desk.__annotations__]
        general = [option for option in shared if option.name in Desk.__annotations__]
        options = [
            option.replace(kind=Parameter.KEYWORD_ONLY) for option in (*special, *own, *general)
        ]
        command.__signature__ = Signature(options)  # type: ignore[attr-defined]
        command.__annotations__ = {option.name: option.annotation for option in options}
        command.__doc__ = page(function.__doc__ or "", desk.PAGE.format(task=task))
        app.command()(command)
        return command

    return decorate


def _options(desk: type[Desk]) -> tuple[Parameter, ...]:
    """Return the fields of a desk that are options."""
    hints = get_type_hints(desk, include_extras=True)
    return tuple(
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in fields(desk)
        if field.name != "task"
    )


def page(own: str, shared: str) -> str:
    """Return a help page: the first line, examples, then text, a task's own before the shared.

    Args:
        own: Docstring of a subcommand.
        shared: What all tasks say of it.
    """
    title, *rest = cleandoc(own).split("\n\n")
    common = cleandoc(shared).split("\n\n")
    # The shared examples are the plainest.
    examples = [part for part in (*common, *rest) if part.startswith("*")]
    text = [part for part in (*rest, *common) if part and not part.startswith("*")]
    return "\n\n".join((title, *examples, *text))


def trained_with(config: Mapping[str, Any]) -> str:
    """Return how long an encoder was trained with its head, as words to add; nothing if not."""
    trained = config.get("end_to_end")
    if trained is None:
        return ""
    what = "all weights from scratch" if trained["scratch"] else "blocks of the encoder"
    return f", with {what}; best after {trained['step']} of {trained['steps']} steps"


def probe_words(config: Mapping[str, Any]) -> str:
    """Return how a probe was fitted, as words to add."""
    if "alpha" in config:
        return f", penalty {config['alpha']:g}"
    if config["probe"] != "attentive":
        return trained_with(config)
    views = (
        f", looking at {' and '.join(config['views'])} together" if "views" in config else ""
    )
    return f"{views}, best after {config['step']} of {config['steps']} steps"


def how_many(counts: Mapping[str, Any]) -> str:
    """Return of how many clips, or studies, and patients something is."""
    units = (
        f"{counts['studies']} study(ies)"
        if "studies" in counts
        else f"{counts['clips']} clip(s)"
    )
    return f"{units} of {counts['patients']} patient(s)"


def judged_on(counts: Mapping[str, Any]) -> str:
    """Return on how many clips, or studies, and patients figures were found."""
    return how_many(counts) + doubt(counts["patients"])


def doubt(patients: int) -> str:
    """Return what is to be said beside figures of so many patients, if they are few."""
    from echocli.reports.sections_end import FEWEST

    return ", too few to quote" if patients < FEWEST else ""


def part_columns(counts: Mapping[str, Any]) -> list[str]:
    """Return the header over ``part_rows``, and over rows of all that were counted."""
    unit = "studies" if "studies" in counts else "clips"
    return ["part", "figure", "value", "low", "high", unit, "patients", "note"]


def figure_rows(
    groups: Mapping[str, Mapping[str, Mapping[str, float | None]]], digits: int
) -> Iterator[list[str]]:
    """Yield group, name, value, low and high of every figure."""
    for group, figures in groups.items():
        for name, figure in figures.items():
            bounds = (number(figure[key], digits) for key in ("value", "low", "high"))
            yield [group, name, *bounds]


def part_rows(
    subgroups: Mapping[str, Sequence[Mapping[str, Any]]], digits: int, *, empty: str = ""
) -> Iterator[list[str]]:
    """Yield part, figure, value, low, high, clips, patients and note of every part.

    Args:
        subgroups: For each column its parts, as ``subgroup_figures`` has them.
        digits: Shown of a figure.
        empty: What stands for a figure where a part has none; it is shown all the same.
    """
    for column, parts in subgroups.items():
        for part in parts:
            counts = [str(part["clips"]), str(part["patients"])]
            note = "fewer than 30 patients" if part["small"] else ""
            found = [row[1:] for row in figure_rows({"": part["metrics"] or {}}, digits)]
            for figure in found or [[empty, "-", "-", "-"]]:
                yield [f"{column} {part['name']}", *figure, *counts, note]


def number(value: float | None, digits: int) -> str:
    """Return a figure as text; - where there is none."""
    return "-" if value is None else f"{value:z.{digits}f}"


def bounded(figure: Mapping[str, float | None], digits: int) -> str:
    """Return a figure with its interval, or with the word that it has none."""
    value, low, high = (number(figure[key], digits) for key in ("value", "low", "high"))
    if figure["value"] is None:
        return value
    return f"{value} (no interval)" if figure["low"] is None else f"{value} ({low} to {high})"


def listed(words: str | None) -> list[str] | None:
    """Return the words between commas, if any were typed."""
    return None if words is None else [word.strip() for word in words.split(",")]
