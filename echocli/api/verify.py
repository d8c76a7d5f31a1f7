"""Is an output what was written? Hashes, identity of rows, nothing missing, nothing extra."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from echocli.api._export.record import RECORD, exported_names
from echocli.api._export.record import SCHEMA as EXPORT_SCHEMA
from echocli.api._relabelled import clips_relabelled, head_relabelled
from echocli.api._verify.clips import check_clips
from echocli.api._verify.files import Checked, check_sums, counted, files_below, trusted_json
from echocli.api._verify.tables import (
    TABLES,
    check_embeddings,
    check_segmentation,
    check_table,
)
from echocli.clips.store import ClipSet
from echocli.console import SILENT, Reporter
from echocli.errors import EchoError
from echocli.files import DAMAGED
from echocli.study import HEAD, HEAD_ENCODER, SUMS, WEIGHTS, Study
from echocli.tables import COMMENT, is_embeddings, is_parts

DEPTH = 3
"""How far below a folder outputs are looked for: study/runs/NAME/model."""
ROBUSTNESS = "robustness.json"
ROBUSTNESS_FILE = re.compile(r"[a-z]+\.(csv|png)")


@dataclass(frozen=True)
class Verification:
    """What was found in the outputs at a path."""

    path: Path
    quick: bool
    outputs: list[Checked]

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong anywhere."""
        return all(output.whole for output in self.outputs)

    @property
    def damaged(self) -> list[Checked]:
        """The outputs with something wrong."""
        return [output for output in self.outputs if not output.whole]


def verify(path: Path, *, quick: bool = False, reporter: Reporter = SILENT) -> Verification:
    """Check every output of ours at a path, and whether those of a study fit together.

    Args:
        path: Clip set, run, model, head, embeddings, table, export, or a folder of them.
        quick: Compare sizes and counts, but do not hash what is large.
        reporter: Who watches.

    Raises:
        EchoError: If nothing there is an output of ours.
    """
    found = list(_outputs(path, DEPTH))
    if not found:
        what = "holds nothing that echocli wrote" if path.exists() else "does not exist"
        raise EchoError(
            f"What was named {what}.",
            "Name a clip set, a run, a head, a table of results, or a study folder.",
        )
    outputs: list[Checked] = []
    with reporter.progress("verify", len(found)) as done:
        for kind, place in found:
            outputs += _check(kind, place, quick=quick)
            done(1)
    clips = _own_clips(outputs)
    if clips is not None:
        _check_ids(outputs, clips)
        _check_labels(outputs, clips)
    return Verification(path, quick, outputs)


def _outputs(path: Path, depth: int) -> Iterator[tuple[str, Path]]:
    """Yield kind and place of each output at or below a path."""
    kind = _kind_of(path)
    if kind:
        yield kind, path
        if (path / HEAD_ENCODER).is_dir():
            yield from _outputs(path / HEAD_ENCODER, 0)
    elif path.is_dir() and not path.is_symlink() and depth:
        for inside in sorted(path.iterdir()):
            if not inside.name.startswith("."):
                yield from _outputs(inside, depth - 1)


def _kind_of(path: Path) -> str:
    """Return what an output is by the names in it, so that damage does not hide it."""
    if path.suffix == ".parquet" and (path.is_file() or is_parts(path)):
        return "embeddings"
    if path.suffix == ".safetensors" and path.is_file() and is_embeddings(path):
        return "embeddings"
    if path.is_dir():
        names = {inside.name for inside in path.iterdir()}
        if ClipSet.is_one(path) or names & {"audit.json", "manifest", "segment.json"}:
            return "clips"
        if "config.json" in names and names & {"metrics.jsonl", "checkpoints", "model"}:
            return "run"
        if names & {WEIGHTS, HEAD, SUMS}:
            return "weights"
        if ROBUSTNESS in names:
            return "robustness"
        return "export" if RECORD in names else ""
    if path.suffix == ".csv" and path.is_file():
        with path.open("rb") as file:
            if file.read(len(COMMENT)) == COMMENT.encode():
                return "embeddings"
        summary = trusted_json(path.with_suffix(".json"))
        if isinstance(summary, str) and not summary.endswith("missing"):
            return "table"
        return "table" if isinstance(summary, dict) and summary.get("schema") in TABLES else ""
    return ""


