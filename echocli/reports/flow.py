"""What was done: from files to figures as a diagram, with what was left out, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from echocli.reports.numbers import part, plain
from echocli.reports.page import (
    EMPTY,
    Html,
    Section,
    join,
    missing,
    paragraph,
    subtitle,
    table,
    text,
)
from echocli.reports.study_reader import Refusals, Results, RunRecord, settings_of
from echocli.study import HEAD_ENCODER

SPLITS = {"train": "training", "val": "validation", "test": "test"}
TASKS = {"lvef": "Ejection fraction", "segment": "Masks", "classify": "Classes"}
SHOWN = 6
"""Reasons that are named in the diagram; the table below it names all."""
HASH_DIGITS = 12


@dataclass(frozen=True)
class Box:
    """One step of the diagram."""

    title: str
    lines: Sequence[str]
    out: Sequence[str] = field(default_factory=list)
    """What went no further, and why."""


def flow_section(results: Results) -> Section:
    """Draw the way of the files, then list why files were left out and what was checked."""
    title = "What was done"
    if results.clips is None and not results.runs and not results.heads:
        return Section("flow", title, missing("There are no clips.", "echocli preprocess"))
    parts = [_diagram(results)]
    if results.clips is None:
        parts.append(missing("The clips are not here.", "echocli preprocess"))
    elif results.refusals and results.refusals.count:
        parts.append(_refused(results.refusals))
    parts.append(_audit(results.audit))
    return Section("flow", title, join(parts))


def _diagram(results: Results) -> Html:
    steps = [*_intake(results)]
    parts = _splits(results)
    if parts:
        steps.append(_row(parts))
    uses = [*_runs(results.runs), *_tables(results), *_heads(results)]
    if uses:
        steps.append(_row(uses))
    return Html(f'<ol class="flow" aria-label="Way of the files">{join(steps)}</ol>')


def _step(box: Box) -> Html:
    out = ""
    if box.out:
        lines = "".join(f"<li>{text(line)}</li>" for line in box.out)
        out = f'<div class="out"><b>Left out</b><ul>{lines}</ul></div>'
    lines = "".join(f"<span>{text(line)}</span>" for line in box.lines)
    return Html(f'<div class="box"><b>{text(box.title)}</b>{lines}</div>{out}')


def _row(boxes: Iterable[Box]) -> Html:
    return Html(
        f'<li class="row">{join(Html(f"<div>{_step(box)}</div>") for box in boxes)}</li>'
    )


def _intake(results: Results) -> list[Html]:
    if results.clips is None:
        return []
    refused = results.refusals.count if results.refusals else 0
    total, patients = len(results.clips), results.clips.manifest["patient_id"].nunique()
    reasons = results.refusals.reasons if results.refusals else []
    out = [f"{count} {word}" for word, count, _ in reasons[:SHOWN]]
    rest = sum(count for _, count, _ in reasons[SHOWN:])
    if rest:
        out.append(f"{rest} for other reasons")
    boxes = (
        Box(f"{total + refused} sources read", [], out),
        Box(f"{total} clips of {patients} patients", ["de-identified, masked, cropped"]),
    )
    return [Html(f"<li>{_step(box)}</li>") for box in boxes]


def _splits(results: Results) -> list[Box]:
    if results.clips is None or "split" not in results.clips.manifest:
        return []
    manifest = results.clips.manifest
    boxes = {}
    for name, group in manifest.groupby(manifest["split"].fillna("")):
        title = SPLITS.get(str(name), str(name) or "in no split").capitalize()
        boxes[str(name)] = Box(title, [_of(len(group), group["patient_id"].nunique())])
    usual = [name for name in SPLITS if name in boxes]
    return [boxes[name] for name in [*usual, *sorted(boxes.keys() - set(usual))]]


def _of(clips: object, patients: object) -> str:
    return f"{clips} clips of {patients} patients"


def _runs(runs: Iterable[RunRecord]) -> list[Box]:
    boxes = []
    for run in runs:
        clips, settings = part(run.config, "clips"), settings_of(run)
        lines = [
            f"{settings.get('method')}, {len(run.metrics)} steps",
            _of(clips.get("count"), clips.get("patients")),
        ]
        if settings.get("where"):
            lines.append(f"where {settings['where']}")
        left = part(clips, "left_out")
        out = [f"{n} {plain(word)}" for word, n in left.items() if n]
        boxes.append(Box(f"Pretraining {run.name}", lines, out))
    return boxes


def _tables(results: Results) -> list[Box]:
    boxes = []
    if results.embeddings is not None:
        rows, of_clips = results.embeddings.table, results.clips
        made = results.embeddings.metadata
        lines = [
            f"{len(rows)} rows, one a {made.get('per', 'clip')}",
            *_encoder(results.runs, made),
        ]
        out = []
        if of_clips is not None and "clip_id" in rows:
            missed = len(set(of_clips.manifest["clip_id"]) - set(rows["clip_id"]))
            out = [f"{missed} clips without a row"] if missed else []
        boxes.append(Box("Embeddings", lines, out))
    if results.scores is not None:
        summary = results.scores.summary
        lines = [
            f"{told}: {_of(own.get('clips'), own.get('patients'))}"
            for name, told in (
                ("bank", "compared with"),
                ("calibration", "threshold by"),
                ("test", "judged on"),
            )
            if (own := part(summary, name))
        ]
        lines += _encoder(results.runs, summary)
        boxes.append(Box("Anomaly scores", lines))
    return boxes


def _heads(results: Results) -> list[Box]:
    predictions = {
        "lvef": results.lvef,
        "segment": results.volumes,
        "classify": results.classes,
    }
    boxes = []
    for name, head in results.heads.items():
        task = str(head.get("task", name))
        counts = part(head, "n")
        lines = [*_what_it_is(results.runs, head)]
        lines += [
            f"{told}: {_of(own.get('clips'), own.get('patients'))}"
            for split, told in (
                ("train", "fitted on"),
                ("val", "tuned on"),
                ("test", "judged on"),
            )
            if (own := part(counts, split))
        ]
        found = predictions.get(task)
        out: list[str] = []
        if found is not None and found.is_by(name):
            lines.append(f"predicted for {len(found.rows)} clips")
            out = _left_out(found.summary)
        boxes.append(Box(f"{TASKS.get(task, task)}: head {name}", lines, out))
    return boxes


def _what_it_is(runs: Sequence[RunRecord], head: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a head is and what it sees by, as far as it is known."""
    own = f"{head['probe']} probe" if head.get("probe") else ""
    of_label = f"of {head['label']}" if head.get("label") else ""
    digits = str(head.get("sha256", ""))[:HASH_DIGITS]
    if told := ", ".join(words for words in (f"{own} {of_label}".strip(), digits) if words):
        yield told
    if head.get("model") == HEAD_ENCODER:
        yield f"encoder trained with it, {str(head.get('model_sha256', ''))[:HASH_DIGITS]}"
    else:
        yield from _encoder(runs, head)


