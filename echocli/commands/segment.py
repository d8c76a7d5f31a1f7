"""``echocli segment``: fit, predict, evaluate."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from echocli.commands._against import AgainstOption, show_comparison
from echocli.commands._desks import TUNED, EvaluateDesk, FitDesk, PredictDesk
from echocli.commands._options import ByOption, LabelFractionOption
from echocli.commands._paths import STANDARD
from echocli.commands._tasks import (
    bounded,
    doubt,
    listed,
    number,
    subcommand,
    task_app,
    trained_with,
)
from echocli.commands._words import one_of
from echocli.errors import UsageError

TASK = "segment"
DIGITS = 3
NONE = "-"
SHOWN = {
    **dict.fromkeys(("jaccard", "precision", "recall"), DIGITS),
    **{"hd95_mm": 1, "hausdorff_mm": 1, "assd_mm": 1, "failure_rate": 2},
}
"""Figures that are printed beside Dice, in this order, and with how many digits."""
COLUMNS = [
    *("part", "structure", "Dice (95 %)", "Jaccard", "precision", "recall"),
    *("HD95 mm", "Hausdorff mm", "ASSD mm", "failed", "frames", "patients", "note"),
]
SPARE = (
    "Jaccard",
    "precision",
    "recall",
    "Hausdorff mm",
    "failed",
    "frames",
    "patients",
    "note",
)
"""Columns that a terminal of 100 columns has no room for."""

app = task_app(
    TASK, "Segmentation by a head on frozen tokens, or with an encoder trained for it."
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
    head: Annotated[
        str,
        typer.Option(
            "--head",
            help="dense is an attentive probe and two transposed convolutions.",
            **one_of("linear", "dense"),
        ),
    ] = "linear",
    label_fraction: LabelFractionOption = 1.0,
) -> None:
    """Fit a head that draws cavity, muscle and atrium, on tokens frozen or in training.

    * `echocli segment fit --head dense`: every place looks at all others; minutes, not seconds

    * `echocli segment fit --label-fraction 0.1`: what a tenth of the patients would teach

    * `echocli segment fit --from-scratch unet`: MONAI's U-Net on single frames, a baseline of
    the same patients, frames and figures

    The clips need masks. The overlap (Dice) stands beside what the mean of all training masks
    would reach.
    """
    from echocli.api import segment as api
    from echocli.models.finetune import FitConfig
    from echocli.models.tasks.segmentation import SegmentationConfig

    tune = desk.tune()
    if tune is None and head == "linear":
        desk.refuse_unused(instead=f"--head dense, {TUNED}")
    elif steps is not None:
        raise UsageError(
            "--steps is of a linear head on frozen tokens.", "Use --epochs instead."
        )
    linear = SegmentationConfig() if steps is None else SegmentationConfig(steps=steps)
    result = api.fit(
        desk.source,
        desk.encoder(),
        desk.folder,
        config=api.SegmentConfig(
            windows=windows,
            head=linear,
            probe=head,
            dense=desk.changed(FitConfig()),
            tune=tune,
            label_fraction=label_fraction,
            seed=desk.seed,
        ),
        **desk.wishes,
    )
    n = result.config["n"]["train"]
    fitted = f"fitted on {n['frames']} labelled frame(s) of {n['patients']} patient(s)"
    said = [f"{fitted}{trained_with(result.config)}", *_in_words(result.config)]
    desk.fitted(result, said, name="head_folder")


@subcommand(app, TASK, PredictDesk)
def predict(
    desk: PredictDesk,
    overlays: Annotated[
        int, typer.Option("--overlays", min=0, help="Pictures to draw at most.")
    ] = 12,
    write: Annotated[
        str | None,
        typer.Option(
            "--write",
            metavar="A,B",
            help="Masks as files too: nifti (a clip), png (a frame), mp4 (outlines, to watch).",
        ),
    ] = None,
) -> None:
    """Label every frame, and measure areas, volumes and ejection fraction.

    * `echocli segment videos/ -o masks`: into a folder of your own

    * `echocli segment --write mp4`: films of the clips with what was drawn in them

    Writes a clip set of masks, areas.csv, curves.csv, volumes.csv, segment.json and
    overlays/. Volumes are single-plane Simpson; millilitres only where the scale is known.
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
        write=listed(write) or (),
        overwrite=desk.overwrite,
        **desk.wishes,
    )
    said = list(_in_words(found.summary))
    desk.predicted(found.volumes, found.summary, found.out, said, found.left_out)


