"""A report about a run or a head: what of a study belongs to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from echocli.errors import EchoError
from echocli.files import DAMAGED
from echocli.reports.study_reader import (
    Results,
    Table,
    read_head,
    read_object,
    read_run,
    read_study,
)

Kind = Literal["study", "run", "head"]

_NO_MASKS: dict[str, Any] = {"volumes": None, "masks": None, "areas": None, "overlays": []}
KINDS: dict[str, Kind] = {"echocli.run/1": "run", "echocli.head/1": "head"}


@dataclass(frozen=True)
class Target:
    """What a report is about."""

    kind: Kind
    folder: Path
    root: Path | None
    """The study that it belongs to; ``None`` for a run or head that stands alone."""

    @property
    def out(self) -> Path:
        """Where its report goes if nobody says."""
        if self.kind == "study":
            return self.folder / "report.html"
        name = f"report-{self.kind}-{self.folder.name}.html"
        return (self.root or self.folder.parent) / name

    @property
    def title(self) -> str:
        """What the page is called."""
        if self.kind == "study":
            return "Echocardiography study"
        return f"{self.kind.capitalize()} {self.folder.name}"


def target_of(path: Path) -> Target:
    """Return what a folder is.

    Raises:
        EchoError: If it does not exist.
    """
    if not path.is_dir():
        raise EchoError(
            "There is no such study folder.",
            "Name a folder that commands of echocli wrote to: a study, a run or a head.",
        )
    whole = path.resolve()
    kind = _kind(whole)
    if kind is not None:
        inside = whole.parent.name == f"{kind}s"
        return Target(kind, whole, whole.parent.parent if inside else None)
    for folder, depth in (("runs", 2), ("heads", 2), ("clips", 1), ("predictions", 1)):
        parents = [whole, *whole.parents]
        if len(parents) > depth and parents[depth - 1].name == folder:
            return Target("study", parents[depth], parents[depth])
    return Target("study", path, path)


def _kind(folder: Path) -> Kind | None:
    try:
        return KINDS.get(str(read_object(folder / "config.json").get("schema")))
    except (OSError, ValueError):
        return None


def read_target(target: Target) -> Results:
    """Read what a report is about, and nothing that belongs to another run or head.

    Raises:
        EchoError: If there is nothing that can be read.
    """
    alone = _alone(target)
    if target.root is None:
        return alone
    whole = read_study(target.root)
    if target.kind == "run":
        return _of_run(whole, target.folder.name)
    return whole if target.kind == "study" else _of_head(whole, target.folder.name)


def _alone(target: Target) -> Results:
    if target.root is not None:
        return Results()
    try:
        if target.kind == "run":
            return Results(runs=[read_run(target.folder)])
        return Results(heads={target.folder.name: read_head(target.folder)})
    except (OSError, *DAMAGED) as error:
        raise EchoError(
            f"The {target.kind} {target.folder.name} cannot be read.",
            "Run `echocli verify` on it.",
        ) from error


def _of_run(whole: Results, name: str) -> Results:
    runs = [run for run in whole.runs if run.name == name]
    model = runs[0].model_sha256 if runs else ""
    heads = {
        key: head
        for key, head in whole.heads.items()
        if model and head.get("model_sha256") == model
    }
    return _narrowed(replace(whole, runs=runs, heads=heads), model)


def _of_head(whole: Results, name: str) -> Results:
    heads = {key: head for key, head in whole.heads.items() if key == name}
    model = str(heads.get(name, {}).get("model_sha256", ""))
    task = heads.get(name, {}).get("task")
    runs = [run for run in whole.runs if model and run.model_sha256 == model]
    found = _narrowed(replace(whole, runs=runs, heads=heads), model)

    def by(table: Table | None, of_task: str) -> Table | None:
        return table if table and task == of_task and table.is_by(name) else None

    return replace(
        found,
        embeddings=None,
        scores=None,
        lvef=by(found.lvef, "lvef"),
        classes=by(found.classes, "classify"),
        **({} if by(found.volumes, "segment") else _NO_MASKS),
    )


def _narrowed(results: Results, model: str) -> Results:
    """Leave out what another encoder made."""
    embeddings = results.embeddings
    if embeddings is not None and embeddings.metadata.get("model_sha256") != model:
        embeddings = None
    return replace(
        results,
        embeddings=embeddings,
        scores=results.scores if _of(results.scores, model) else None,
        lvef=results.lvef if _of(results.lvef, model) else None,
        classes=results.classes if _of(results.classes, model) else None,
        **({} if _of(results.volumes, model) else _NO_MASKS),
    )


def _of(table: Table | None, model: str) -> bool:
    """Return whether a table was made with an encoder."""
    return table is not None and bool(model) and table.summary.get("model_sha256") == model
