"""What the commands of a task have in common: fit a head, predict with it, evaluate it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echocli.commands._paths import expand
from echocli.console import Console
from echocli.errors import ExitCode, UsageError
from echocli.study import Study

if TYPE_CHECKING:
    from echocli.api._finetune import TuneConfig
    from echocli.api._heads import HeadFit
    from echocli.models.finetune import FitConfig

VideosArgument = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[VIDEOS]...",
        help="Clip set, files, folders, or - for a list on standard input; clips if left out.",
    ),
]
HeadOption = Annotated[
    Path | None,
    typer.Option("--head", help="Fitted head; that of this study if left out."),
]
HeadOutOption = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Folder of the head; in heads/ if left out."),
]
ScratchOption = Annotated[
    str | None,
    typer.Option(
        "--from-scratch",
        metavar="PRESET",
        help="Train that preset's encoder from random weights, on the labels alone.",
    ),
]
BlocksOption = Annotated[
    int | None,
    typer.Option(
        "--finetune-blocks",
        metavar="N",
        help="Train the model's last N blocks with the head; frozen if left out.",
    ),
]
EpochsOption = Annotated[
    int | None,
    typer.Option("--epochs", min=1, help="Looks at every label, where training is in steps."),
]
RateOption = Annotated[
    float | None, typer.Option("--lr", help="Learning rate, where training is in steps.")
]
TUNED = "--from-scratch or --finetune-blocks"


@dataclass(frozen=True)
class Desk:
    """A command of a task at work: the study it is in, the terminal, and how results look."""

    task: str
    quiet: bool
    as_json: bool
    study: Study = field(default_factory=Study)

    @property
    def console(self) -> Console:
        """The terminal."""
        return Console(quiet=self.quiet or self.as_json, as_json=self.as_json)

    @property
    def schema(self) -> str:
        """Of the JSON documents."""
        return f"echocli.{self.task}/1"

    @property
    def head(self) -> Path:
        """Where the head of this study stands."""
        return self.study.heads / self.task

    def videos(self, named: Sequence[Path] | None, *, null: bool) -> Path | list[Path]:
        """Return what is to be read."""
        return expand(named, null=null) if named else self.study.clips

    def model(self, named: Path | None) -> Path | None:
        """Return the encoder that was named, if any; a head remembers its own."""
        return None if named is None else self.encoder(named, None)

    def encoder(self, named: Path | None, scratch: str | None) -> Path | None:
        """Return the encoder to fit on: what was named, else the newest; none from scratch.

        Raises:
            UsageError: If a model is named and not used.
        """
        from echocli.checkpoint import find_model

        if scratch is None:
            return find_model(named, self.study)
        if named is not None:
            raise UsageError("--from-scratch uses no model.", "Leave --model out.")
        return None

    def fitted(self, result: HeadFit, said: Sequence[str], name: str = "head") -> None:
        """Tell what was fitted, and leave with the right exit code.

        Args:
            result: The head.
            said: Sentences for people.
            name: Key of the head's folder in the JSON document.
        """
        if self.as_json:
            hidden = ("task", "patients")
            shown = {key: value for key, value in result.config.items() if key not in hidden}
            shown |= {name: str(result.head), "left_out": result.left_out}
            self.console.document(self.schema, shown)
        else:
            for sentence in said:
                self.console.say(sentence)
            self.console.result(str(result.head))
        leave(result.left_out)

    def evaluated(
        self,
        summary: Mapping[str, Any],
        title: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[object]],
    ) -> None:
        """Show figures: as a table, or as they are."""
        if self.as_json:
            self.console.document(self.schema, dict(summary))
        else:
            self.console.table(title, list(columns), [list(row) for row in rows])


def leave(left_out: Sequence[object]) -> None:
    """End the command with the exit code that says whether anything was left out."""
    if left_out:
        raise typer.Exit(ExitCode.PARTIAL)


def tune_of(
    scratch: str | None, blocks: int | None, epochs: int | None, rate: float | None
) -> TuneConfig | None:
    """Return how the encoder is trained, or nothing if it stays frozen."""
    if scratch is None and blocks is None:
        return None
    from echocli.api._finetune import TuneConfig, scratch_fit, tuning_fit

    fit = scratch_fit() if scratch is not None else tuning_fit()
    return TuneConfig(scratch=scratch, blocks=blocks, fit=changed(fit, epochs, rate))


def changed(fit: FitConfig, epochs: int | None, rate: float | None) -> FitConfig:
    """Return how labels are learnt, with the epochs and the rate that were asked for."""
    if epochs is not None:
        fit = replace(fit, epochs=epochs, least_steps=1)
    return fit if rate is None else replace(fit, lr=rate)


def refuse_unused(epochs: int | None, rate: float | None, *, instead: str) -> None:
    """Refuse settings of a training in steps where there is none.

    Args:
        epochs: As typed.
        rate: As typed.
        instead: Options that would use them.

    Raises:
        UsageError: If one was typed.
    """
    if epochs is not None or rate is not None:
        raise UsageError(
            "Nothing is trained in steps here that --epochs or --lr could change.",
            f"Leave them out, or add {instead}.",
        )


def trained_with(config: Mapping[str, Any]) -> str:
    """Return how long an encoder was trained with its head, as words to add; nothing if not."""
    trained = config.get("end_to_end")
    if trained is None:
        return ""
    what = "an encoder from scratch" if trained["scratch"] else "blocks of the encoder"
    return f", with {what}; best after {trained['step']} of {trained['steps']} steps"


def figure_rows(
    groups: Mapping[str, Mapping[str, Mapping[str, float | None]]], digits: int
) -> Iterator[list[str]]:
    """Yield group, name, value, low and high of every figure."""
    for group, figures in groups.items():
        for name, figure in figures.items():
            bounds = (number(figure[key], digits) for key in ("value", "low", "high"))
            yield [group, name, *bounds]


def number(value: float | None, digits: int) -> str:
    """Return a figure as text; - where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"
