"""``echocli lvef``: fit, predict, evaluate."""

from pathlib import Path
from typing import Annotated, Any

import typer

from echocli.commands._against import AgainstOption, show_comparison
from echocli.commands._desks import (
    TUNED,
    EvaluateDesk,
    FitDesk,
    PredictDesk,
    ReadDesk,
)
from echocli.commands._options import (
    ByOption,
    ClipsAViewOption,
    LabelFractionOption,
    ViewDropoutOption,
    ViewsOption,
)
from echocli.commands._tasks import (
    bounded,
    figure_rows,
    how_many,
    judged_on,
    listed,
    number,
    part_columns,
    part_rows,
    probe_words,
    subcommand,
    task_app,
)
from echocli.commands._words import one_of
from echocli.errors import UsageError

TASK = "lvef"
MASKS = "masks"
"""Form of the JSON document where masks are measured."""
DIGITS = 2

app = task_app(
    TASK, "Ejection fraction by a probe on frozen features, or by an encoder trained for it."
)


@subcommand(app, TASK, FitDesk)
def fit(
    desk: FitDesk,
    probe: Annotated[
        str,
        typer.Option(
            "--probe",
            help="ridge is linear, attentive looks at all tokens.",
            **one_of("ridge", "attentive"),
        ),
    ] = "ridge",
    depth: Annotated[
        int,
        typer.Option("--depth", min=1, help="Blocks of an attentive probe; V-JEPA 2 has 4."),
    ] = 1,
    level: Annotated[
        float, typer.Option("--level", help="Coverage of the prediction intervals.")
    ] = 0.9,
    windows: Annotated[int, typer.Option("--windows", min=1, help="Windows a clip.")] = 3,
    views: ViewsOption = None,
    clips_a_view: ClipsAViewOption = 1,
    view_dropout: ViewDropoutOption = 0.1,
    label_fraction: LabelFractionOption = 1.0,
) -> None:
    """Fit a probe for the ejection fraction on frozen features, or train the encoder with it.

    * `echocli lvef fit --probe attentive`: on all tokens; minutes instead of seconds

    * `echocli lvef fit --probe attentive --views A4C,A2C`: a study's views together, one answer

    * `echocli lvef fit --label-fraction 0.1`: what a tenth of the patients would teach

    The clips need the label ef_percent. The prediction interval is set on validation
    patients; error and agreement stand beside what predicting the mean would reach.
    """
    from echocli.api import lvef as api
    from echocli.models.finetune import FitConfig

    tune = desk.tune()
    if probe != "attentive" and tune is None:
        desk.refuse_unused(instead=f"--probe attentive, {TUNED}")
    result = api.fit(
        desk.source,
        desk.encoder(),
        desk.folder,
        config=api.LvefConfig(
            probe=probe,
            depth=depth,
            attentive=desk.changed(FitConfig()),
            tune=tune,
            level=level,
            windows=windows,
            views=tuple(listed(views) or ()),
            clips_a_view=clips_a_view,
            view_dropout=view_dropout,
            label_fraction=label_fraction,
            seed=desk.seed,
        ),
        **desk.wishes,
    )
    n = result.config["n"]["train"]
    fitted = f"fitted on {how_many(n)}"
    said = [f"{fitted}{probe_words(result.config)}", f"test: {_in_words(result.config)}"]
    desk.fitted(result, said)


FromMasksOption = Annotated[
    Path | None,
    typer.Option(
        "--from-masks",
        metavar="FOLDER",
        help="Measure it in masks, without a head: what segment wrote, or a clip set with "
        "masks.",
    ),
]


@subcommand(app, TASK, PredictDesk)
def predict(desk: PredictDesk, from_masks: FromMasksOption = None) -> None:
    """Predict the ejection fraction of clips, with prediction intervals.

    * `echocli lvef videos/ -o -`: rows on standard output

    * `echocli lvef --from-masks predictions/segment`: Simpson's, by A4C and A2C of each study

    A head fitted with --views tells a row a study, and so do masks: biplane where both views
    are there, else single plane, which is said. Millilitres only where the scale is known.
    """
    from echocli.api import lvef as api

    if from_masks is None:
        found = api.predict(
            desk.source, desk.head_folder, desk.csv, overwrite=desk.overwrite, **desk.wishes
        )
    else:
        found = api.from_masks(
            from_masks,
            desk.csv,
            clips=_known(desk),
            overwrite=desk.overwrite,
            reporter=desk.console,
        )
    said = [f"test: {_in_words(found.summary)}"]
    form = None if from_masks is None else MASKS
    desk.predicted(found.table, found.summary, found.out, said, found.left_out, form)


