"""A whole study on phantom hearts, by the functions that the commands call."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from echocli.api import classify, lvef, segment
from echocli.api.embed import embed
from echocli.api.inspect import inspect
from echocli.api.preprocess import preprocess
from echocli.api.pretrain import Choice, pretrain
from echocli.api.report import report
from echocli.api.score import ScoreConfig, score
from echocli.console import SILENT, Reporter
from echocli.datasets.phantom import (
    Patient,
    PhantomConfig,
    draw_patient,
    write_dicom_study,
)
from echocli.errors import UsageError
from echocli.files import new_folder, read_record, write_json
from echocli.locks import locked
from echocli.phantoms.refusals import write_refusals
from echocli.study import Study

SCHEMA = "echocli.demo/1"
MARK = "demo.json"
"""File that says what a demonstration was made with."""
BEGUN = ".begun"
"""File that is locked while a demonstration is made, and gone when it is whole."""
OTHER = "other"
"""Folder of the files that cannot become clips."""
METHODS = ("discovr", "vjepa")
"""What is pretrained, without baselines; later steps use the model of the last."""
LEAST_PATIENTS = 15
"""Fewer leave too few normal ones to compare with."""
LOOK = "watch.health_every=10"
"""So short a run would otherwise look at its features once."""
FALSE_POSITIVE_RATE = 0.2
"""A rate of 0.05 would need 19 normal patients to set the threshold; the demo has fewer."""


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """How large the demonstration is."""

    patients: int = 48
    """Phantom patients, one DICOM loop each; prediction intervals need 45."""
    steps: int = 30
    """Training steps of each method: enough to see that training runs, no more."""
    seed: int = 0
    """Start of all random numbers."""
    rows: int = 300
    """Height of each DICOM file in pixels; a third more is its width."""

    def __post_init__(self) -> None:
        if self.patients < LEAST_PATIENTS or self.steps < 1:
            raise UsageError(
                f"The demonstration needs at least {LEAST_PATIENTS} patients and 1 step.",
                "Leave --patients and --steps out, or give larger numbers.",
            )


@dataclass(frozen=True)
class DemoStep:
    """One command of the demonstration."""

    command: str
    """As it would be typed in the study folder."""
    outcome: str
    """What came of it, in words."""
    seconds: float


@dataclass(frozen=True)
class DemoResult:
    """A study folder with everything in it."""

    study: Path
    report: Path
    steps: tuple[DemoStep, ...]

    @property
    def seconds(self) -> float:
        """How long it took."""
        return sum(step.seconds for step in self.steps)


@dataclass(frozen=True)
class _Task:
    command: str
    run: Callable[[], str]
    """Does the work and returns what came of it."""


def demo(
    out: Path,
    *,
    config: DemoConfig | None = None,
    overwrite: bool = False,
    device: str = "auto",
    precision: str = "auto",
    reporter: Reporter = SILENT,
) -> DemoResult:
    """Make a study folder and take it from DICOM files to a report.

    A demonstration that was interrupted is made anew.

    Args:
        out: The new folder.
        config: How large.
        overwrite: Replace a demonstration that stands there; anything else is refused.
        device: ``auto`` or PyTorch's name.
        precision: ``auto``, ``fp32`` or ``bf16``.
        reporter: Is told each command before it runs, and what came of it.

    Raises:
        UsageError: If ``out`` holds something, or another process is making it.
    """
    config = config or DemoConfig()
    overwrite |= _was_interrupted(out)
    if overwrite and out.exists() and not _is_demo(out):
        raise UsageError(
            f"{out} holds something else than a demonstration and is not replaced.",
            "Choose another place with -o.",
        )
    new_folder(out, overwrite=overwrite)
    with locked(out / BEGUN) as ours:
        if not ours:
            raise _taken(out)
        write_json(out / MARK, {"schema": SCHEMA, **asdict(config)})
        place = {"device": device, "precision": precision}
        steps = []
        for task in _tasks(Study(out), config, place, reporter):
            reporter.say(f"$ {task.command}")
            started = time.monotonic()
            outcome = task.run()
            seconds = time.monotonic() - started
            steps.append(DemoStep(task.command, outcome, round(seconds, 2)))
            reporter.say(f"  {outcome} ({seconds:.0f} s)")
    (out / BEGUN).unlink()
    return DemoResult(out, Study(out).report, tuple(steps))


def _was_interrupted(out: Path) -> bool:
    if not (out / BEGUN).is_file():
        return False
    with locked(out / BEGUN) as dead:
        if not dead:
            raise _taken(out)
    return True


def _taken(out: Path) -> UsageError:
    return UsageError(
        f"Another `echocli demo` is writing to {out}.",
        "Wait until it ends, or choose another place with -o.",
    )


def _is_demo(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    ours = read_record(folder / MARK, SCHEMA) is not None
    return ours or (folder / BEGUN).is_file() or not any(folder.iterdir())


def _tasks(
    study: Study, config: DemoConfig, place: dict[str, Any], reporter: Reporter
) -> Iterator[_Task]:
    """Yield the commands in their order."""
    sources = [study.root, study.root / OTHER]
    yield _Task(
        f"cd {study.root}",
        lambda: _draw(study, config, reporter),
    )
    yield _Task(
        f"echocli inspect dicom {OTHER}",
        lambda: _inspect([study.root / "dicom", study.root / OTHER], reporter),
    )
    yield _Task(f"echocli preprocess . {OTHER}", lambda: _preprocess(sources, study, reporter))
    run = study.runs
    for method in METHODS:
        run = study.runs / f"{method}-tiny"
        command = f"echocli pretrain --method {method} --preset tiny --steps {config.steps}"
        command += f" --set {LOOK}"
        command += f" --seed {config.seed}" if config.seed else ""
        yield _Task(command, _pretraining(study, run, method, config, place, reporter))
    yield _Task("echocli embed", lambda: _embed(study, run, place, reporter))
    yield _Task(
        f"echocli score --anomaly --false-positive-rate {FALSE_POSITIVE_RATE}",
        lambda: _score(study, config, reporter),
    )
    yield from _head_tasks(study, run, config, place, reporter)
    yield _Task("echocli report", lambda: _report(study, reporter))


def _head_tasks(
    study: Study, run: Path, config: DemoConfig, place: dict[str, Any], reporter: Reporter
) -> Iterator[_Task]:
    """Yield what is fitted on the frozen encoder."""
    told = {**place, "reporter": reporter}
    ef_head, mask_head = study.heads / "lvef", study.heads / "segment"
    class_head = study.heads / "classify"

    def fit_ef() -> str:
        settings = lvef.LvefConfig(seed=config.seed)
        fitted = lvef.fit(study.clips, run, ef_head, config=settings, **told)
        return f"a linear probe, fitted on {fitted.config['n']['train']['patients']} patients"

    def predict_ef() -> str:
        found = lvef.predict(study.clips, ef_head, study.predictions / "lvef.csv", **told)
        return _ef_words(found.summary)

    def fit_masks() -> str:
        settings = segment.SegmentConfig(seed=config.seed)
        fitted = segment.fit(study.clips, run, mask_head, config=settings, **told)
        return f"a linear head, fitted on {fitted.config['n']['train']['patients']} patients"

    def predict_masks() -> str:
        out = study.predictions / "segment"
        return _mask_words(segment.predict(study.clips, mask_head, out, **told).summary)

    def fit_classes() -> str:
        settings = classify.ClassifyConfig(label="normal", seed=config.seed)
        fitted = classify.fit(study.clips, run, class_head, config=settings, **told)
        return f"a linear probe, fitted on {fitted.config['n']['train']['patients']} patients"

    def predict_classes() -> str:
        out = study.predictions / "classify.csv"
        return _class_words(classify.predict(study.clips, class_head, out, **told).summary)

    seeded = f" --seed {config.seed}" if config.seed else ""
    yield _Task(f"echocli lvef fit{seeded}", fit_ef)
    yield _Task("echocli lvef predict", predict_ef)
    yield _Task(f"echocli segment fit{seeded}", fit_masks)
    yield _Task("echocli segment predict", predict_masks)
    yield _Task(f"echocli classify fit --label normal{seeded}", fit_classes)
    yield _Task("echocli classify predict", predict_classes)


def patients_of(config: DemoConfig) -> list[Patient]:
    """Return the phantom patients of a demonstration."""
    # Short loops of few frames: a window holds one second.
    phantoms = PhantomConfig(seconds=(1.05, 1.6), frame_rates_hz=(20.0, 40.0))
    return [draw_patient(config.seed, index, phantoms) for index in range(config.patients)]


def _draw(study: Study, config: DemoConfig, reporter: Reporter) -> str:
    patients, height, width = patients_of(config), config.rows, config.rows * 4 // 3
    with reporter.progress("draw hearts", len(patients)) as done:

        def counted() -> Iterator[Patient]:
            for patient in patients:
                yield patient
                done(1)

        files = write_dicom_study(study.root, counted(), height=height, width=width)
    other = write_refusals(study.root / OTHER, patients[0], height=height, width=width)
    return f"{len(files)} loops of invented hearts, {len(other)} files of other kinds"


def _inspect(folders: list[Path], reporter: Reporter) -> str:
    found = inspect(folders, reporter=reporter).summary
    return f"{found.n_usable} of {found.n_files} files can become clips"


def _preprocess(sources: list[Path], study: Study, reporter: Reporter) -> str:
    done = preprocess(sources, study.clips, reporter=reporter)
    return (
        f"{done.n_clips} de-identified clips of {done.n_patients} patients, "
        f"{len(done.quarantined)} sources refused"
    )


def _pretraining(
    study: Study,
    run: Path,
    method: str,
    config: DemoConfig,
    place: dict[str, Any],
    reporter: Reporter,
) -> Callable[[], str]:
    def train() -> str:
        choice = Choice(method, "tiny", config.steps, seed=config.seed, changes=(LOOK,))
        done = pretrain(study.clips, choice, out=run, reporter=reporter, **place)
        return f"{done.steps_done} steps on {done.clips} clips"

    return train


def _embed(study: Study, run: Path, place: dict[str, Any], reporter: Reporter) -> str:
    done = embed(study.clips, model=run, out=study.embeddings, reporter=reporter, **place)
    clips, dim = done.embeddings.vectors.shape
    return f"{clips} clips, {dim} numbers each"


def _score(study: Study, config: DemoConfig, reporter: Reporter) -> str:
    settings = ScoreConfig(false_positive_rate=FALSE_POSITIVE_RATE, seed=config.seed)
    done = score(study.embeddings, out=study.scores, config=settings, reporter=reporter)
    return f"{done.summary['n_anomalous']} of {done.summary['n_clips']} clips called anomalous"


def _ef_words(summary: dict[str, Any]) -> str:
    metrics = summary.get("metrics")
    if not metrics:
        return f"{summary['n_clips']} ejection fractions"
    mean = summary["predict_the_mean"]["mae"]["value"]
    return (
        f"error {metrics['mae']['value']:.1f} points on {summary['test']['patients']} test "
        f"patients; predicting the mean would make {mean:.1f}"
    )


def _mask_words(summary: dict[str, Any]) -> str:
    metrics = summary.get("metrics")
    if not metrics:
        return f"masks of {summary['n_clips']} clips"
    dice, of_mean = metrics["dice"]["lv_cavity"], summary["mean_map"]["dice"]["lv_cavity"]
    return (
        f"Dice of the cavity {dice['value']:.2f} on {summary['test']['patients']} test "
        f"patients; always drawing the mean shape would make {of_mean['value']:.2f}"
    )


def _class_words(summary: dict[str, Any]) -> str:
    metrics = summary.get("patient_metrics")
    if not metrics:
        return f"classes of {summary['n_clips']} clips"
    return (
        f"AUROC of abnormal hearts {metrics['auroc']['value']:.2f} on "
        f"{summary['test']['patients']} test patients; 0.5 is chance"
    )


def _report(study: Study, reporter: Reporter) -> str:
    done = report(study.root, reporter=reporter)
    return f"one page of {done.megabytes:.1f} MB"