def _encoder(runs: Sequence[RunRecord], made: Mapping[str, Any]) -> Iterator[str]:
    """Yield which encoder something was made by: its hash, and its run if that is here."""
    sha256 = str(made.get("model_sha256", ""))
    if sha256:
        names = [run.name for run in runs if run.model_sha256 == sha256]
        told = ", ".join([*names, sha256[:HASH_DIGITS]])
        yield f"encoder {told}"


def _left_out(summary: Mapping[str, Any]) -> list[str]:
    left = summary.get("left_out") or []
    counted = Counter(str(one.get("reason")) for one in left if isinstance(one, dict))
    return [f"{count} {plain(reason)}" for reason, count in counted.most_common(SHOWN)]


def _refused(refusals: Refusals) -> Html:
    return join(
        [
            table(
                ["reason", "sources", "what it means"],
                refusals.reasons,
                "Sources left out, by reason",
            ),
            paragraph(
                "Which file was left out stands in clips/quarantine.csv, by a keyed hash.",
                "muted",
            ),
        ]
    )


def _audit(audit: dict[str, Any] | None) -> Html:
    if not audit:
        return EMPTY
    checks = [
        (
            check.get("check"),
            check.get("looked_at"),
            "passed" if check.get("passed") else "FAILED",
        )
        for check in audit.get("checks", [])
    ]
    return join(
        [
            subtitle("De-identification"),
            paragraph(
                "Names, numbers and dates were replaced by keyed hashes and every pixel "
                "outside the ultrasound sector was made black. The clip set was then opened "
                "again and checked:"
            ),
            table(["check", "looked at", "result"], checks, "Checks of the finished clip set"),
            paragraph(
                "No automatic check finds everything that can be burned into a picture. Look "
                "at the clips below before you share them.",
                "note",
            ),
        ]
    )