def _known(desk: ReadDesk) -> Path | None:
    """Return the clip set that tells what masks are of, if one is named.

    Raises:
        UsageError: If something is named that masks need not.
    """
    typed = (desk.head, desk.model, desk.labels) != (None, None, None)
    if typed or (desk.device, desk.precision) != ("auto", "auto") or desk.null:
        raise UsageError(
            "Masks are measured without --head, --model, --labels, --device, --precision and "
            "--null.",
            "Leave them out, or --from-masks.",
        )
    if desk.videos and len(desk.videos) > 1:
        raise UsageError("Masks are of one clip set.", "Name the one that they were drawn on.")
    return desk.videos[0] if desk.videos else None


@subcommand(app, TASK, EvaluateDesk)
def evaluate(
    desk: EvaluateDesk,
    by: ByOption = None,
    against: AgainstOption = None,
    from_masks: FromMasksOption = None,
) -> None:
    """Tell error and agreement on labelled patients that the head has never seen, and in whom.

    * `echocli lvef evaluate --by sex,scanner`: men and women, machine by machine

    * `echocli lvef evaluate --against heads/other`: is the difference more than luck?

    * `echocli lvef evaluate --from-masks predictions/segment`: Simpson's beside the labels

    Between two readers the ejection fraction of one patient varies by 7 to 14 points. Limits
    of agreement (Bland-Altman) have intervals of their own. Beside the figures: parts of the
    patients (those with fewer than 30 are flagged), and what stands in two splits.

    Against another head the table is of the differences: p by paired bootstrap over patients
    and by Wilcoxon's signed ranks of patients for the error, by DeLong's test for areas under
    the ROC; not corrected for the number of rows.
    """
    from echocli.api import lvef as api

    if from_masks is not None:
        if against is not None:
            raise UsageError("--against compares two heads.", "Leave it out, or --from-masks.")
        found = api.evaluate_masks(
            from_masks, clips=_known(desk), by=listed(by), reporter=desk.console
        )
        if desk.as_json:
            import json

            rows = json.loads(found.table.to_json(orient="records"))
            desk.document({**found.summary, "out": None, "rows": rows}, MASKS)
        else:
            _show(desk, found.summary)
        return
    summary = api.evaluate(
        desk.source, desk.head_folder, by=listed(by), against=against, **desk.wishes
    ).summary
    if against is None:
        _show(desk, summary)
    else:
        show_comparison(desk, summary, DIGITS)


def _show(desk: EvaluateDesk, summary: dict[str, Any]) -> None:
    """Show the figures of an evaluation, and of parts of its patients."""
    test = summary["test"]
    groups = {
        "": summary["metrics"],
        "predict the mean: ": summary["predict_the_mean"],
        "ef classes: ": {"kappa_quadratic": summary["ef_classes"]["kappa_quadratic"]},
        "auroc ef ": summary["auroc"],
    }
    counts = [str(test.get("studies") or test["clips"]), str(test["patients"])]
    rows = [
        ["all", group + name, *rest, *counts, ""]
        for group, name, *rest in figure_rows(groups, DIGITS)
    ]
    for cut, found in summary["cuts"].items():
        for name, *rest in (row[1:] for row in figure_rows({"": found}, DIGITS)):
            of = [str(found[name]["rows"]), str(found[name]["patients"])]
            rows.append(["all", f"{name} ef {cut}", *rest, *of, ""])
    desk.evaluated(
        summary,
        judged_on(test),
        part_columns(test),
        rows,
        list(part_rows(summary["subgroups"], DIGITS)),
    )


def _in_words(summary: dict[str, Any]) -> str:
    if summary["metrics"] is None:
        return "no labelled clip of a patient that the head has not seen"
    mae = bounded(summary["metrics"]["mae"], DIGITS)
    mean = number(summary["predict_the_mean"]["mae"]["value"], DIGITS)
    return (
        f"mean absolute error {mae} points, predicting the mean {mean}; "
        f"{judged_on(summary['test'])}"
    )
