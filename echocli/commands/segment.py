"""``echocli segment``: fit, predict, evaluate."""

from pathlib import Path
from typing import Annotated, Any

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
from echocli.commands._paths import STANDARD
from echocli.commands._tasks import (
    TUNED,
    BlocksOption,
    Desk,
    EpochsOption,
    HeadOption,
    HeadOutOption,
    RateOption,
    ScratchOption,
    VideosArgument,
    figure_rows,
    leave,
    number,
    refuse_unused,
    trained_with,
    tune_of,
)
from echocli.errors import UsageError

TASK = "segment"
DIGITS = 3

app = typer.Typer(
    help="""Segmentation by a linear head on frozen tokens, or with an encoder trained for it.

    * `echocli segment fit`: fit a head on the clips of this study that have masks

    * `echocli segment videos/`: label every frame, which is what happens without a subcommand

    * `echocli segment evaluate`: Dice and Jaccard on labelled patients
    """,
    no_args_is_help=False,
)


@app.command()
def fit(
    clips: Annotated[
        Path | None, typer.Argument(help="Clip set with masks; clips if left out.")
    ] = None,
    model: ModelOption = None,
    out: HeadOutOption = None,
    windows: Annotated[
        int, typer.Option("--windows", min=1, help="Windows a labelled frame.")
    ] = 2,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, help="Steps of fitting a head on frozen tokens."),
    ] = None,
    scratch: ScratchOption = None,
    blocks: BlocksOption = None,
    epochs: EpochsOption = None,
    rate: RateOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fit a linear head that draws cavity, muscle and atrium, on tokens frozen or in training.

    * `echocli segment fit`: clips of this study that have masks, with its newest model

    * `echocli segment fit camus-clips --model runs/vjepa -o heads/camus`: named

    * `echocli segment fit --finetune-blocks 3`: the last blocks of the encoder learn too

    * `echocli segment fit --from-scratch tiny`: what the masks alone teach, the baseline

    Fits on training patients only and tells the overlap (Dice) on test patients, beside what
    the mean of all training masks would reach. An encoder that was trained stands in the
    head's folder.
    """
    from echocli.api import segment as api
    from echocli.models.tasks.segmentation import SegmentationConfig

    tune = tune_of(scratch, blocks, epochs, rate)
    if tune is None:
        refuse_unused(epochs, rate, instead=TUNED)
    elif steps is not None:
        raise UsageError("--steps is of a head on frozen tokens.", "Use --epochs instead.")
    head = SegmentationConfig() if steps is None else SegmentationConfig(steps=steps)
    desk = Desk(TASK, quiet, as_json)
    result = api.fit(
        clips or desk.study.clips,
        desk.encoder(model, scratch),
        out or desk.head,
        config=api.SegmentConfig(windows=windows, head=head, tune=tune, seed=seed),
        overwrite=overwrite,
        device=device,
        precision=precision,
        reporter=desk.console,
    )
    n = result.config["n"]["train"]
    fitted = f"fitted on {n['frames']} labelled frame(s) of {n['patients']} patient(s)"
    said = [f"{fitted}{trained_with(result.config)}", f"test: {_in_words(result.config)}"]
    desk.fitted(result, said, name="head_folder")


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
    import json

    from echocli.api import segment as api

    if out == STANDARD:
        raise UsageError(
            "`echocli segment` writes a folder, not a stream.",
            "Name a folder with -o, or add --json for the volumes on standard output.",
        )
    desk = Desk(TASK, quiet, as_json)
    result = api.predict(
        desk.videos(videos, null=null),
        head or desk.head,
        out or desk.study.predictions / "segment",
        model=desk.model(model),
        overlays=overlays,
        overwrite=overwrite,
        device=device,
        precision=precision,
        reporter=desk.console,
    )
    if as_json:
        rows = json.loads(result.volumes.to_json(orient="records"))
        document = {**result.summary, "out": str(result.out), "rows": rows}
        desk.console.document(desk.schema, document)
    else:
        desk.console.say(f"test: {_in_words(result.summary)}")
        desk.console.result(str(result.out))
    leave(result.left_out)


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

    desk = Desk(TASK, quiet, as_json)
    summary = api.evaluate(
        desk.videos(videos, null=null),
        head or desk.head,
        model=desk.model(model),
        device=device,
        precision=precision,
        reporter=desk.console,
    ).summary
    test = summary["test"]
    groups = {**summary["metrics"], "dice of the mean map": summary["mean_map"]["dice"]}
    desk.evaluated(
        summary,
        f"{test['frames']} labelled frame(s) of {test['patients']} patient(s)",
        ["figure", "structure", "value", "low", "high"],
        list(figure_rows(groups, DIGITS)),
    )


def _in_words(summary: dict[str, Any]) -> str:
    if summary["metrics"] is None:
        return "no masks of a patient that the head has not seen"
    ours, mean = summary["metrics"]["dice"], summary["mean_map"]["dice"]
    parts = [
        f"{name} {number(figure['value'], DIGITS)} "
        f"(mean map {number(mean[name]['value'], DIGITS)})"
        for name, figure in ours.items()
        if figure["value"] is not None
    ]
    test = summary["test"]
    return (
        f"Dice {', '.join(parts)}; {test['frames']} frame(s) of {test['patients']} patient(s)"
    )