@subcommand(app, TASK, EvaluateDesk)
def evaluate(
    desk: EvaluateDesk,
    by: ByOption = None,
    against: AgainstOption = None,
) -> None:
    """Tell how well known masks are met, of patients that the head has never seen.

    * `echocli segment evaluate --by sex,scanner`: men and women, machine by machine

    * `echocli segment evaluate --against heads/unet`: is the difference more than luck?

    Dice, Jaccard, precision and recall; HD95, Hausdorff and mean surface distance (ASSD) in
    millimetres, of frames whose scale is known; failed is the share of frames below a Dice of
    0.7. A structure that neither map holds is skipped; one that
    only one map holds counts as the worst there is.

    Views and phases are always shown one by one. Against another head the table is of the
    differences: p by paired bootstrap over patients, and by Wilcoxon's signed ranks of
    patients; neither is corrected for the number of rows.
    """
    from echocli.api import segment as api

    found = api.evaluate(
        desk.source, desk.head_folder, by=listed(by), against=against, **desk.wishes
    )
    summary, test = found.summary, found.summary["test"]
    if against is not None:
        show_comparison(desk, summary, DIGITS)
        return
    everyone = {"name": "all", **test, "small": False, "metrics": summary["metrics"]}
    rows = _rows("", everyone)
    for name, value in summary["mean_map"]["dice"].items():
        rows.append(["mean map", name, bounded(value, DIGITS), *[""] * (len(COLUMNS) - 3)])
    parts = [
        row
        for column, groups in summary["subgroups"].items()
        for group in groups
        for row in _rows(f"{column} ", group)
    ]
    unscaled = summary["calibrated"]["left_out_of_mm"]
    title = f"{test['frames']} labelled frame(s) of {test['patients']} patient(s)"
    if unscaled:
        title += f", {unscaled} of unknown scale"
        desk.console.say(f"{unscaled} frame(s) of unknown scale have no figure in millimetres")
    title += doubt(test["patients"])
    rows, parts = ([row for row in some if row[2] != NONE] for some in (rows, parts))
    desk.evaluated(summary, title, COLUMNS, rows, parts, SPARE)


def _rows(column: str, part: dict[str, Any]) -> list[list[str]]:
    """Return a row for each structure of a part of the frames."""
    metrics = part["metrics"]
    counts = [str(part["frames"]), str(part["patients"])]
    note = "fewer than 30 patients" if part["small"] else ""
    return [
        [
            column + part["name"],
            structure,
            bounded(value, DIGITS),
            *(bounded(metrics[name][structure], digits) for name, digits in SHOWN.items()),
            *counts,
            note,
        ]
        for structure, value in metrics["dice"].items()
    ]


def _in_words(summary: dict[str, Any]) -> Iterator[str]:
    """Yield on what a head was tested, and how each structure was met, a sentence each."""
    if summary["metrics"] is None:
        yield "test: no masks of a patient that the head has not seen"
        return
    test = summary["test"]
    count = f"{test['frames']} frame(s) of {test['patients']} patient(s)"
    yield f"test: {count}{doubt(test['patients'])}"
    far, mean = summary["metrics"]["hd95_mm"], summary["mean_map"]["dice"]
    for name, dice in summary["metrics"]["dice"].items():
        if dice["value"] is not None:
            beside = f"the mean map {number(mean[name]['value'], DIGITS)}"
            mm = bounded(far[name], SHOWN["hd95_mm"])
            end = "" if far[name]["value"] is None else f"; HD95 {mm} mm"
            yield f"{name}: Dice {bounded(dice, DIGITS)}, {beside}{end}"
