"""Pretraining: from a clip set to a run folder with a model in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echocli.api._encode import open_clips
from echocli.api._pretrain.job import Job
from echocli.api._pretrain.memory import Room, check_method, free_for, full_memory_told
from echocli.api._pretrain.plan import Plan, plan_of
from echocli.api._pretrain.record import (
    check_same,
    check_space,
    details_of,
    export_best,
    export_model,
    is_exported,
    left_out_of,
)
from echocli.api._pretrain.settings import WITHOUT_TEST, Settings, Wanted, resolve_settings
from echocli.api._pretrain.settle import settle
from echocli.api._pretrain.start import (
    check_frozen,
    load_start,
    settings_of,
    start_from,
    tell_start,
)
from echocli.api._pretrain.steps import run_steps
from echocli.api.preprocess import SIZE
from echocli.checkpoint import LoadedModel
from echocli.clips.batches import describe_left_out, describe_mended
from echocli.clips.readers import usual_readers
from echocli.clips.store import ClipSet
from echocli.config import read_settings, to_table
from echocli.console import SILENT, Reporter
from echocli.device import Device, choose_device, limit_threads
from echocli.distributed import Ranks, launched
from echocli.errors import EchoError, UsageError
from echocli.run import Run, overwritten
from echocli.states import has_state
from echocli.study import Study


@dataclass(frozen=True)
class PretrainResult:
    """A run, finished or saved half-way."""

    run: Path
    model: Path
    method: str
    preset: str
    clips: int
    patients: int
    left_out: dict[str, int]
    steps_done: int
    steps: int
    loss: float | None
    """Of the last step; ``None`` if there was nothing left to do."""
    device: str
    best: Path | None
    """The model of the step that the probe liked best; ``None`` if none was asked."""
    best_step: int | None

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.steps_done == self.steps


@dataclass(frozen=True)
class Choice:
    """What a user may choose; see the options of ``echocli pretrain``."""

    method: str | None = None
    preset: str | None = None
    steps: int | None = None
    where: str | None = None
    seed: int | None = None
    init: str | Path | None = None
    config: Path | None = None
    changes: Sequence[str] = ()

    def options(self) -> dict[str, Any]:
        """Return the settings among the options."""
        chosen: dict[str, Any] = {}
        if self.steps is not None:
            chosen["optim"] = {"steps": self.steps}
        if self.where is not None:
            chosen["where"] = self.where
        if self.seed is not None:
            chosen["seed"] = self.seed
        return chosen

    def start(self) -> LoadedModel | None:
        """Return the model to start from, if one is named."""
        return None if self.init is None else load_start(self.init)

    def resolve(
        self, base: dict[str, Any] | None = None, start: LoadedModel | None = None
    ) -> Wanted:
        """Merge all layers of settings."""
        return resolve_settings(
            start=None if start is None else settings_of(start),
            method=self.method,
            preset=self.preset,
            file=self.config,
            options=self.options(),
            changes=self.changes,
            base=base,
        )


def plan(
    clips: Path | Sequence[Path],
    choice: Choice,
    *,
    out: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    readers: int | None = None,
    reporter: Reporter = SILENT,
) -> Plan:
    """Say what a run would do, with the time of a step measured on this machine.

    Args:
        clips: Clip set, folder, file or list of files.
        choice: Settings.
        out: Folder of the run.
        device: ``auto`` or PyTorch's name.
        precision: ``auto``, ``fp32`` or ``bf16``.
        readers: Threads that read clips ahead; chosen for this machine if left out.
        reporter: Who watches.

    Raises:
        EchoError: If the run could not be begun.
    """
    start = choice.start()
    wanted = choice.resolve(start=start)
    folder = out or default_run(wanted.value)
    ranks = launched()
    place = choose_device(ranks.device(device), precision)
    limit_threads()
    reporter = reporter if ranks.leads else SILENT
    readers = usual_readers() if readers is None else readers
    clips_of_run = _training_clips(clips, wanted.value, ranks, reporter)
    with ranks.joined(place), clips_of_run as (opened, used):
        room = Room(used, place, ranks, readers, free_for(place, ranks))
        resolved = settle(wanted, room, _kept(folder), reporter)
        settings = resolved.value
        job = _job(settings, used, place, readers, ranks, reporter)
        if start is not None:
            start_from(job.method, settings, start)
        job.share_out()
        return plan_of(job, resolved, room, folder, len(opened))


def pretrain(
    clips: Path | Sequence[Path],
    choice: Choice | None = None,
    *,
    out: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    precision: str = "auto",
    readers: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    reporter: Reporter = SILENT,
) -> PretrainResult:
    """Train an encoder on unlabelled clips.

    A run that was interrupted goes on exactly where it stopped, when it is started again with
    the same settings or with ``resume``; other settings are refused.

    Args:
        clips: Clip set, folder, file or list of files.
        choice: Settings; defaults if left out.
        out: Folder of the run; ``runs/<method>-<preset>`` if left out, the newest for
            ``resume``.
        resume: Go on with the settings of the run.
        overwrite: Begin anew even if the run stands there.
        device: ``auto`` or PyTorch's name.
        precision: ``auto``, ``fp32`` or ``bf16``.
        readers: Threads that read clips ahead; chosen for this machine if left out.
        stop: Asked after every step whether to save and end.
        reporter: Who watches.

    Raises:
        UsageError: If the settings are not possible, or differ from those of the run.
        EchoError: If the clips cannot be used, or the loss stops being a number.
        SpaceError: If the states would not fit on the disk.
    """
    if resume:
        out = out or Study().latest_run()
    base = _settings_of(out) if resume and out else None
    chosen = choice or Choice()
    start = chosen.start()
    wanted = chosen.resolve(base, start)
    folder = out or default_run(wanted.value)
    ranks = launched()
    place = choose_device(ranks.device(device), precision)
    limit_threads()
    reporter = reporter if ranks.leads else SILENT
    readers = usual_readers() if readers is None else readers
    with ranks.joined(place), ExitStack() as stack:
        free = free_for(place, ranks)
        with ranks.leader_first():
            clips_of_run = _training_clips(clips, wanted.value, ranks, reporter)
            _, used = stack.enter_context(clips_of_run)
            room = Room(used, place, ranks, readers, free)
            kept = None if overwrite else _kept(folder)
            settings = settle(wanted, room, kept, reporter).value
            reporter.say(f"training {settings.method} ({settings.preset}) on {place}")
            job = _job(settings, used, place, readers, ranks, reporter)
            opened = overwritten(folder, overwrite=overwrite, writes=ranks.leads)
            run = stack.enter_context(opened)
            _begin_or_go_on(run, job, start, reporter)
        with full_memory_told(settings, place):
            done, loss = run_steps(job, run, ranks.agreed(stop), reporter)
        if loss is not None or not is_exported(run.model, done):
            export_model(job, run, done, loss)
        best = export_best(job, run, anew=loss is not None)
    return PretrainResult(
        run=folder,
        model=run.model,
        method=settings.method,
        preset=settings.preset,
        clips=len(job.rows),
        patients=job.patients,
        left_out=left_out_of(job),
        steps_done=done,
        steps=settings.optim.steps,
        loss=loss,
        device=str(place),
        best=run.best if best else None,
        best_step=best.step if best else None,
    )


def _listed(source: Path | Sequence[Path]) -> Sequence[Path]:
    return [source] if isinstance(source, Path) else source


def default_run(settings: Settings) -> Path:
    """Return where a run goes when no folder is named."""
    return Study().runs / f"{settings.method}-{settings.preset}"


@contextmanager
def _training_clips(
    source: Path | Sequence[Path], settings: Settings, ranks: Ranks, reporter: Reporter
) -> Iterator[tuple[ClipSet, ClipSet]]:
    """Open the clips and choose those to train on, saying which are not chosen."""
    if ranks.size > 1 and not all(ClipSet.is_one(p) for p in _listed(source)):
        raise UsageError(
            "Several processes can only read a clip set.",
            "Make one with `echocli preprocess` and name it.",
        )
    size = max(SIZE, *(stage.data.size for stage in settings.course))
    with open_clips(source, size=size, reporter=reporter) as opened:
        chosen, conditions = opened, _conditions(settings.where, opened)
        for condition in conditions:
            chosen = chosen.where(condition)
        if len(chosen) < len(opened):
            reporter.say(
                f"{len(opened) - len(chosen)} of {len(opened)} clip(s) do not meet "
                f"{' and '.join(conditions)!r} and are left out; --where '' takes all"
            )
        yield opened, chosen


def _conditions(where: str, clips: ClipSet) -> list[str]:
    """Return what clips must meet: the test split stays unseen unless it is asked for."""
    asked = [where] if where else []
    if "split" not in clips.manifest:
        return [] if where == WITHOUT_TEST else asked
    return asked if not where or re.search(r"\bsplit\b", where) else [where, WITHOUT_TEST]


def _job(
    settings: Settings,
    clips: ClipSet,
    place: Device,
    readers: int,
    ranks: Ranks,
    reporter: Reporter,
) -> Job:
    """Return what to train, saying which clips are left out or seen as they were not taken."""
    check_method(settings)
    job = Job(settings, clips, place, readers, reporter, ranks)
    check_frozen(job.method, settings)
    for stage, batches in job.stages:
        since = f"from step {stage.first} on, " if stage.first else ""
        if batches.left_out:
            reporter.warn(f"left out: {since}{describe_left_out(batches.left_out)}")
        for words in describe_mended(batches):
            reporter.warn(f"{since}{words}")
    return job


def _begin_or_go_on(run: Run, job: Job, start: LoadedModel | None, reporter: Reporter) -> None:
    details = details_of(job)
    if job.settings.init and not has_state(run.checkpoints):
        details["init"] = start_from(job.method, job.settings, start)
        if start is not None:
            tell_start(job.method, start, reporter)
    if run.exists:
        check_same(run, job.settings, details, reporter)
        run.mark_latest()
    else:
        check_space(run, job)
        run.begin(to_table(job.settings), details)


def _kept(folder: Path) -> dict[str, Any] | None:
    """Return the settings of a run that was begun, which hold wherever it goes on."""
    return _settings_of(folder) if Run(folder).exists else None


def _settings_of(folder: Path) -> dict[str, Any]:
    if not Run(folder).exists:
        raise EchoError(
            f"There is no run to resume in {folder}.",
            "Name one with -o, or start one without --resume.",
        )
    return dict(read_settings(folder / "config.json"))
