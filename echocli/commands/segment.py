"""``echocli segment``: fit, predict, evaluate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echocli.commands._options import (
    DeviceOption,
    JsonOption,
    ModelOption,
    NullOption,
    OverwriteOption,
    PrecisionOption,
    QuietOption,
    SeedOption,
)
from echocli.commands._paths import STANDARD, expand
from echocli.console import Console
from echocli.errors import ExitCode, UsageError
from echocli.study import Study

if TYPE_CHECKING:
    from echocli.api.segment import SegmentPredictions

SCHEMA = "echocli.segment/1"

app = typer.Typer(
    help="""Segmentation by a linear head on frozen tokens.

    * `echocli segment fit`: fit a head on the clips of this study that have masks

    * `echocli segment videos/`: label every frame, which is what happens without a subcommand

    * `echocli segment evaluate`: Dice and Jaccard on labelled patients
    """,
    no_args_is_help=False,
)

VideosArgument = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[VIDEOS]...",
        help="Clip set, files, folders, or - for a list on standard input; clips if left out.",
    ),
]
HeadOption = Annotated[
    Path | None, typer.Option("--head", help="Fitted head; heads/segment if left out.")
]


@app.command()
def fit(
    clips: Annotated[
        Path | None, typer.Argument(help="Clip set with masks; clips if left out.")
    ] = None,
    model: ModelOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the head; heads/segment if left out."),
    ] = None,
    windows: Annotated[int, typer.Option("--windows", help="Windows a labelled frame.")] = 2,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Steps of fitting the linear layer.")
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fit a linear head that draws cavity, muscle and atrium from frozen tokens.

    * `echocli segment fit`: clips of this study that have masks, with its newest model

    * `echocli segment fit camus-clips --model runs/vjepa -o heads/camus`: named

    Fits on training patients only and tells the overlap (Dice) on test patients, beside what
    the mean of all training masks would reach.
    """
    from echocli.api import segment as api
    from echocli.checkpoint import find_model
    from echocli.models.tasks.segmentation import SegmentationConfig

    if windows < 1 or (steps is not None and steps < 1):
        raise UsageError("--windows and --steps must be 1 or more.", "Leave them out.")
    study = Study()
    console = Console(quiet=quiet or as_json, as_json=as_json)
    head = SegmentationConfig() if steps is None else SegmentationConfig(steps=steps)
    result = api.fit(
        clips or study.clips,
        find_model(model, study),
        out or study.heads / "segment",
        config=api.SegmentConfig(windows=windows, head=head, seed=seed),
        overwrite=overwrite,
        device=device,
        precision=precision,
        reporter=console,
    )
    if as_json:
        shown = {k: v for k, v in result.config.items() if k not in ("task", "patients")}
        document = {**shown, "head_folder": str(result.head), "left_out": result.left_out}
        console.document(SCHEMA, document)
    else:
        n = result.config["n"]["train"]
        console.say(f"fitted on {n['frames']} labelled frame(s) of {n['patients']} patient(s)")
        console.say(f"test: {_in_words(result.config)}")
        console.result(str(result.head))
    if result.left_out:
        raise typer.Exit(ExitCode.PARTIAL)


@app.command()
def predict(
    videos: VideosArgument = None,
    head: HeadOption = None,
    model: ModelOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="New folder; predictions/segment if left out."),
    ] = None,
    overlays: Annotated[
        int, typer.Option("--overlays", min=0, help="Pictures to draw at most.")
    ] = 12,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    null: NullOption = False,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Label every frame, and measure areas, volumes and ejection fraction.

    * `echocli segment`: all clips of this study

    * `echocli segment videos/ -o masks`: files read in place

    Writes a clip set of masks, areas.csv, volumes.csv, segment.json and overlays/. Volumes
    are single-plane Simpson; millilitres only where the scale is known.
    """
    from echocli.api import segment as api

    if out == STANDARD:
        raise UsageError(
            "`echocli segment` writes a folder, not a stream.",
            "Name a folder with -o, or add --json for the volumes on standard output.",
        )
    study = Study()
    console = Console(quiet=quiet or as_json, as_json=as_json)
    result = api.predict(
        expand(videos, null=null) if videos else study.clips,
        head or study.heads / "segment",
        out or study.predictions / "segment",
        model=None if model is None else _found(model, study),
        overlays=overlays,
        overwrite=overwrite,
        device=device,
        precision=precision,
        reporter=console,
    )
    if as_json:
        console.document(SCHEMA, _document(result))
    else:
        console.say(f"test: {_in_words(result.summary)}")
        console.result(str(result.out))
    if result.left_out:
        raise typer.Exit(ExitCode.PARTIAL)


@app.command()
def evaluate(
    videos: VideosArgument = None,
    head: HeadOption = None,
    model: ModelOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    null: NullOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Tell the overlap with known masks of patients that the head has never seen.

    * `echocli segment evaluate`: the test patients of this study

    * `echocli segment evaluate other/clips --json`: another hospital's masks

    A structure that neither map holds is skipped; one that only one map holds counts 0.
    Intervals are 95 % by bootstrap over patients.
    """
    from echocli.api import segment as api

    study = Study()
    console = Console(quiet=quiet or as_json, as_json=as_json)
    result = api.evaluate(
        expand(videos, null=null) if videos else study.clips,
        head or study.heads / "segment",
        model=None if model is None else _found(model, study),
        device=device,
        precision=precision,
        reporter=console,
    )
    if as_json:
        console.document(SCHEMA, result.summary)
        return
    test = result.summary["test"]
    console.table(
        f"{test['frames']} labelled frame(s) of {test['patients']} patient(s)",
        ["figure", "structure", "value", "low", "high"],
        _rows(result.summary),
    )


def _found(model: Path, study: Study) -> Path:
    from echocli.checkpoint import find_model

    return find_model(model, study)


def _document(result: "SegmentPredictions") -> dict[str, Any]:
    import json

    rows = json.loads(result.volumes.to_json(orient="records"))
    return {**result.summary, "out": str(result.out), "rows": rows}


def _in_words(summary: dict[str, Any]) -> str:
    if summary["metrics"] is None:
        return "no masks of a patient that the head has not seen"
    ours, mean = summary["metrics"]["dice"], summary["mean_map"]["dice"]
    parts = [
        f"{name} {_number(figure['value'])} (mean map {_number(mean[name]['value'])})"
        for name, figure in ours.items()
        if figure["value"] is not None
    ]
    test = summary["test"]
    return (
        f"Dice {', '.join(parts)}; {test['frames']} frame(s) of {test['patients']} patient(s)"
    )


def _rows(summary: dict[str, Any]) -> list[list[object]]:
    groups = {**summary["metrics"], "dice of the mean map": summary["mean_map"]["dice"]}
    return [
        [kind, name, *(_number(figure[key]) for key in ("value", "low", "high"))]
        for kind, figures in groups.items()
        for name, figure in figures.items()
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
