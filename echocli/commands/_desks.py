"""Where the commands of a task work: the options that all tasks share, and what they mean.

A desk is a command at work. Its fields are options of the command line, ``PAGE`` is what its
help page says for every task; ``_tasks.subcommand`` joins them to what is a task's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from echocli.commands._figures import Rows, show
from echocli.commands._options import (
    BlocksOption,
    DeviceOption,
    EpochsOption,
    JsonOption,
    LayerDecayOption,
    ModelOption,
    NullOption,
    OverwriteOption,
    PrecisionOption,
    QuietOption,
    RateOption,
    ScratchOption,
    SeedOption,
)
from echocli.commands._paths import STANDARD, expand
from echocli.commands._rows import as_records, print_rows
from echocli.console import Console
from echocli.errors import ExitCode, UsageError
from echocli.study import Study

if TYPE_CHECKING:
    import pandas as pd

    from echocli.api._finetune import TuneConfig
    from echocli.api._heads import HeadFit
    from echocli.models.finetune import FitConfig

TUNED = "--from-scratch or --finetune-blocks"


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A command of a task at work: what was typed, the study it is in, and the terminal."""

    VERB: ClassVar[str] = ""
    """What the command is called."""
    PAGE: ClassVar[str] = ""
    """Paragraphs of the help page that all tasks share; examples first."""

    task: str
    device: DeviceOption = "auto"
    precision: PrecisionOption = "auto"
    quiet: QuietOption = False
    as_json: JsonOption = False

    @property
    def study(self) -> Study:
        """The study folder."""
        return Study()

    @property
    def console(self) -> Console:
        """The terminal."""
        return Console(quiet=self.quiet or self.as_json, as_json=self.as_json)

    @property
    def place(self) -> dict[str, Any]:
        """Where to compute and whom to tell, as every function of a task's API takes it."""
        return {
            "device": self.device,
            "precision": self.precision,
            "reporter": self.console,
        }

    def document(self, payload: Mapping[str, Any], form: str | None = None) -> None:
        """Print a JSON document, in the form of the command or another."""
        self.console.document(f"echocli.{self.task}-{form or self.VERB}/1", dict(payload))


@dataclass(frozen=True, kw_only=True)
class FitDesk(Desk):
    """``fit``: a head is made."""

    VERB: ClassVar[str] = "fit"
    PAGE: ClassVar[str] = """
    * `echocli {task} fit`: clips of this study, with its newest model

    * `echocli {task} fit clips --model runs/vjepa -o heads/other`: named

    * `echocli {task} fit --finetune-blocks 3`: the last blocks of the encoder learn too

    * `echocli {task} fit --from-scratch tiny`: what the labels alone teach, the baseline

    Fits on training patients only, and tells its figures on test patients. An encoder that
    was trained stands in the head's folder.
    """

    clips: Annotated[
        Path | None, typer.Argument(help="Clip set with labels; clips if left out.")
    ] = None
    model: ModelOption = None
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the head; in heads/ if left out."),
    ] = None
    scratch: ScratchOption = None
    blocks: BlocksOption = None
    epochs: EpochsOption = None
    rate: RateOption = None
    layer_decay: LayerDecayOption = None
    seed: SeedOption = 0
    overwrite: OverwriteOption = False

    @property
    def source(self) -> Path:
        """The clip set to fit on."""
        return self.clips or self.study.clips

    @property
    def folder(self) -> Path:
        """Where the head shall stand."""
        return self.out or self.study.heads / self.task

    @property
    def wishes(self) -> dict[str, Any]:
        """What every ``fit`` of an API takes beside its own settings."""
        return {"overwrite": self.overwrite, **self.place}

    def encoder(self) -> Path | None:
        """Return the encoder to fit on: what was named, else the newest; none from scratch.

        Raises:
            UsageError: If a model is named and not used.
        """
        from echocli.checkpoint import find_model

        if self.scratch is None:
            return find_model(self.model, self.study)
        if self.model is not None:
            raise UsageError("--from-scratch uses no model.", "Leave --model out.")
        return None

    def tune(self) -> TuneConfig | None:
        """Return how the encoder is trained, or nothing if it stays frozen.

        Raises:
            UsageError: If it stays frozen and layers were to learn at their own rates.
        """
        if self.scratch is None and self.blocks is None:
            if self.layer_decay is not None:
                raise UsageError("--layer-decay is for a trained encoder.", f"Add {TUNED}.")
            return None
        from echocli.api._finetune import TuneConfig, scratch_fit, tuning_fit

        fit = scratch_fit() if self.scratch is not None else tuning_fit()
        if self.layer_decay is not None:
            fit = replace(fit, layer_decay=self.layer_decay)
        return TuneConfig(scratch=self.scratch, blocks=self.blocks, fit=self.changed(fit))

    def changed(self, fit: FitConfig) -> FitConfig:
        """Return how labels are learnt, with the epochs and the rate that were asked for."""
        if self.epochs is not None:
            fit = replace(fit, epochs=self.epochs, least_steps=1)
        return fit if self.rate is None else replace(fit, lr=self.rate)

    def refuse_unused(self, *, instead: str) -> None:
        """Refuse settings of a training in steps where there is none.

        Args:
            instead: Options that would use them.

        Raises:
            UsageError: If one was typed.
        """
        if self.epochs is not None or self.rate is not None:
            raise UsageError(
                "Nothing is trained in steps here that --epochs or --lr could change.",
                f"Leave them out, or add {instead}.",
            )

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
            self.document({**shown, name: str(result.head), "left_out": result.left_out})
        else:
            for sentence in said:
                self.console.say(sentence)
            self.console.result(str(result.head))
        leave(result.left_out)


