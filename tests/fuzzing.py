"""Damaged files through ``preprocess``, each outcome compared with an independent decoder."""

from __future__ import annotations

import csv
import hashlib
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from judges import UnreadableError, judge
from mutations import mutate
from numpy.typing import NDArray
from originals import Original

from echocli.api._pool import Job, Limits, Note, run
from echocli.api._preprocess.clip import Settings, Task, process
from echocli.api.preprocess import preprocess
from echocli.clips.store import ClipSet
from echocli.intake.read import read_loop
from echocli.intake.reasons import Reason, Refused
from echocli.privacy.pseudonyms import Pseudonyms

SIZE = 64
KEY = "7a" * 32
DOUBTFUL = {"offset_table_wrong", "damaged_frame"}
"""The notes that say that the frames of a clip may not be what was meant."""
CRASHED = "the decoder crashed on this file"
MEAN_GREYS, FAR_GREYS, FAR_SHARE = 1.0, 24, 0.004
"""How much decoders may differ in one frame beyond what they do on the whole file: on average,
and the share of pixels that differ by more than so many greys (less than one JPEG block)."""

WHOLE = "(none)"
"""The way of damage of files that are left whole."""
AS_BEFORE = "clip as before"
AS_JUDGED = "clip as judged"
AS_LENIENT = "clip nearly as before"
"""JPEG that a strict decoder calls out of step. libjpeg-turbo, which nearly every viewer uses,
decodes it without a warning to pixels that differ from the whole file's by less than decoders
may; more than that would be wrong."""
NOTED = "clip with a note"
REFUSED = "refused"
BAD = (
    "WHOLE refused",
    "WRONG pixels",
    "judge refuses",
    "WRONG row",
    "CRASHED worker",
    "TOO SLOW",
    "LOST",
)
"""Outcomes that must not be; a crash is contained, but a decoder that crashes is told."""
OUTCOMES = (AS_BEFORE, AS_JUDGED, NOTED, AS_LENIENT, REFUSED, *BAD)


@dataclass(frozen=True)
class Case:
    """A damaged file."""

    position: int
    original: Original = field(repr=False)
    way: str
    path: Path = field(repr=False)
    whole: Path = field(repr=False)
    """The file that it was."""


@dataclass(frozen=True)
class Verdict:
    """What became of a case."""

    case: Case
    outcome: str
    detail: str = ""


@dataclass(frozen=True)
class _Comparison:
    """What a second, independent look at an accepted file found."""

    clip_sha256: str
    as_before: bool
    judged: str
    """Empty if the judge sees the same; else what it sees instead."""
    noted: bool = False
    """Whether the manifest says that the frames are doubtful."""
    lenient: bool = False
    """Whether Pillow sees the same where the judge sees nothing, and nearly what was before."""


def make_cases(
    originals: Sequence[Original], count: int, seed: int, folder: Path, first: int = 0
) -> list[Case]:
    """Damage files: which, where and how depends on the seed and the case's number alone.

    The whole files come first, and are cases, too: what is refused undamaged proves nothing.
    """
    wholes = {
        o.name: o.write(folder / "cases" / f"whole_n{n}") for n, o in enumerate(originals)
    }
    cases = [
        Case(-number, original, WHOLE, wholes[original.name], wholes[original.name])
        for number, original in enumerate(originals)
    ]
    for number in range(first, first + count):
        draw = np.random.default_rng([seed, number])
        original = originals[number % len(originals)]
        way, content = mutate(original.content, dicom=original.is_dicom, draw=draw)
        path = original.write(folder / "cases" / f"case_n{number}", content)
        cases.append(Case(number + 1, original, way, path, wholes[original.name]))
    return cases


def fuzz(cases: Sequence[Case], folder: Path, *, workers: int = 2) -> list[Verdict]:
    """Preprocess the cases and judge every outcome.

    Args:
        cases: From ``make_cases``.
        folder: Where the clip set may go.
        workers: Processes.
    """
    key = folder / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    who = folder / "who.csv"
    preprocess(
        [folder / "cases"], folder / "clips", size=SIZE, key_file=key, linkage=who,
        workers=workers,
    )  # fmt: skip
    with who.open(newline="", encoding="utf-8") as file:
        rows = {row["source"]: row for row in csv.DictReader(file)}
    clips = ClipSet.open(folder / "clips").manifest.set_index("clip_id")
    reasons = _reasons(folder / "clips")
    accepted = [c for c in cases if rows.get(str(c.path), {}).get("clip_id")]
    seen = _compare(accepted, key, workers)
    verdicts = []
    for case in cases:
        row = rows.get(str(case.path))
        if row is None:
            verdicts.append(Verdict(case, "LOST"))
        elif row["clip_id"]:
            stored = clips["pixels_sha256"].get(row["clip_id"], "")
            verdicts.append(_verdict(case, seen[case.position], stored))
        else:
            verdicts.append(_refusal(case, row["reason"], reasons.get(row["source_id"], "")))
    return verdicts


