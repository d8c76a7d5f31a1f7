"""How to repeat it all: commands, settings, and every number as CSV."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

from echocli.reports.csvs import csv_of, flattened
from echocli.reports.numbers import part
from echocli.reports.page import (
    Html,
    Section,
    code,
    details,
    download,
    join,
    paragraph,
    subtitle,
    text,
)
from echocli.reports.study_reader import Results, settings_of

PATH = re.compile(r"^(/|~|[A-Za-z]:[\\/]|\\\\).*[\\/](?=[^\\/])")
"""Folders before a name: they tell of the machine and often of a person."""
UNSAID = ("patients", "left_out", "sha256")
"""Lists of ids and of hashes, which are no settings and no figures."""
JUDGED = (
    "metrics",
    "patient_metrics",
    "test",
    "patient_test",
    "per_class",
    "confusion",
    "auroc",
    "reliability",
    "subgroups",
    "mean_map",
    "predict_the_mean",
    "predict_the_commonest",
    "calibrated",
    "ef_from_masks",
    "flicker",
    "interval_coverage",
)
"""What a head keeps of how it was judged: figures, no settings."""
MOST_CLIPS = 5_000
HIDDEN = (
    "patient_id",
    "study_id",
    "source_sha256",
    "pixels_sha256",
    "sector",
    "times_s",
    "notes",
)
OPTIONS = {
    "score": ("distance", "k", "per", "aggregate", "false_positive_rate"),
    "lvef": ("probe", "windows", "seed"),
    "segment": ("windows", "label_fraction", "seed"),
    "classify": ("label", "probe", "windows", "class_weights", "seed"),
}
"""What a command was told, as far as its result keeps it."""


def repeat_section(results: Results) -> Section:
    """Return the commands and settings that lead here again."""
    body = [
        paragraph("In the study folder, with the same sources and the same key file:"),
        code(commands(results)),
        subtitle("Settings"),
    ]
    for name, settings in _settings(results):
        body.append(details(name, code([json.dumps(without_paths(settings), indent=2)])))
    return Section("repeat", "How to repeat this", join(body))


def commands(results: Results) -> list[str]:
    """Return the command lines that made what is there, in their order."""
    lines = []
    if results.clips is not None:
        lines.append("echocli preprocess SOURCES")
    for run in results.runs:
        settings = settings_of(run)
        method, preset = settings.get("method"), settings.get("preset")
        steps = part(settings, "optim").get("steps")
        folder = f"runs/{run.name}"
        line = f"echocli pretrain --config {folder}/config.json -o {folder}-again"
        lines.append(f"{line}  # {method}, {preset}, {steps} steps")
    if results.embeddings is not None:
        metadata = results.embeddings.metadata
        told = _options(metadata, ("per", "pool", "windows"))
        lines.append(f"echocli embed{_model(results, metadata)}{told}")
    if results.scores is not None:
        told = _options(results.scores.summary, OPTIONS["score"])
        lines.append(f"echocli score --anomaly{told}")
    found = {"lvef": results.lvef, "segment": results.volumes, "classify": results.classes}
    for name, head in results.heads.items():
        task = str(head.get("task", name))
        where = "" if name == task else f" -o heads/{name}"
        told = _options(head, OPTIONS.get(task, ())) + _trained(task, head)
        lines.append(f"echocli {task} fit{_model(results, head)}{told}{where}")
    for task, table in found.items():
        if table is not None:
            lines.append(f"echocli {task} predict")
    return [*lines, "echocli report"]


def _trained(task: str, head: dict[str, Any]) -> str:
    """Return the options that say what was trained, and what a head for masks looks like."""
    whole = part(head, "end_to_end")
    told = [f" --head {head['probe']}"] if task == "segment" and head.get("probe") else []
    if whole.get("scratch"):
        told.append(f" --from-scratch {shlex.quote(str(whole['scratch']))}")
    elif whole.get("blocks"):
        told.append(f" --finetune-blocks {whole['blocks']}")
    return "".join(told)


def _model(results: Results, made: dict[str, Any]) -> str:
    """Return the option that names the run whose encoder was used."""
    used = made.get("model_sha256")
    found = [run.name for run in results.runs if used and run.model_sha256 == used]
    return f" --model runs/{found[0]}" if found else ""


def _options(told: dict[str, Any], names: tuple[str, ...]) -> str:
    known = ((name, told.get(name)) for name in names)
    return "".join(
        f" --{name.replace('_', '-')} {shlex.quote(str(value))}"
        for name, value in known
        if isinstance(value, (str, int, float))
    )


def _settings(results: Results) -> Iterator[tuple[str, dict[str, Any]]]:
    if results.audit:
        version, settings = results.audit.get("echocli"), part(results.audit, "settings")
        yield "preprocess", {"echocli": version, **settings}
    for run in results.runs:
        yield f"run {run.name}", run.config
    for name, head in results.heads.items():
        unsaid = {*UNSAID, *JUDGED}
        yield f"head {name}", {k: v for k, v in head.items() if k not in unsaid}


def without_paths(content: Any) -> Any:  # noqa: ANN401
    """Return nested tables in which only the last part of a path is left."""
    if isinstance(content, dict):
        return {key: without_paths(value) for key, value in content.items()}
    if isinstance(content, list):
        return [without_paths(value) for value in content]
    return PATH.sub(".../", content) if isinstance(content, str) else content


def numbers_section(results: Results) -> Section:
    """Offer every number as CSV; the files stand inside the page."""
    links = [_link("figures.csv", _figures(results), "every figure, with its interval")]
    links.append(_link("settings.csv", _flat(_settings(results)), "every setting"))
    clips = results.clips
    if clips is not None and len(clips) <= MOST_CLIPS:
        shown = clips.manifest.drop(columns=list(HIDDEN), errors="ignore")
        rows = ([_plain(cell) for cell in row] for row in shown.itertuples(index=False))
        content = csv_of([str(name) for name in shown], rows)
        links.append(_link("clips.csv", content, "what is known of every clip"))
    body = [
        paragraph(
            "Beside each table and figure stands a link to its numbers. Here are all figures "
            "and settings in one file each. They are part of this page: nothing is fetched. "
            "Clips carry the same keyed hashes as the files of the study. Patients' ids are "
            "left out."
        ),
        Html(f"<ul>{''.join(f'<li>{link}</li>' for link in links)}</ul>"),
    ]
    return Section("numbers", "Every number as CSV", join(body))


def _link(name: str, content: str, what: str) -> Html:
    return Html(f"{text(name)}, {text(what)}: {download(name, content, what)}")


def _figures(results: Results) -> str:
    """Return every number that a command left beside its result."""
    found: dict[str, Any] = {}
    tables = {
        "score": results.scores,
        "lvef": results.lvef,
        "classify": results.classes,
        "segment": results.volumes,
    }
    for name, table in tables.items():
        if table is not None:
            found[name] = {k: v for k, v in table.summary.items() if k not in UNSAID}
    for name, head in results.heads.items():
        found[f"head {name}"] = {k: v for k, v in head.items() if k not in UNSAID}
    if results.embeddings is not None:
        found["embeddings"] = results.embeddings.metadata
    if results.audit is not None:
        found["audit"] = {"checks": results.audit.get("checks", [])}
    return _flat(found.items())


def _flat(tables: Any) -> str:  # noqa: ANN401
    rows = (
        (of, path, value)
        for of, content in tables
        for path, value in flattened(without_paths(content))
    )
    return csv_of(["of", "name", "value"], rows)


def _plain(cell: object) -> object:
    return cell if cell is None or isinstance(cell, (str, int, float, bool)) else str(cell)
