"""``echocli classify``: fit, predict, evaluate."""

from typing import Annotated, Any

import typer

from echocli.commands._against import AgainstOption, show_comparison
from echocli.commands._desks import TUNED, EvaluateDesk, FitDesk, PredictDesk
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

TASK = "classify"
DIGITS = 3
SPARE = ("balanced_accuracy", "ece")
"""Figures of parts that a terminal of 100 columns has no room for."""
PATIENTS = "patients: "
NOTES = {"brier": "over classes, 0 to 2"}
"""What a reader might take for another figure of the same name."""

app = task_app(
    TASK, "Classes of any label column (normal or not, the view ...) by a probe on features."
)


@subcommand(app, TASK, FitDesk)
def fit(
    desk: FitDesk,
    label: Annotated[
        str,
        typer.Option(
            "--label", help="Column to tell classes of, or a rule on one: 'ef_percent<50'."
        ),
    ] = "normal",
    classes: Annotated[
        str | None,
        typer.Option("--classes", metavar="A,B", help="Only these; all if left out."),
    ] = None,
    ordered: Annotated[
        bool,
        typer.Option("--ordered", help="--classes are grades, from the least to the most."),
    ] = False,
    positive: Annotated[
        str | None,
        typer.Option("--positive", help="Of two classes, the one that is looked for."),
    ] = None,
    probe: Annotated[
        str,
        typer.Option(
            "--probe",
            help="attentive looks at all tokens.",
            **one_of("linear", "attentive"),
        ),
    ] = "linear",
    depth: Annotated[
        int,
        typer.Option("--depth", min=1, help="Blocks of an attentive probe; V-JEPA 2 has 4."),
    ] = 1,
    windows: Annotated[int, typer.Option("--windows", min=1, help="Windows a clip.")] = 3,
    class_weights: Annotated[
        str,
        typer.Option(
            "--class-weights",
            help="balanced: rare classes weigh as much.",
            **one_of("none", "balanced"),
        ),
    ] = "none",
    calibration: Annotated[
        str,
        typer.Option(
            "--calibration",
            help="Of probabilities, on validation patients.",
            **one_of("temperature", "platt", "none"),
        ),
    ] = "temperature",
    threshold: Annotated[
        str,
        typer.Option(
            "--threshold", help="Between two classes.", **one_of("youden", "quantile")
        ),
    ] = "youden",
    false_positive_rate: Annotated[
        float,
        typer.Option(
            "--false-positive-rate", help="Share of patients that a quantile lets be called."
        ),
    ] = 0.05,
    views: ViewsOption = None,
    clips_a_view: ClipsAViewOption = 1,
    view_dropout: ViewDropoutOption = 0.1,
    label_fraction: LabelFractionOption = 1.0,
) -> None:
    """Fit a probe that tells the classes of a label apart, on frozen features or in training.

    * `echocli classify fit --label view -o heads/view`: any label column, two or more classes

    * `echocli classify fit --label 'ef_percent<50' --threshold quantile`: a rule on a number

    * `echocli classify fit --label stenosis --classes none,mild,severe --ordered`: grades

    Clips without the label are left out and counted. Probabilities are calibrated and the
    threshold is chosen on validation patients only.
    """
    from echocli.api import classify as api
    from echocli.models.finetune import FitConfig

    tune = desk.tune()
    if probe != "attentive" and tune is None:
        desk.refuse_unused(instead=f"--probe attentive, {TUNED}")
    result = api.fit(
        desk.source,
        desk.encoder(),
        desk.folder,
        config=api.ClassifyConfig(
            label=label,
            classes=tuple(listed(classes) or ()),
            ordered=ordered,
            positive=positive,
            probe=probe,
            depth=depth,
            attentive=desk.changed(FitConfig()),
            tune=tune,
            windows=windows,
            views=tuple(listed(views) or ()),
            clips_a_view=clips_a_view,
            view_dropout=view_dropout,
            label_fraction=label_fraction,
            class_weights=class_weights,
            calibration=calibration,
            threshold=threshold,
            false_positive_rate=false_positive_rate,
            seed=desk.seed,
        ),
        **desk.wishes,
    )
    n = result.config["n"]["train"]
    counts = ", ".join(f"{count} {name}" for name, count in n["clips_of"].items())
    fitted = f"fitted on {how_many(n)} ({counts})"
    said = [f"{fitted}{probe_words(result.config)}", f"test: {_in_words(result.config)}"]
    if result.config["unlabelled"]:
        why = "is unknown or none of these classes" if classes else "is unknown"
        said.insert(0, f"left out: {result.config['unlabelled']} clip(s) whose {label} {why}")
    desk.fitted(result, said)


@subcommand(app, TASK, PredictDesk)
def predict(desk: PredictDesk) -> None:
    """Tell the class of clips and of their patients, with the probability of each class.

    * `echocli classify videos/ -o -`: rows on standard output

    Writes classify.csv, a row a clip, and classify.json, which holds a row a patient: the mean
    over the patient's clips.
    """
    from echocli.api import classify as api

    found = api.predict(
        desk.source, desk.head_folder, desk.csv, overwrite=desk.overwrite, **desk.wishes
    )
    said = [f"test: {_in_words(found.summary)}"]
    desk.predicted(found.table, found.summary, found.out, said, found.left_out)


@subcommand(app, TASK, EvaluateDesk)
def evaluate(desk: EvaluateDesk, by: ByOption = None, against: AgainstOption = None) -> None:
    """Tell how well classes are told apart, in whom, and whether anything gives them away.

    * `echocli classify evaluate --by sex,scanner`: men and women, machine by machine

    * `echocli classify evaluate --against heads/other`: is the difference more than luck?

    Beside the figures: parts of the patients (those with fewer than 30 are flagged), patients
    and clips that stand in two splits, and how well metadata alone would tell the class. The
    Brier score is summed over the classes, 0 to 2: of two classes twice the usual one.

    Against another head of the same classes the table is of the differences: p by DeLong's
    test for areas under the ROC, else by paired bootstrap over patients; not corrected for
    the number of rows.
    """
    from echocli.api import classify as api

    summary = api.evaluate(
        desk.source, desk.head_folder, by=listed(by), against=against, **desk.wishes
    ).summary
    if against is not None:
        show_comparison(desk, summary, DIGITS)
        return
    test = summary["test"]
    groups = {"": summary["metrics"]}
    if summary["patient_metrics"] is not None and test["patients"] < test["clips"]:
        groups[PATIENTS] = summary["patient_metrics"]
    rows = [[group + name, *rest] for group, name, *rest in figure_rows(groups, DIGITS)]
    counts = [str(test.get("studies") or test["clips"]), str(test["patients"])]
    notes = [NOTES.get(row[0].removeprefix(PATIENTS), "") for row in rows]
    rows = [["all", *row, *counts, note] for row, note in zip(rows, notes, strict=True)]
    parts = list(part_rows(summary["subgroups"], DIGITS, empty="one class only"))
    desk.evaluated(summary, judged_on(test), part_columns(test), rows, parts, SPARE)


def _in_words(summary: dict[str, Any]) -> str:
    if summary["metrics"] is None:
        return "no labelled clips of two classes of patients that the head has not seen"
    auroc = bounded(summary["metrics"]["auroc"], DIGITS)
    accuracy = number(summary["metrics"]["accuracy"]["value"], DIGITS)
    commonest = summary["predict_the_commonest"]
    test = summary["test"]
    return (
        f"AUROC {auroc}; accuracy {accuracy}, always saying "
        f"{commonest['class']} {number(commonest['accuracy']['value'], DIGITS)}; "
        f"{judged_on(test)}"
    )
