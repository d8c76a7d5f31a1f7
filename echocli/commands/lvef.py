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
from echocli.commands._paths import STANDARD, expand
from echocli.console import Console
from echocli.errors import ExitCode
from echocli.study import Study

if TYPE_CHECKING:
    from echocli.api.lvef import LvefPredictions

SCHEMA = "echocli.lvef/1"

app = typer.Typer(
    help="""Ejection fraction by a probe on frozen features.

    * `echocli lvef fit`: fit a head on the labelled clips of this study

    * `echocli lvef videos/`: predict, which is what happens when no subcommand is typed

    * `echocli lvef evaluate`: error and agreement on labelled patients
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
    Path | None, typer.Option("--head", help="Fitted head; heads/lvef if left out.")
]
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
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the head; heads/lvef if left out."),
    ] = None,
    probe: Annotated[
        str, typer.Option("--probe", help="ridge (linear) or attentive (looks at all tokens).")
    ] = "ridge",
    depth: Annotated[
        int, typer.Option("--depth", help="Blocks of an attentive probe; V-JEPA 2 has 4.")
    ] = 1,
    level: Annotated[
        float, typer.Option("--level", help="Coverage of the prediction intervals.")
    ] = 0.9,
    windows: Annotated[int, typer.Option("--windows", help="Windows a clip.")] = 3,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fit a probe for the ejection fraction on frozen features.

    * `echocli lvef fit`: clips of this study, with its newest model

    * `echocli lvef fit clips --model runs/vjepa -o heads/vjepa-ef`: named

    * `echocli lvef fit --probe attentive`: on all tokens; minutes instead of seconds

    Fits on training patients only, sets the prediction interval on validation patients, and
    tells error and agreement on test patients, beside what predicting the mean would reach.
    """
    from echocli.api import lvef as api
    from echocli.checkpoint import find_model

    study = Study()
    console = Console(quiet=quiet or as_json, as_json=as_json)
    result = api.fit(
        clips or study.clips,
        find_model(model, study),
        out or study.heads / "lvef",
        config=api.LvefConfig(
            probe=probe, depth=depth, level=level, windows=windows, seed=seed
        ),
        overwrite=overwrite,
        device=device,
        precision=precision,
        reporter=console,
    )
    if as_json:
        shown = {k: v for k, v in result.config.items() if k not in ("task", "patients")}
        document = {**shown, "head": str(result.head), "left_out": result.left_out}
        console.document(SCHEMA, document)
    else:
        n = result.config["n"]
        console.say(
            f"fitted on {n['train']['clips']} clip(s) of {n['train']['patients']} patient(s), "
            f"{_how(result.config)}"
        )
        console.say(f"test: {_in_words(result.config)}")
        console.result(str(result.head))
    if result.left_out:
        raise typer.Exit(ExitCode.PARTIAL)


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

    study = Study()
    console = Console(quiet=quiet or as_json, as_json=as_json)
    to_stdout = out == STANDARD or (as_json and out is None)
    result = api.predict(
        expand(videos, null=null) if videos else study.clips,
        head or study.heads / "lvef",
        None if to_stdout else out or study.predictions / "lvef.csv",
        model=None if model is None else _found(model, study),
        labels=labels,
        overwrite=overwrite,
        device=device,
        precision=precision,
        reporter=console,
    )
    _show(console, result, as_json=as_json, to_stdout=to_stdout)
    if result.left_out:
        raise typer.Exit(ExitCode.PARTIAL)


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

    study = Study()
    console = Console(quiet=quiet or as_json, as_json=as_json)
    result = api.evaluate(
        expand(videos, null=null) if videos else study.clips,
        head or study.heads / "lvef",
        model=None if model is None else _found(model, study),
        labels=labels,
        device=device,
        precision=precision,
        reporter=console,
    )
    if as_json:
        console.document(SCHEMA, result.summary)
        return
    test = result.summary["test"]
    console.table(
        f"{test['clips']} clip(s) of {test['patients']} patient(s)",
        ["figure", "value", "low", "high"],
        _rows(result.summary),
    )


def _found(model: Path, study: Study) -> Path:
    from echocli.checkpoint import find_model

    return find_model(model, study)


def _show(
    console: Console, result: "LvefPredictions", *, as_json: bool, to_stdout: bool
) -> None:
    import json
    import sys

    if as_json:
        rows = json.loads(result.table.to_json(orient="records"))
        out = None if result.out is None else str(result.out)
        console.document(SCHEMA, {**result.summary, "out": out, "rows": rows})
    elif to_stdout:
        result.table.to_csv(sys.stdout, index=False)
        sys.stdout.flush()
    else:
        console.say(f"test: {_in_words(result.summary)}")
        console.result(str(result.out))


def _how(config: dict[str, Any]) -> str:
    if config["probe"] == "ridge":
        return f"penalty {config['alpha']:g}"
    return f"best after {config['step']} of {config['steps']} steps"


def _in_words(summary: dict[str, Any]) -> str:
    if summary["metrics"] is None:
        return "no labelled clip of a patient that the head has not seen"
    mae, mean = summary["metrics"]["mae"], summary["predict_the_mean"]["mae"]
    test = summary["test"]
    return (
        f"mean absolute error {_number(mae['value'])} points ({_number(mae['low'])} to "
        f"{_number(mae['high'])}), predicting the mean {_number(mean['value'])}; "
        f"{test['clips']} clip(s) of {test['patients']} patient(s)"
    )


def _rows(summary: dict[str, Any]) -> list[list[object]]:
    groups = {
        "": summary["metrics"],
        "predict the mean: ": summary["predict_the_mean"],
        "auroc ef ": summary["auroc"],
    }
    return [
        [prefix + name, *(_number(figure[key]) for key in ("value", "low", "high"))]
        for prefix, figures in groups.items()
        for name, figure in figures.items()
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
