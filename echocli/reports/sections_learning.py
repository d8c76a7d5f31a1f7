"""How pretraining went: its curves, and whether the features stayed healthy."""

from __future__ import annotations

import numpy as np
import pandas as pd

from echocli.reports import lines
from echocli.reports.csvs import csv_of
from echocli.reports.lines import Values
from echocli.reports.numbers import duration, number, part
from echocli.reports.page import (
    EMPTY,
    Html,
    Section,
    download,
    facts,
    figure,
    gallery,
    join,
    missing,
    paragraph,
    subtitle,
)
from echocli.reports.study_reader import Results, RunRecord, settings_of

HEALTH = {
    "effective_rank": "effective rank (directions that the features fill)",
    "mean_cosine": "mean cosine of two clips (1: all alike)",
    "feature_std": "spread of the features (0: all alike)",
}
LOSS_CAPTION = (
    "The loss of self-supervised learning is a moving target: the teacher that sets the task "
    "learns too. A falling loss shows that training runs; it does not tell how good the "
    "features are, and a rising one need not be bad."
)
HEALTH_CAPTION = (
    "What to watch instead: if the features of different clips grow alike (rank near 1, cosine "
    "near 1, spread near 0), the encoder has collapsed and says nothing."
)
PROBE_CAPTION = (
    "A linear model on the features as they are, judged on patients that it was not fitted on. "
    "The encoder never learns from these labels, and the test split is not looked at."
)
STEPS_CAPTION = "The learning rate, and how long the gradient was before it was cut."
STEPS = {"lr": "learning rate", "grad_norm": "length of the gradient"}
SHORT_RUN_STEPS = 5_000
SHORT_RUN = (
    "Minutes of training from scratch do not make a good encoder: features usually get worse "
    "before they get better, and an untrained network can be a strong baseline. Read the "
    "figures below as a check that everything runs, not as what the method can do."
)
MOST_ROWS = 2_000
"""Steps in the CSV of a run; of a longer one every so many."""


def training_section(results: Results) -> Section:
    """Show how each run went."""
    if not results.runs:
        body = missing("Nothing was pretrained here.", "echocli pretrain")
        return Section("training", "Pretraining", body)
    parts = [_run(run) for run in results.runs]
    if any(0 < len(run.metrics) < SHORT_RUN_STEPS for run in results.runs):
        parts.insert(0, paragraph(SHORT_RUN, "note"))
    return Section("training", "Pretraining", join(parts))


def _run(run: RunRecord) -> Html:
    config, metrics, settings = run.config, run.metrics, settings_of(run)
    clips = part(config, "clips")
    rows = [
        ("method", settings.get("method")),
        ("preset", settings.get("preset")),
        ("steps", f"{len(metrics)} of {part(settings, 'optim').get('steps')}"),
        ("clips", f"{clips.get('count')}, of {clips.get('patients')} patients"),
        ("trained numbers", f"{config.get('parameters', 0):,}"),
        ("device", f"{config.get('device')}, {config.get('precision')}"),
    ]
    if "seconds" in metrics:
        rows.append(("time", duration(float(metrics["seconds"].sum()))))
    drawn = []
    steps, losses = _curve(metrics, "loss")
    if len(steps) > 1:
        picture = lines.line(steps, losses, "loss", f"loss of {run.name}")
        drawn.append(figure(picture, f"{LOSS_CAPTION} {lines.legend(len(metrics))}"))
    for names, what, caption in (
        (HEALTH, "health", HEALTH_CAPTION),
        (STEPS, "learning rate and gradient", STEPS_CAPTION),
    ):
        curves = {label: _curve(metrics, name) for name, label in names.items()}
        shown = {label: curve for label, curve in curves.items() if len(curve[0]) > 1}
        # A curve of one point says less than its number.
        rows += [(label, number(y[0])) for label, (_, y) in curves.items() if len(y) == 1]
        if shown:
            drawn.append(figure(lines.panels(shown, f"{what} of {run.name}"), caption))
    drawn += _probe(run)
    parts = [subtitle(f"Run {run.name}"), facts(rows), gallery(drawn), _numbers(run)]
    if not run.has_model:
        resume = f"echocli pretrain --resume -o runs/{run.name}"
        parts.append(missing("This run has no model yet.", resume))
    return join(parts)


def _curve(metrics: pd.DataFrame, name: str) -> tuple[Values, Values]:
    """Return the steps at which something was measured, and what was."""
    if name not in metrics:
        return np.empty(0), np.empty(0)
    seen = metrics[["step", name]].dropna()
    return seen["step"].to_numpy(np.float64), seen[name].to_numpy(np.float64)


def _probe(run: RunRecord) -> list[Html]:
    steps, values = _curve(run.metrics, "probe")
    if len(steps) < 2:
        return []
    guess = _curve(run.metrics, "probe_guess")[1]
    beside = {"knowing nothing": float(guess[-1])} if len(guess) else {}
    # Of classes the measure is the area under the ROC, which is its own score.
    of_classes = np.array_equal(values, _curve(run.metrics, "probe_score")[1])
    axis = "AUROC of a probe" if of_classes else "error of a probe"
    picture = lines.line(steps, values, axis, f"probe of {run.name}", beside)
    return [figure(picture, PROBE_CAPTION)]


def _numbers(run: RunRecord) -> Html:
    metrics = run.metrics
    if not len(metrics):
        return EMPTY
    rows = metrics.iloc[:: -(-len(metrics) // MOST_ROWS)]
    content = csv_of([str(name) for name in rows], rows.itertuples(index=False))
    link = download(f"{run.name}.csv", content, f"the steps of {run.name}")
    return Html(f'<p class="csv">{link}</p>')
