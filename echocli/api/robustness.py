"""How much worse a model does on worse acquisitions: the same clips with graded faults."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from echocli.api._encode import open_set
from echocli.api._output import folder_beside, refuse_to_replace_folder, whole_folder
from echocli.api._robust_clips import Fault, write_with_fault
from echocli.api._robust_judges import (
    HEADS,
    LOWER_IS_BETTER,
    TASKS,
    Judge,
    Judged,
    make_bank,
)
from echocli.checkpoint import find_model, load_head, load_model
from echocli.clips.store import ClipSet
from echocli.console import SILENT, Reporter
from echocli.device import choose_device
from echocli.errors import UsageError
from echocli.files import sums_of, write_json
from echocli.models.perturb import PERTURBATIONS
from echocli.reports.drops import draw_drops, draw_faults
from echocli.statistics.bootstrap import DRAWS, LEVEL, bootstrap_intervals
from echocli.statistics.paired import paired_bootstrap
from echocli.study import Study

SCHEMA = "echocli.robustness/1"
CLEAN = "none"
"""What the rows without a fault are called."""


@dataclass(frozen=True, kw_only=True)
class RobustnessConfig:
    """Which faults, how strong."""

    perturbations: tuple[str, ...] = tuple(PERTURBATIONS)
    """Of ``models/perturb.py``."""
    strengths: tuple[float, ...] = (0.25, 0.5, 1.0)
    """Above 0, at most 1."""
    seed: int = 0
    """Start of all random numbers, of the faults and of the bootstrap."""
    draws: int = DRAWS
    """Bootstrap samples."""

    def __post_init__(self) -> None:
        for name in self.perturbations:
            if name not in PERTURBATIONS:
                raise UsageError(
                    f"There is no perturbation {name}.",
                    f"Choose among {', '.join(PERTURBATIONS)}.",
                )
        if not self.perturbations or not self.strengths:
            raise UsageError("There is nothing to do.", "Name a perturbation and a strength.")
        if not all(0 < strength <= 1 for strength in self.strengths):
            raise UsageError(
                f"The strengths are {', '.join(f'{s:g}' for s in self.strengths)}.",
                "Give shares above 0 and at most 1; 0, no fault, is always there.",
            )

    @property
    def faults(self) -> list[Fault]:
        """All of them."""
        strengths = sorted(set(self.strengths))
        return [Fault(name, strength) for name in self.perturbations for strength in strengths]


@dataclass(frozen=True)
class RobustnessResult:
    """Figures without and with every fault."""

    table: pd.DataFrame
    """perturbation, strength, figure, value, low, high, worse_by, worse_low, worse_high,
    p_value, rows, patients. ``worse_by`` is the paired difference to the clips as they are,
    positive where a model does worse."""
    summary: dict[str, Any]
    """What ``robustness.json`` holds."""
    out: Path | None
    left_out: list[dict[str, str]]
    """What got no result: clip_id and reason."""


def robustness(
    task: str,
    clips: Path,
    out: Path | None = None,
    *,
    head: Path | None = None,
    model: Path | None = None,
    normal_rule: str | None = None,
    config: RobustnessConfig | None = None,
    overwrite: bool = False,
    device: str = "auto",
    precision: str = "auto",
    reporter: Reporter = SILENT,
) -> RobustnessResult:
    """Repeat an evaluation on the same test clips with graded faults of the acquisition.

    Clips with a fault are written beside ``out``, one fault at a time, and gone afterwards.

    Args:
        task: ``lvef``, ``segment``, ``classify`` or ``score``.
        clips: Clip set with labels or masks.
        out: Folder of the table, the figures and ``robustness.json``; nothing is written if
            left out.
        head: Folder written by the task's ``fit``; ``score`` has none.
        model: The encoder; the one the head remembers, for ``score`` the newest run, if left
            out.
        normal_rule: What is normal, for ``score``.
        config: Settings.
        overwrite: Replace what stands at ``out``.
        device: Where to compute.
        precision: How exactly.
        reporter: Is told what matters.

    Raises:
        UsageError: If the task, a perturbation or a strength makes no sense.
        EchoError: If no labelled clip is of a patient that the head never saw.
    """
    config = config or RobustnessConfig()
    if task not in TASKS:
        raise UsageError(f"There is no task {task}.", f"Choose among {', '.join(TASKS)}.")
    if task in HEADS and head is None:
        raise UsageError(f"{task} needs a head.", f"Fit one: `echocli {task} fit`.")
    if task not in HEADS and head is not None:
        raise UsageError(f"--head is of no use: {task} has none.", "Leave it out.")
    if task in HEADS and normal_rule is not None:
        raise UsageError(
            f"--normal-rule is for score; {task} reads its own label.", "Leave it out."
        )
    if out is not None:
        refuse_to_replace_folder(out, overwrite=overwrite)
    opened = open_set(clips, reporter)
    if task == "score":
        model = find_model(model, Study())
    place = {"device": device, "precision": precision}
    judge = Judge(task=task, head=head, model=model, place=place, normal_rule=normal_rule)
    rows = judge.rows(opened)
    if task in HEADS:
        reporter.say(f"encoding on {choose_device(device, precision)}")
    with folder_beside(out) if out else tempfile.TemporaryDirectory() as name:
        work = Path(name)
        if task == "score":
            bank = work / "bank.parquet"
            make_bank(judge, clips, bank, reporter)
            judge = replace(judge, bank=bank)
        clean, table = _compare(opened, rows, judge, config, work, reporter)
    summary: dict[str, Any] = {
        "task": task,
        "head": None if head is None else str(head),
        "model_sha256": _sha256_of_model(task, head, model),
        "rows": len(clean.rows),
        "patients": len(set(clean.patients.tolist())),
        "perturbations": list(config.perturbations),
        "strengths": sorted(set(config.strengths)),
        "intervals": {"level": LEVEL, "seed": config.seed, "draws": config.draws},
        "left_out": clean.left_out,
    }
    if out is not None:
        with whole_folder(out, overwrite=overwrite) as folder:
            table.to_csv(folder / "robustness.csv", index=False)
            draw_drops(table, folder / "robustness.png", LOWER_IS_BETTER)
            examples = _examples(opened, rows[0], config)
            draw_faults(examples, [0.0, *summary["strengths"]], folder / "faults.png")
            sums = sums_of(folder, ["robustness.csv", "robustness.png", "faults.png"])
            write_json(
                folder / "robustness.json", {"schema": SCHEMA, "sha256": sums, **summary}
            )
    return RobustnessResult(table, summary, out, clean.left_out)


def _compare(
    clips: ClipSet,
    rows: list[int],
    judge: Judge,
    config: RobustnessConfig,
    work: Path,
    reporter: Reporter,
) -> tuple[Judged, pd.DataFrame]:
    """Judge the clips as they are and with every fault."""
    found: list[dict[str, Any]] = []
    with reporter.progress("conditions", 1 + len(config.faults)) as done:
        clean = _judge(clips, rows, judge, None, config.seed, work)
        found += _figures(clean, None, None, config)
        done(1)
        for fault in config.faults:
            faulty = _judge(clips, rows, judge, fault, config.seed, work)
            assert faulty.rows == clean.rows, "a fault changed which clips can be read"
            found += _figures(faulty, clean, fault, config)
            done(1)
    return clean, pd.DataFrame(found)


def _judge(
    clips: ClipSet, rows: list[int], judge: Judge, fault: Fault | None, seed: int, work: Path
) -> Judged:
    with tempfile.TemporaryDirectory(dir=work) as folder:
        copies = Path(folder) / "clips"
        write_with_fault(clips, rows, copies, fault, seed)
        clips.forget()
        return judge(copies)


def _figures(
    judged: Judged, clean: Judged | None, fault: Fault | None, config: RobustnessConfig
) -> Iterator[dict[str, Any]]:
    """Yield a row of the table for each figure."""
    how = {"seed": config.seed, "draws": config.draws}
    intervals = bootstrap_intervals(judged.metrics, judged.patients, **how)
    for name, value in intervals.items():
        if clean is not None and name not in clean.metrics:
            continue  # a structure that is drawn under this fault only
        row: dict[str, Any] = {
            "perturbation": CLEAN if fault is None else fault.name,
            "strength": 0.0 if fault is None else fault.strength,
            "figure": name,
            **asdict(value),
            **dict.fromkeys(("worse_by", "worse_low", "worse_high", "p_value"), np.nan),
            "rows": len(judged.rows),
            "patients": len(set(judged.patients.tolist())),
        }
        if clean is not None:
            pair = judged.metrics[name], clean.metrics[name]
            worse, better = pair if name in LOWER_IS_BETTER else pair[::-1]
            test = paired_bootstrap(worse, better, judged.patients, **how)
            drop = test.difference
            row |= {"worse_by": drop.value, "worse_low": drop.low, "worse_high": drop.high}
            row["p_value"] = test.p_value
        yield row


def _sha256_of_model(task: str, head: Path | None, model: Path | None) -> str:
    if head is not None:
        return str(load_head(head, task)[1]["model_sha256"])
    assert model is not None
    return load_model(model).sha256


def _examples(
    clips: ClipSet, row: int, config: RobustnessConfig
) -> dict[str, list[np.ndarray[Any, np.dtype[np.uint8]]]]:
    """Return a frame of a clip with each fault, weakest first, after the frame as it is."""
    frames, sector = clips.frames(row), clips.sector(row)
    seed = f"{config.seed}/{clips.manifest['clip_id'].iloc[row]}"
    middle = len(frames) // 2
    examples = {name: [frames[middle]] for name in config.perturbations}
    for fault in config.faults:
        examples[fault.name].append(fault.frames(frames, sector, seed)[middle])
    return examples
