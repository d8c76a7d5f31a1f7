"""``echocli lvef``: fit, predict, evaluate."""

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
    changed,
    figure_rows,
    leave,
    number,
    refuse_unused,
    trained_with,
    tune_of,
)

if TYPE_CHECKING:
    from echocli.api.lvef import LvefPredictions

TASK = "lvef"
DIGITS = 2

app = typer.Typer(
    help="""Ejection fraction by a probe on frozen features, or by an encoder trained for it.

    * `echocli lvef fit`: fit a head on the labelled clips of this study

    * `echocli lvef videos/`: predict, which is what happens when no subcommand is typed

    * `echocli lvef evaluate`: error and agreement on labelled patients
    """,
    no_args_is_help=False,
)

LabelsOption = Annotated[
    Path | None, typer.Option("--labels", help="CSV of labels, for files that are no clip set.")
]


@app.command()
def fit(
    clips: Annotated[
        Path | None,
        typer.Argument(help="Clip set with the label ef_percent; clips if left out."),
    ] = None,
    model: ModelOption = None,
    out: HeadOutOption = None,
    probe: Annotated[
        str, typer.Option("--probe", help="ridge (linear) or attentive (looks at all tokens).")
    ] = "ridge",
    depth: Annotated[
        int,
        typer.Option("--depth", min=1, help="Blocks of an attentive probe; V-JEPA 2 has 4."),
    ] = 1,
    scratch: ScratchOption = None,
    blocks: BlocksOption = None,
    epochs: EpochsOption = None,
    rate: RateOption = None,
    level: Annotated[
        float, typer.Option("--level", help="Coverage of the prediction intervals.")
    ] = 0.9,
    windows: Annotated[int, typer.Option("--windows", min=1, help="Windows a clip.")] = 3,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fit a probe for the ejection fraction on frozen features, or train the encoder with it.

    * `echocli lvef fit`: clips of this study, with its newest model

    * `echocli lvef fit clips --model runs/vjepa -o heads/vjepa-ef`: named

    * `echocli lvef fit --probe attentive`: on all tokens; minutes instead of seconds

    * `echocli lvef fit --finetune-blocks 3`: the last blocks learn too

    * `echocli lvef fit --from-scratch tiny`: what the labels alone teach, the baseline

    Fits on training patients only, sets the prediction interval on validation patients, and
    tells error and agreement on test patients, beside what predicting the mean would reach.
    An encoder that was trained stands in the head's folder.
    """
    from echocli.api import lvef as api
    from echocli.models.finetune import FitConfig

    tune = tune_of(scratch, blocks, epochs, rate)
    if probe != "attentive" and tune is None:
        refuse_unused(epochs, rate, instead=f"--probe attentive, {TUNED}")
    desk = Desk(TASK, quiet, as_json)
    result = api.fit(
        clips or desk.study.clips,
        desk.encoder(model, scratch),
        out or desk.head,
        config=api.LvefConfig(
            probe=probe,
            depth=depth,
            attentive=changed(FitConfig(), epochs, rate),
            tune=tune,
            level=level,
            windows=windows,
            seed=seed,
        ),
        overwrite=overwrite,
        device=device,
        precision=precision,
        reporter=desk.console,
    )
    n = result.config["n"]["train"]
    fitted = f"fitted on {n['clips']} clip(s) of {n['patients']} patient(s)"
    said = [f"{fitted}{_how(result.config)}", f"test: {_in_words(result.config)}"]
    desk.fitted(result, said)


@app.command()
def predict(
    videos: VideosArgument = None,
    head: HeadOption = None,
    model: ModelOption = None,
    labels: LabelsOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="CSV, or - for standard output; predictions/lvef.csv if left out.",
        ),
    ] = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    null: NullOption = False,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Predict the ejection fraction of clips, with prediction intervals.

    * `echocli lvef`: all clips of this study

    * `echocli lvef videos/ -o -`: files read in place, rows on standard output

    * `echocli lvef clip.dcm --head heads/vjepa-ef`: with another head
    """
    from echocli.api import lvef as api

    desk = Desk(TASK, quiet, as_json)
    to_stdout = out == STANDARD or (as_json and out is None)
    result = api.predict(
        desk.videos(videos, null=null),
        head or desk.head,
        None if to_stdout else out or desk.study.predictions / "lvef.csv",
        model=desk.model(model),
        labels=labels,
        overwrite=overwrite,
        device=device,
        precision=precision,
        reporter=desk.console,
    )
    _show(desk, result, to_stdout=to_stdout)
    leave(result.left_out)


@app.command()
def evaluate(
    videos: VideosArgument = None,
    head: HeadOption = None,
    model: ModelOption = None,
    labels: LabelsOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    null: NullOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Tell error and agreement on labelled patients that the head has never seen.

    * `echocli lvef evaluate`: the test patients of this study

    * `echocli lvef evaluate other/clips --json`: another hospital's clips

    Intervals are 95 % by bootstrap over patients. Between two readers the ejection fraction
    of one patient varies by 7 to 14 points.
    """
    from echocli.api import lvef as api

    desk = Desk(TASK, quiet, as_json)
    summary = api.evaluate(
        desk.videos(videos, null=null),
        head or desk.head,
        model=desk.model(model),
        labels=labels,
        device=device,
        precision=precision,
        reporter=desk.console,
    ).summary
    test = summary["test"]
    groups = {
        "": summary["metrics"],
        "predict the mean: ": summary["predict_the_mean"],
        "auroc ef ": summary["auroc"],
    }
    desk.evaluated(
        summary,
        f"{test['clips']} clip(s) of {test['patients']} patient(s)",
        ["figure", "value", "low", "high"],
        [[group + name, *rest] for group, name, *rest in figure_rows(groups, DIGITS)],
    )


def _show(desk: Desk, result: "LvefPredictions", *, to_stdout: bool) -> None:
    import json
    import sys

    if desk.as_json:
        rows = json.loads(result.table.to_json(orient="records"))
        out = None if result.out is None else str(result.out)
        desk.console.document(desk.schema, {**result.summary, "out": out, "rows": rows})
    elif to_stdout:
        result.table.to_csv(sys.stdout, index=False)
        sys.stdout.flush()
    else:
        desk.console.say(f"test: {_in_words(result.summary)}")
        desk.console.result(str(result.out))


def _how(config: dict[str, Any]) -> str:
    if "alpha" in config:
        return f", penalty {config['alpha']:g}"
    if config["probe"] == "attentive":
        return f", best after {config['step']} of {config['steps']} steps"
    return trained_with(config)


def _in_words(summary: dict[str, Any]) -> str:
    if summary["metrics"] is None:
        return "no labelled clip of a patient that the head has not seen"
    mae, mean = summary["metrics"]["mae"], summary["predict_the_mean"]["mae"]
    value, low, high = (number(mae[key], DIGITS) for key in ("value", "low", "high"))
    test = summary["test"]
    return (
        f"mean absolute error {value} points ({low} to {high}), predicting the mean "
        f"{number(mean['value'], DIGITS)}; {test['clips']} clip(s) of {test['patients']} "
        "patient(s)"
    )
