"""Reads what the commands have left in a study folder; whatever is absent stays ``None``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from echocli.clips.store import ClipSet
from echocli.errors import EchoError
from echocli.files import DAMAGED, read_json
from echocli.intake.reasons import MEANINGS, Reason
from echocli.reports.numbers import plain
from echocli.run import read_metrics
from echocli.study import HEAD, SUMS, WEIGHTS, Study
from echocli.tables import IDS, Embeddings, read_embeddings

T = TypeVar("T")
NEEDED = {
    "scores.csv": {"patient_id", "score"},
    "lvef.csv": {"patient_id", "ef_percent"},
    "classify.csv": {"patient_id", "predicted"},
    "volumes.csv": {"clip_id", "patient_id", "ef_percent", "flags"},
    "areas.csv": {"clip_id", "frame", "time_s", "structure", "pixels", "mm2"},
}
"""Columns without which a table cannot be shown, by the name of its file."""


@dataclass(frozen=True)
class RunRecord:
    """A pretraining run."""

    name: str
    config: dict[str, Any]
    metrics: pd.DataFrame
    """One row a step."""
    has_model: bool
    model_sha256: str = ""
    """Of its weights; empty if there are none yet."""


@dataclass(frozen=True)
class Refusals:
    """Why sources became no clips."""

    count: int
    reasons: list[tuple[str, int, str]]
    """Reason, how many, and what can be done, most frequent first."""


@dataclass(frozen=True)
class Table:
    """Rows of a CSV file and the figures of the JSON file beside it."""

    rows: pd.DataFrame
    summary: dict[str, Any]

    def is_by(self, head: str) -> bool:
        """Return whether a head of that name made it; older tables do not tell."""
        return Path(str(self.summary.get("head", head))).name == head


@dataclass
class Results:
    """Everything found in a study folder."""

    clips: ClipSet | None = None
    audit: dict[str, Any] | None = None
    refusals: Refusals | None = None
    runs: list[RunRecord] = field(default_factory=list)
    embeddings: Embeddings | None = None
    scores: Table | None = None
    heads: dict[str, dict[str, Any]] = field(default_factory=dict)
    lvef: Table | None = None
    classes: Table | None = None
    """Of ``echocli classify``, for one label."""
    volumes: Table | None = None
    masks: ClipSet | None = None
    areas: pd.DataFrame | None = None
    overlays: list[Path] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    """Which parts are there but cannot be read."""
    of_other_labels: list[str] = field(default_factory=list)
    """Which results were made with other labels than the clips have now."""

    @property
    def is_empty(self) -> bool:
        """Whether the folder holds nothing to report."""
        nothing = self.clips is None and self.embeddings is None
        return nothing and not self.runs and not self.heads


def of_other_clips(results: Results) -> list[str]:
    """Return which results have rows of clips that the clip set does not hold.

    Clips that were made anew may have other ids: what was told of those before is not theirs.
    """
    if results.clips is None:
        return []
    there = set(results.clips.manifest["clip_id"])
    return [
        name
        for name, (rows, _) in tables_of(results).items()
        if "clip_id" in rows and not there.issuperset(rows["clip_id"])
    ]


def tables_of(results: Results) -> dict[str, tuple[pd.DataFrame, dict[str, Any] | None]]:
    """Return the rows of each result by its name, and the figures beside them.

    Embeddings have none.
    """
    found = {
        "scores.csv": results.scores,
        "predictions/lvef.csv": results.lvef,
        "predictions/classify.csv": results.classes,
        "predictions/segment": results.volumes,
    }
    tables: dict[str, tuple[pd.DataFrame, dict[str, Any] | None]] = {}
    if results.embeddings is not None:
        tables["embeddings.parquet"] = (results.embeddings.table, None)
    told = {name: (one.rows, one.summary) for name, one in found.items() if one is not None}
    return tables | told


def settings_of(run: RunRecord) -> dict[str, Any]:
    """Return the settings of a run, empty if it has none."""
    settings = run.config.get("settings")
    return settings if isinstance(settings, dict) else {}


def head_of(results: Results, task: str) -> dict[str, Any]:
    """Return the settings and figures of the head for a task, empty if there is none.

    The head of the task's own name comes first, as the commands look for it.
    """
    found = [head for head in results.heads.values() if head.get("task") == task]
    return results.heads.get(task) or (found[0] if found else {})


def read_study(root: Path) -> Results:
    """Read a study folder.

    Raises:
        EchoError: If it holds nothing that a command of ours has written.
    """
    study = Study(root)
    results = Results()

    def maybe(path: Path, what: str, read: Callable[[Path], T]) -> T | None:
        if not path.exists():
            return None
        try:
            return read(path)
        except (EchoError, OSError, *DAMAGED):
            results.unreadable.append(what)
            return None

    if ClipSet.is_one(study.clips):
        results.clips = maybe(study.clips, "clips", ClipSet.open)
    results.audit = maybe(study.clips / "audit.json", "clips/audit.json", read_object)
    results.refusals = maybe(
        study.clips / "quarantine.csv", "clips/quarantine.csv", _read_refusals
    )
    for folder in sorted(study.runs.glob("*/config.json")):
        run = maybe(folder.parent, f"runs/{folder.parent.name}", read_run)
        results.runs += [run] if run else []
    results.embeddings = maybe(study.embeddings, "embeddings.parquet", read_embeddings)
    results.scores = maybe(study.scores, "scores.csv", _read_table)
    for folder in sorted(study.heads.glob("*/config.json")):
        head = maybe(folder.parent, f"heads/{folder.parent.name}", read_head)
        results.heads |= {folder.parent.name: head} if head else {}
    results.lvef = maybe(study.predictions / "lvef.csv", "predictions/lvef.csv", _read_table)
    classes = study.predictions / "classify.csv"
    results.classes = maybe(classes, "predictions/classify.csv", _read_table)
    segment = study.predictions / "segment"
    results.volumes = maybe(segment / "volumes.csv", "predictions/segment", _read_volumes)
    results.areas = maybe(segment / "areas.csv", "predictions/segment/areas.csv", _rows)
    if ClipSet.is_one(segment):
        results.masks = maybe(segment, "predictions/segment", ClipSet.open)
    results.overlays = sorted((segment / "overlays").glob("*.png"))
    if results.is_empty:
        raise EchoError(
            "This folder holds no results of echocli: no clips, no runs, no embeddings.",
            "Run `echocli preprocess` there first, or `echocli demo` to see a whole study.",
        )
    return results


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ValueError: If it is none.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError("not an object")
    return content


def _read_refusals(path: Path) -> Refusals:
    reasons = pd.read_csv(path, dtype=str, keep_default_na=False)["reason"].tolist()
    counted = [
        (plain(word), count, _meaning(word)) for word, count in Counter(reasons).most_common()
    ]
    return Refusals(len(reasons), counted)


def _meaning(word: str) -> str:
    return MEANINGS.get(Reason(word), "") if word in set(Reason) else ""


def read_run(folder: Path) -> RunRecord:
    """Read a run.

    Raises:
        ValueError: If its settings or its metrics cannot be read.
    """
    records, written = pd.DataFrame(read_metrics(folder)), folder / "metrics.jsonl"
    if records.empty and written.is_file() and written.stat().st_size:
        raise ValueError("no line of the metrics can be read")
    config = read_object(folder / "config.json")
    has_model = (folder / "model" / WEIGHTS).is_file()
    return RunRecord(
        folder.name, config, records, has_model, _sum_of(folder / "model", WEIGHTS)
    )


def read_head(folder: Path) -> dict[str, Any]:
    """Read what describes a head, and the SHA-256 of its weights.

    Raises:
        ValueError: If it cannot be read.
    """
    return {**read_object(folder / "config.json"), "sha256": _sum_of(folder, HEAD)}


def _sum_of(folder: Path, name: str) -> str:
    """Return the SHA-256 of a file as it was written; empty where nobody wrote it down."""
    sums = folder / SUMS
    return str(read_object(sums).get(name, "")) if sums.is_file() else ""


def _read_table(path: Path) -> Table:
    beside = path.with_suffix(".json")
    return Table(_rows(path), read_object(beside) if beside.is_file() else {})


def _read_volumes(path: Path) -> Table:
    summary = path.with_name("segment.json")
    return Table(_rows(path), read_object(summary) if summary.is_file() else {})


def _rows(path: Path) -> pd.DataFrame:
    """Read a table; ids are words, even where all have digits only.

    Raises:
        ValueError: If it is another table than its name says.
    """
    rows = pd.read_csv(path, dtype=dict.fromkeys((*IDS, "nearest"), str))
    if missing := NEEDED[path.name].difference(rows):
        raise ValueError(f"columns {', '.join(sorted(missing))} are missing")
    return rows
