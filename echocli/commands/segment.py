"""``echocli segment``: fit, predict, evaluate."""

from typing import Annotated, Any

import typer

from echocli.commands._desks import TUNED, EvaluateDesk, FitDesk, PredictDesk
from echocli.commands._paths import STANDARD
from echocli.commands._tasks import figure_rows, number, subcommand, task_app, trained_with
from echocli.errors import UsageError

TASK = "segment"
DIGITS = 3

app = task_app(
    TASK, "Segmentation by a linear head on frozen tokens, or with an encoder trained for it."
)


@subcommand(app, TASK, FitDesk)
def fit(
    desk: FitDesk,
    windows: Annotated[
        int, typer.Option("--windows", min=1, help="Windows a labelled frame.")
    ] = 2,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, help="Steps of fitting a head on frozen tokens."),
    ] = None,
) -> None:
    """Fit a linear head that draws cavity, muscle and atrium, on tokens frozen or in training.

    The clips need masks. The overlap (Dice) stands beside what the mean of all training masks
    would reach.
    """
    from echocli.api import segment as api
    from echocli.models.tasks.segmentation import SegmentationConfig

    tune = desk.tune()
    if tune is None:
        desk.refuse_unused(instead=TUNED)
    elif steps is not None:
        raise UsageError("--steps is of a head on frozen tokens.", "Use --epochs instead.")
    head = SegmentationConfig() if steps is None else SegmentationConfig(steps=steps)
    result = api.fit(
        desk.source,
        desk.encoder(),
        desk.folder,
        config=api.SegmentConfig(windows=windows, head=head, tune=tune, seed=desk.seed),
        **desk.wishes,
    )
    n = result.config["n"]["train"]
    fitted = f"fitted on {n['frames']} labelled frame(s) of {n['patients']} patient(s)"
    said = [f"{fitted}{trained_with(result.config)}", f"test: {_in_words(result.config)}"]
    desk.fitted(result, said, name="head_folder")


@subcommand(app, TASK, PredictDesk)
def predict(
    desk: PredictDesk,
    overlays: Annotated[
        int, typer.Option("--overlays", min=0, help="Pictures to draw at most.")
    ] = 12,
) -> None:
    """Label every frame, and measure areas, volumes and ejection fraction.

    * `echocli segment videos/ -o masks`: into a folder of your own

    Writes a clip set of masks, areas.csv, volumes.csv, segment.json and overlays/. Volumes
    are single-plane Simpson; millilitres only where the scale is known.
    """
    from echocli.api import segment as api

    if desk.out == STANDARD:
        raise UsageError(
            "`echocli segment` writes a folder, not a stream.",
            "Name a folder with -o, or add --json for the volumes on standard output.",
        )
    found = api.predict(
        desk.source,
        desk.head_folder,
        desk.out or desk.study.predictions / TASK,
        overlays=overlays,
        overwrite=desk.overwrite,
        **desk.wishes,
    )
    said = [f"test: {_in_words(found.summary)}"]
    desk.predicted(found.volumes, found.summary, found.out, said, found.left_out)


@subcommand(app, TASK, EvaluateDesk)
def evaluate(desk: EvaluateDesk) -> None:
    """Tell the overlap with known masks of patients that the head has never seen.

    A structure that neither map holds is skipped; one that only one map holds counts 0.
    """
    from echocli.api import segment as api

    summary = api.evaluate(desk.source, desk.head_folder, **desk.wishes).summary
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
