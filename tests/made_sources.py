"""Invented sources that are read in no time, and how to make a clip set of them."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echocli.api import preprocess as module
from echocli.api._preprocess import parts as parts_module
from echocli.api._preprocess.clip import Outcome, Settings, Task
from echocli.api._preprocess.quarantine import read_quarantine
from echocli.api._preprocess.workers import Limits
from echocli.api.preprocess import PreprocessResult, preprocess
from echocli.clips.record import Clip
from echocli.clips.store import ClipSet
from echocli.intake.reasons import Reason, Refused

SIDE = 16


def fake_outcomes(
    tasks: Iterable[Task], settings: Settings, workers: int, limits: Limits
) -> Generator[Outcome, None, None]:
    """Read files that hold ``clip PATIENT`` or the word of a refusal; no process starts."""
    for task in tasks:
        content = task.path.read_text()
        sha256 = hashlib.sha256(content.encode()).hexdigest()
        word, patient, *_ = [*content.split(), "", ""]
        if settings.pseudonyms.source(sha256) in settings.done:
            yield Outcome(task, sha256, known=True)
        elif word == "clip":
            clip = fake_clip(sha256, patient, settings)
            yield Outcome(task, sha256, clip, patient_key=patient)
        else:
            yield Outcome(task, sha256, refused=Refused(Reason(word)))


def fake_clip(sha256: str, patient: str, settings: Settings) -> Clip:
    rng = np.random.default_rng(int(sha256[:8], 16))
    names = settings.pseudonyms
    return Clip(
        clip_id=names.clip(sha256),
        patient_id=names.patient(patient),
        study_id=names.study(patient),
        source_sha256=names.source(sha256),
        frames=rng.integers(0, 256, (8, SIDE, SIDE), dtype=np.uint8),
        sector=np.ones((SIDE, SIDE), np.bool_),
        times_s=np.arange(8) / 30,
        time_source="frame_time",
        spacing_mm=(1.0, 1.0),
        spacing_source="region",
    )


def make_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read invented files in this process, in parts of three sources."""
    monkeypatch.setattr(module, "outcomes", fake_outcomes)
    monkeypatch.setattr(parts_module, "PART_SOURCES", 3)


def make_inbox(folder: Path) -> Path:
    """Make a folder of ten sources: seven clips, a twin of one of them, two refusals."""
    for number in range(7):
        put(folder, f"{number:02d}", f"clip patient{number // 2} {number}")
    put(folder, "07", "clip patient1 2")  # the bytes of 02
    put(folder, "08", "still")
    put(folder, "09", "no_decoder")
    return folder


def put(folder: Path, name: str, content: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(content)
    return path


def run(inbox: Path, out: Path, **options: Any) -> PreprocessResult:
    return preprocess([inbox], out, size=SIDE, key_file=inbox.parent / "key", **options)


def reasons(out: Path) -> list[tuple[int, str]]:
    return [(e.position, e.reason) for e in read_quarantine(out / "quarantine.csv")]


REASONS = [(8, "duplicate"), (9, "still"), (10, "no_decoder")]


def state_of(out: Path) -> dict[str, bytes]:
    """Return every byte of a set, without what tells when and by whom it was made."""
    files = (path for path in out.rglob("*") if path.is_file())
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def same(one: Path, other: Path) -> bool:
    """Return whether two sets hold the same rows in the same order, and the same pixels."""
    a, b = ClipSet.open(one), ClipSet.open(other)
    places = ["shard", "offset"]  # where a part ends depends on when a run was stopped
    return (
        a.manifest.drop(columns=places).equals(b.manifest.drop(columns=places))
        and all(np.array_equal(a.frames(row), b.frames(row)) for row in range(len(a)))
        and b.verify() == []
        and reasons(one) == reasons(other)
    )


class Killed(BaseException):
    """As if the process had been killed: nothing of it is done any more."""


class Death:
    """Lets a process change the disk so many times, then never again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
        self.left = left
        places = [(os, name) for name in ("replace", "mkdir", "unlink", "rmdir", "open")]
        places += [(shutil, "rmtree"), (Path, "unlink"), (Path, "write_bytes")]
        places += [(Path, "write_text"), (Path, "mkdir")]
        for owner, name in places:
            monkeypatch.setattr(owner, name, self.counted(getattr(owner, name)))

    def counted(self, function: Any) -> Any:
        def wrapper(*args: Any, **more: Any) -> Any:
            if self.left <= 0:
                raise Killed
            self.left -= 1
            return function(*args, **more)

        return wrapper


def lives_of(inbox: Path, out: Path, **options: Any) -> int:
    """Return how many times a whole run changes the disk."""
    with pytest.MonkeyPatch.context() as patch:
        death = Death(patch, 10**6)
        run(inbox, out, **options)
    return 10**6 - death.left


def run_and_die(inbox: Path, out: Path, moment: int, **options: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        Death(patch, moment)
        with pytest.raises(Killed):
            run(inbox, out, **options)