def _reasons(folder: Path) -> dict[str, str]:
    with (folder / "quarantine.csv").open(newline="", encoding="utf-8") as file:
        return {row["source_id"]: row["explanation"] for row in csv.DictReader(file)}


def _refusal(case: Case, reason: str, explanation: str) -> Verdict:
    if not reason:
        return Verdict(case, "LOST", "neither a clip nor a reason")
    if case.way == WHOLE:
        return Verdict(case, "WHOLE refused", f"{reason}: {explanation}")
    if reason == Reason.TOO_SLOW:
        return Verdict(case, "TOO SLOW")
    if explanation == CRASHED:
        return Verdict(case, "CRASHED worker")
    return Verdict(case, REFUSED, reason)


def _verdict(case: Case, seen: _Comparison | str, stored: str) -> Verdict:
    if isinstance(seen, str):
        return Verdict(case, "WRONG row", f"read again: {seen}")
    if seen.clip_sha256 != stored:
        return Verdict(case, "WRONG row", "the stored clip is not this file's")
    if seen.as_before:
        return Verdict(case, AS_BEFORE)
    if not seen.judged:
        return Verdict(case, AS_JUDGED)
    if seen.noted:
        return Verdict(case, NOTED)
    refused = seen.judged.startswith("cannot")
    if refused and seen.lenient:
        return Verdict(case, AS_LENIENT)
    return Verdict(case, "judge refuses" if refused else "WRONG pixels", seen.judged)


def _compare(cases: Sequence[Case], key: Path, workers: int) -> dict[int, _Comparison | str]:
    job: Job[Case, _Comparison | str] = Job(partial(_look, key), _lost)
    found = run(job, cases, workers, Limits(seconds=120, memory_bytes=8 << 30))
    return {case.position: seen for case, seen in zip(cases, found, strict=True)}


def _lost(case: Case, note: str, refused: Refused) -> str:
    return str(refused)


def _look(key: Path, case: Case, note: Note) -> _Comparison | str:
    """Read an accepted case once more, beside the whole file and the judge."""
    pseudonyms = Pseudonyms.from_file(key, outside=key.parent / "clips")
    outcome = process(Task(1, case.path), Settings(SIZE, None, pseudonyms))
    if outcome.clip is None:
        return str(outcome.refused)
    sha256 = hashlib.sha256(outcome.clip.frames.tobytes()).hexdigest()
    loop, before = read_loop(case.path), read_loop(case.whole).frames
    if np.array_equal(loop.frames, before):
        return _Comparison(sha256, True, "")
    near = loop.frames.shape == before.shape and _is_near(difference(loop.frames, before))
    return _Comparison(
        sha256,
        False,
        _judged(case, loop.frames, before, ""),
        bool(DOUBTFUL & set(loop.notes)),
        near and _judged(case, loop.frames, before, "pillow") == "",
    )


def _judged(case: Case, ours: NDArray[np.uint8], before: NDArray[np.uint8], plugin: str) -> str:
    """Return nothing if a judge sees what we see, else what it sees instead."""
    try:
        truth = judge(case.path, plugin)
    except UnreadableError as error:
        return f"cannot: {error}"
    try:
        allowed = difference(before, judge(case.whole, plugin))
    except UnreadableError:
        allowed = (0.0, 0.0)
    if ours.shape != truth.shape:
        return f"sees {truth.shape}, we see {ours.shape}"
    mean, far = found = difference(ours, truth)
    if not _is_near(found, allowed):
        return f"differs by {mean:.1f} greys, {far:.1%} of pixels far"
    return ""


def _is_near(found: tuple[float, float], allowed: tuple[float, float] = (0.0, 0.0)) -> bool:
    return found[0] <= allowed[0] + MEAN_GREYS and found[1] <= allowed[1] + FAR_SHARE


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> tuple[float, float]:
    """Return mean difference and share of far pixels in the frame where they are largest."""
    apart = np.abs(one.astype(np.int16) - other)
    return float(apart.mean((1, 2)).max()), float((apart > FAR_GREYS).mean((1, 2)).max())


def table(verdicts: Sequence[Verdict], by: str) -> str:
    """Return outcomes counted by damage (``way``) or by file (``original``)."""

    def name(case: Case) -> str:
        return case.way if by == "way" else case.original.name

    counts = Counter((name(v.case), v.outcome) for v in verdicts)
    lines = [f"| {by} | " + " | ".join(OUTCOMES) + " |", "|--" * (len(OUTCOMES) + 1) + "|"]
    for row in [*sorted({name(v.case) for v in verdicts}), ""]:
        found = [
            sum(n for (who, what), n in counts.items() if what == outcome and row in (who, ""))
            for outcome in OUTCOMES
        ]
        lines.append(f"| {row or 'all'} | " + " | ".join(map(str, found)) + " |")
    return "\n".join(lines)


def fuzz_in_temporary_folder(
    originals: Sequence[Original], count: int, seed: int
) -> list[Verdict]:
    """Make the cases, judge them, and leave nothing."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        return fuzz(make_cases(originals, count, seed, folder), folder)
