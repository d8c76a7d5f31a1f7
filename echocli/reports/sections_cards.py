"""Cards of the encoders and heads: what each is for, what it has seen, what it reaches."""

from __future__ import annotations

from typing import Any

from echocli.reports.numbers import interval, part, plain
from echocli.reports.page import (
    EMPTY,
    Html,
    Section,
    facts,
    items,
    join,
    missing,
    paragraph,
    subtitle,
    table,
)
from echocli.reports.study_reader import Results, RunRecord, settings_of

TITLE = "Model cards"
HASH_DIGITS = 16
PURPOSE = {
    "lvef": "Says the left-ventricular ejection fraction of a clip, in percent.",
    "segment": "Outlines cavity, muscle and atrium in every frame of a clip.",
    "classify": "Says how likely each class of a label is for a clip.",
}
NOT_FOR = (
    "Not a medical device; not for diagnosis or treatment.",
    "Not for clips of another kind than it was trained on: other views, colour or spectral "
    "Doppler, contrast, other animals, stress or transoesophageal echocardiography.",
    "Not for a decision about a person without somebody who looks at the clip.",
)
UNKNOWN = "Not known to this tool: fill in"
ASKED = (
    ("who made it, and whom to ask", UNKNOWN),
    ("licence of the weights", UNKNOWN),
    ("ethical approval and the legal basis of the data", UNKNOWN),
)
HEADLINE = {
    "lvef": ("mae", "rmse", "r2", "bias"),
    "classify": ("auroc", "balanced_accuracy", "sensitivity", "specificity", "brier"),
}


def cards_section(results: Results) -> Section:
    """Return a card for every encoder and every head."""
    cards = [_encoder(run) for run in results.runs if run.has_model]
    cards += [_head(name, head) for name, head in results.heads.items()]
    if not cards:
        none = missing("There is no model to describe.", "echocli pretrain")
        return Section("cards", TITLE, none)
    shared = [subtitle("What none of them is for"), items(NOT_FOR)]
    return Section("cards", TITLE, join([*cards, *shared]))


def contract_words(data: dict[str, Any]) -> str:
    """Return what a model expects to see, in a line."""
    if not data:
        return UNKNOWN
    length = f"{data['seconds']:g} s" if data.get("seconds") else f"stride {data.get('stride')}"
    size, grey = data.get("size"), "grey" if data.get("channels") == 1 else "colour"
    return f"{data.get('frames')} frames over {length}, {size} x {size} pixels, {grey}"


def _encoder(run: RunRecord) -> Html:
    settings, clips = settings_of(run), part(run.config, "clips")
    start = str(settings.get("init") or "")
    rows: list[tuple[str, object]] = [
        ("what it is", f"encoder of clips, {settings.get('method')}, {settings.get('preset')}"),
        ("what it is for", "Features for the heads below; it says nothing about a patient."),
        ("input", contract_words(part(settings, "data"))),
        ("trained on", f"{clips.get('count')} clips of {clips.get('patients')} patients"),
        ("of these clips", settings.get("where") or "all"),
        ("began with", "random weights" if not start else "weights given with init"),
        ("steps", f"{len(run.metrics)} of {part(settings, 'optim').get('steps')}"),
        ("trained numbers", f"{run.config.get('parameters', 0):,}"),
        ("seed", settings.get("seed")),
        ("SHA-256 of the weights", run.model_sha256[:HASH_DIGITS] or UNKNOWN),
        ("software", f"echocli {run.config.get('echocli')}, torch {run.config.get('torch')}"),
    ]
    return join([subtitle(f"Encoder {run.name}"), facts([*rows, *ASKED])])


def _head(name: str, head: dict[str, Any]) -> Html:
    task = str(head.get("task", name))
    counts = part(head, "n")
    seen = [
        f"{told} {own.get('clips')} clips of {own.get('patients')} patients"
        for split, told in (("train", "fitted on"), ("val", "tuned on"), ("test", "judged on"))
        if (own := part(counts, split))
    ]
    rows: list[tuple[str, object]] = [
        ("what it is for", PURPOSE.get(task, task)),
        ("kind", f"{head.get('probe', UNKNOWN)} probe"),
        ("input", contract_words(part(head, "data"))),
        ("has seen", "; ".join(seen) or UNKNOWN),
        ("SHA-256 of its encoder", str(head.get("model_sha256", UNKNOWN))[:HASH_DIGITS]),
        ("seed", head.get("seed", UNKNOWN)),
    ]
    if head.get("label"):
        rows.insert(1, ("label", head["label"]))
    return join([subtitle(f"Head {name}"), facts([*rows, *ASKED]), _reached(name, task, head)])


def _reached(name: str, task: str, head: dict[str, Any]) -> Html:
    """Return the few figures by which a head is known."""
    metrics = part(head, "metrics")
    if task == "segment":
        rows = [
            (f"Dice, {plain(one)}", interval(value))
            for one, value in part(metrics, "dice").items()
        ]
    else:
        wanted = HEADLINE.get(task, tuple(metrics))
        rows = [(plain(one), interval(metrics[one])) for one in wanted if one in metrics]
    if not rows:
        return paragraph("Judged on nobody: no test patient was labelled.", "note")
    patients = part(head, "test").get("patients", "?")
    caption = f"What head {name} reached on {patients} test patients"
    return table(["figure", "value (95 % interval)"], rows, caption) if rows else EMPTY