@dataclass(frozen=True, kw_only=True)
class ReadDesk(Desk):
    """What ``predict`` and ``evaluate`` share: a head looks at clips."""

    videos: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[VIDEOS]...",
            help="Clip set, files, folders, or - for a list on standard input; clips if left "
            "out.",
        ),
    ] = None
    head: Annotated[
        Path | None,
        typer.Option("--head", help="Fitted head; that of this study if left out."),
    ] = None
    model: ModelOption = None
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help="CSV of labels, for files that are no clip set."),
    ] = None
    null: NullOption = False

    @property
    def source(self) -> Path | list[Path]:
        """What is to be read."""
        named = expand(self.videos or [self.study.clips], null=self.null)
        return named if self.videos else self.study.clips

    @property
    def head_folder(self) -> Path:
        """The head that looks."""
        return self.head or self.study.heads / self.task

    @property
    def wishes(self) -> dict[str, Any]:
        """What every ``predict`` and ``evaluate`` of an API takes beside its own settings."""
        from echocli.checkpoint import find_model

        # A head remembers its own encoder.
        named = None if self.model is None else find_model(self.model, self.study)
        return {"model": named, "labels": self.labels, **self.place}


@dataclass(frozen=True, kw_only=True)
class PredictDesk(ReadDesk):
    """``predict``: a result for every clip."""

    VERB: ClassVar[str] = "predict"
    PAGE: ClassVar[str] = """
    * `echocli {task}`: all clips of this study

    * `echocli {task} videos/ --json`: files read in place, the result as one document

    * `echocli {task} clip.dcm --head heads/other`: with another head
    """

    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Where to write, or - for rows; in predictions/ if left out."
        ),
    ] = None
    overwrite: OverwriteOption = False

    @property
    def to_stdout(self) -> bool:
        """Whether rows go to standard output and no file is written."""
        return self.out == STANDARD or (self.as_json and self.out is None)

    @property
    def csv(self) -> Path | None:
        """The table to write, if any."""
        return (
            None if self.to_stdout else self.out or self.study.predictions / f"{self.task}.csv"
        )

    def predicted(
        self,
        table: pd.DataFrame,
        summary: Mapping[str, Any],
        out: Path | None,
        said: Sequence[str],
        left_out: Sequence[object],
        form: str | None = None,
    ) -> None:
        """Show predictions and leave with the right exit code.

        Args:
            table: A row for each.
            summary: What stands beside them.
            out: Where they were written, if they were.
            said: Sentences for people.
            left_out: What got no result.
            form: Of the JSON document, if it is not that of every prediction.
        """
        if self.as_json:
            written = None if out is None else str(out)
            self.document({**summary, "out": written, "rows": as_records(table)}, form)
        elif out is None:
            print_rows(table)
        else:
            for sentence in said:
                self.console.say(sentence)
            self.console.result(str(out))
        leave(left_out)


@dataclass(frozen=True, kw_only=True)
class EvaluateDesk(ReadDesk):
    """``evaluate``: figures, nothing written."""

    VERB: ClassVar[str] = "evaluate"
    PAGE: ClassVar[str] = """
    * `echocli {task} evaluate`: the test patients of this study

    * `echocli {task} evaluate other/clips --json`: another hospital's clips

    Intervals are 95 % by bootstrap over patients.
    """

    def evaluated(
        self,
        summary: Mapping[str, Any],
        title: str,
        columns: Sequence[str],
        rows: Rows,
        parts: Rows = (),
        spare: Sequence[str] = (),
    ) -> None:
        """Show figures: as tables (see ``_figures.show``), or as they are."""
        if self.as_json:
            self.document(summary)
        else:
            show(self.console, title, columns, rows, parts, spare)


def leave(left_out: Sequence[object]) -> None:
    """End the command with the exit code that says whether anything was left out."""
    if left_out:
        raise typer.Exit(ExitCode.PARTIAL)