def _check(kind: str, place: Path, *, quick: bool) -> list[Checked]:
    if kind == "clips":
        checked = check_clips(place, quick=quick)
        if (place / "segment.json").is_file():
            check_segmentation(place, checked, quick=quick)
        return [checked]
    if kind == "embeddings":
        return [check_embeddings(place)]
    if kind == "table":
        return [check_table(place)]
    if kind == "export":
        return [_check_export(place)]
    if kind == "robustness":
        return [_check_robustness(place, quick=quick)]
    from echocli.api._verify.runs import check_run, check_weights  # brings PyTorch

    if kind == "run":
        return check_run(place, quick=quick)
    return [check_weights(place, quick=quick)]


def _check_export(folder: Path) -> Checked:
    """Check that every clip of an export has its file."""
    checked = Checked(folder, "export")
    go_on = "Run the same `echocli export` command again: it writes what is missing."
    record = trusted_json(folder / RECORD)
    if isinstance(record, str) or record.get("schema") != EXPORT_SCHEMA:
        checked.add(f"{RECORD}: not of the kind {EXPORT_SCHEMA}", go_on)
        return checked
    try:
        wanted = set(exported_names(record))
    except (KeyError, TypeError, AttributeError):
        checked.add(f"{RECORD}: does not tell what belongs here", go_on)
        return checked
    present = {name for name in files_below(folder) if (folder / name).stat().st_size}
    if wanted - present:
        checked.add(f"{counted(len(wanted - present), 'file')} missing", go_on)
    extra = present - wanted - {RECORD}
    if extra:
        checked.add(f"{counted(len(extra), 'file')} too many", "Move them elsewhere.")
    checked.looked_at = counted(len(wanted), "file")
    return checked


def _check_robustness(folder: Path, *, quick: bool) -> Checked:
    """Check that the table of a robustness study and its figures are what was written."""
    checked = Checked(folder, "robustness")
    record = trusted_json(folder / ROBUSTNESS)
    sums = None if isinstance(record, str) else record.get("sha256")
    for problem in check_sums(folder, sums, ROBUSTNESS_FILE, quick=quick):
        checked.add(problem, "Copy it again, or run `echocli robustness --overwrite`.")
    checked.looked_at = counted(len(sums) if isinstance(sums, dict) else 0, "file")
    return checked


def _own_clips(outputs: list[Checked]) -> Checked | None:
    """Return the clip set of the study, if it was looked at."""
    sets = [output for output in outputs if output.kind == "clip set" and output.ids]
    return next((output for output in sets if output.path.name == "clips"), None)


def _check_ids(outputs: list[Checked], clips: Checked) -> None:
    """Check that rows of tables are of clips of the clip set beside them.

    Results of files are of no set. A model may be tried on other clips in the same study, too,
    whose results lie elsewhere: where the study keeps its own, clips that are gone were made
    anew, and nothing there is true of them.
    """
    study = Study(clips.path.parent)
    for output in outputs:
        if output.kind not in ("embeddings", "table", "clip set") or output is clips:
            continue
        apart = clips.ids.keys().isdisjoint(output.ids) and not study.keeps(output.path)
        if output.in_place or apart:
            if output.ids:
                output.looked_at += ", of files" if output.in_place else ", of other clips"
            continue
        other = [
            name
            for name, source in output.ids.items()
            if name not in clips.ids or source not in ("", clips.ids[name])
        ]
        if other:
            output.add(
                f"{counted(len(other), 'row')} of clips that {clips.path} does not hold",
                "Make it again from these clips, with --overwrite.",
            )


def _check_labels(outputs: list[Checked], clips: Checked) -> None:
    """Check that results tell, and heads learnt, the labels that the clips have now."""
    labelled = [
        output
        for output in outputs
        if output.kind == "head" or (output.rows is not None and not output.in_place)
    ]
    if not labelled:
        return
    try:
        manifest = ClipSet.open(clips.path).manifest
    except (EchoError, OSError, *DAMAGED):  # told already
        return
    for output in labelled:
        if output.rows is not None:
            count = clips_relabelled(output.rows, output.figures, manifest)
            if count:
                output.add(f"{counted(count, 'clip')} had other labels then", _again(output))
        elif output.figures and head_relabelled(output.figures, manifest):
            output.add(
                "its patients had other labels when it was fitted",
                "Fit it again with --overwrite, then predict again with --overwrite.",
            )


def _again(output: Checked) -> str:
    """Return what makes a result tell the labels of now."""
    if output.figures is None:
        return "Run `echocli embed` again: it takes labels anew."
    if "source_of_normal" in output.figures:
        return "Run `echocli embed` again, then `echocli score` with --overwrite."
    return "Fit the head again with --overwrite, then predict again with --overwrite."
