"""``echocli robustness``."""

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echocli.commands._options import (
    DeviceOption,
    JsonOption,
    ModelOption,
    OverwriteOption,
    PrecisionOption,
    QuietOption,
    SeedOption,
)
from echocli.commands._paths import STANDARD
from echocli.commands._rows import as_records, print_rows
from echocli.commands._tasks import bounded, listed
from echocli.console import Console
from echocli.errors import ExitCode, UsageError
from echocli.study import Study

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from echocli.api.robustness import RobustnessResult

SCHEMA = "echocli.robustness/1"
SCORE = "score"
DIGITS = 3
TURNED = (("by", "by"), ("low", "high"), ("high", "low"))
"""Whose negative is what, where worse is better."""


def command(
    task: Annotated[str, typer.Argument(help="lvef, segment, classify or score.")],
    clips: Annotated[
        Path | None,
        typer.Argument(metavar="[CLIPS]", help="Clip set with labels; clips if left out."),
    ] = None,
    head: Annotated[
        Path | None,
        typer.Option("--head", help="Fitted head; that of this study if left out."),
    ] = None,
    model: ModelOption = None,
    normal_rule: Annotated[
        str | None,
        typer.Option("--normal-rule", help="What is normal, for score: 'ef_percent>=55'."),
    ] = None,
    perturb: Annotated[
        str | None,
        typer.Option(
            "--perturb",
            metavar="A,B",
            help="attenuation, shadow, low_gain, high_gain, speckle, frame_rate, narrow; all "
            "if left out.",
        ),
    ] = None,
    strengths: Annotated[
        str, typer.Option("--strengths", metavar="A,B", help="How strong, above 0, at most 1.")
    ] = "0.25,0.5,1",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder, or - for rows; robustness/TASK if left out."),
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Repeat an evaluation on the same test clips with graded faults of the acquisition.

    * `echocli robustness lvef`: the head of this study, under every fault

    * `echocli robustness segment --perturb shadow,narrow --strengths 0.2,0.4`: some of them

    * `echocli robustness score --normal-rule 'ef_percent>=55'`: anomaly scores, with AUROC and
      the share of normal clips that are called

    Depth attenuation, a shadow, too little and too much gain, speckle, fewer frames a second, a
    narrower sector: each inside the sector only, the same for a clip whenever it is drawn.
    Writes robustness.csv (every figure, how much worse it is than without the fault, paired,
    95 % by bootstrap over patients), robustness.png, robustness.json, and faults.png, which
    shows what the faults look like.
    """
    from echocli.api.robustness import RobustnessConfig, robustness

    study = Study()
    console = Console(quiet=quiet or as_json, as_json=as_json)
    to_stdout = out == STANDARD or (as_json and out is None)
    config, some = RobustnessConfig(strengths=_numbers(strengths), seed=seed), listed(perturb)
    result = robustness(
        task,
        clips or study.clips,
        None if to_stdout else out or study.root / "robustness" / task,
        head=head or (None if task == SCORE else study.heads / task),
        model=model,
        normal_rule=normal_rule,
        config=config if some is None else replace(config, perturbations=tuple(some)),
        overwrite=overwrite,
        device=device,
        precision=precision,
        reporter=console,
    )
    if as_json:
        console.document(SCHEMA, _document(result))
    elif to_stdout:
        print_rows(result.table)
    else:
        _tell(console, result)
        console.result(str(result.out))
    if result.left_out:
        raise typer.Exit(ExitCode.PARTIAL)


def _numbers(words: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in words.split(","))
    except ValueError:
        raise UsageError(
            f"--strengths is {words}.", "Give numbers between commas: 0.25,0.5,1."
        ) from None


def _document(result: "RobustnessResult") -> dict[str, Any]:
    out = str(result.out) if result.out else None
    return {**result.summary, "out": out, "table": as_records(result.table)}


def _tell(console: Console, result: "RobustnessResult") -> None:
    """Say how much worse the strongest of every fault makes every figure."""
    table = result.table
    summary = result.summary
    console.say(f"{summary['rows']} row(s) of {summary['patients']} patient(s)")
    for row in table[table["strength"] == 0].to_dict("records"):
        console.say(f"{row['figure']} without a fault: {_figure(row, 'value', 'low', 'high')}")
    strongest = table[table["strength"] == table["strength"].max()]
    for row in strongest.to_dict("records"):
        name = f"{row['perturbation']} {row['strength']:g}"
        console.say(f"{row['figure']}, {name}: {_change(row)}")


def _change(row: "Mapping[Hashable, Any]") -> str:
    """Return how much worse, or better, a fault makes a figure."""
    if row["worse_by"] < 0:
        row = {**row, **{f"worse_{key}": -row[f"worse_{other}"] for key, other in TURNED}}
        return f"better by {_figure(row, 'worse_by', 'worse_low', 'worse_high')}"
    return f"worse by {_figure(row, 'worse_by', 'worse_low', 'worse_high')}"


def _figure(row: "Mapping[Hashable, Any]", *columns: str) -> str:
    values = (row[name] if math.isfinite(row[name]) else None for name in columns)
    return bounded(dict(zip(("value", "low", "high"), values, strict=True)), DIGITS)
