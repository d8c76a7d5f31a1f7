"""The two-class vote by which the DISCOVR release judges its features, without its leaks.

There the clips to be judged stand in the bank themselves, as bank and queries are read from one
list; here only clips of the training split vote, and none on its own patient.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from echocli.api._normal import normality
from echocli.api._output import refuse_to_replace_table, write_table
from echocli.api._score.bank import (
    bank_from,
    check_vectors,
    find,
    nearest_names,
    origin_of,
    patients_of,
)
from echocli.api._splits import splits_of
from echocli.console import SILENT, Reporter
from echocli.errors import EchoError, UsageError
from echocli.models.tasks.vote import TEMPERATURE, WeightedVote
from echocli.statistics.bootstrap import DRAWS, Metric, Values, as_json, bootstrap_intervals
from echocli.statistics.classification import (
    auroc,
    average_precision,
    balanced_accuracy,
    f1,
    sensitivity,
    specificity,
)
from echocli.tables import key_of, open_embeddings

SCHEMA = "echocli.vote/1"


@dataclass(frozen=True, kw_only=True)
class VoteConfig:
    """How votes are cast."""

    k: int = 10
    """Nearest clips that vote."""
    temperature: float = TEMPERATURE
    """A vote weighs exp(cosine / temperature)."""
    seed: int = 0
    """Start of the bootstrap's random numbers."""
    draws: int = DRAWS
    """Bootstrap samples."""

    def __post_init__(self) -> None:
        if self.k < 1 or self.temperature <= 0:
            raise UsageError(
                f"--k is {self.k}, the temperature {self.temperature:g}.", "Both are above 0."
            )


@dataclass(frozen=True)
class VoteResult:
    """What the nearest clips say of each clip."""

    table: pd.DataFrame
    """clip_id, patient_id, share_abnormal, called_abnormal, normal, split, role, nearest."""
    summary: dict[str, Any]
    """What ``votes.json`` holds."""
    out: Path | None
    """Where the table was written; ``None`` if it was not."""


def vote(
    embeddings: Path | str,
    *,
    normal_rule: str | None = None,
    out: Path | None = None,
    config: VoteConfig | None = None,
    device: str = "cpu",
    overwrite: bool = False,
    reporter: Reporter = SILENT,
) -> VoteResult:
    """Let the nearest labelled clips of the training split vote on every clip.

    Args:
        embeddings: Table written by ``embed``; ``-`` reads it from standard input.
        normal_rule: Conditions on label columns; the column ``normal`` if left out.
        out: CSV to write, with a JSON file beside it; nothing is written if left out.
        config: Settings.
        device: Where to compute.
        overwrite: Replace what stands at ``out``.
        reporter: Is told what matters.

    Raises:
        UsageError: If nothing says which clips are normal.
        EchoError: If the table cannot be used, or the training split holds one class only.
    """
    config = config or VoteConfig()
    refuse_to_replace_table(out, overwrite=overwrite)
    stored = open_embeddings(embeddings)
    check_vectors(stored, "The embeddings", reporter)
    labels = normality(stored.table, normal_rule)
    splits, patients = splits_of(stored.table), patients_of(stored)
    abnormal = labels.known & ~labels.normal
    bank = labels.known & (splits == "train")
    _check_classes(abnormal[bank], patients[bank])
    judge = WeightedVote(config.k, config.temperature)
    judge.fit(bank_from(stored, bank), torch.from_numpy(abnormal[bank]))
    found = find(judge, stored, stored, np.ones(len(bank), np.bool_), device)
    share, key = found.scores, key_of(stored.table)
    normal = pd.Series(labels.normal, dtype="boolean").where(labels.known)
    columns = {
        key: stored.table[key],
        "patient_id": patients,
        "share_abnormal": share,
        "called_abnormal": share > 0.5,
        "normal": normal,
        "split": splits,
        "role": np.where(bank, "bank", "scored"),
        "nearest": nearest_names(stored, bank, found),
    }
    table = pd.DataFrame(columns)
    tested = labels.known & (splits == "test")
    summary: dict[str, Any] = {
        "source_of_normal": labels.source,
        "n_rows": len(table),
        "n_clips": len(table),
        "n_patients": len(set(patients)),
        "k": config.k,
        "temperature": config.temperature,
        "bank": _counts(bank, patients, abnormal),
        "test": _counts(tested, patients, abnormal),
        "metrics": _metrics(abnormal[tested], share[tested], patients[tested], config),
        "intervals": {"level": 0.95, "draws": config.draws, "seed": config.seed},
        **origin_of(stored),
    }
    if summary["metrics"] is None:
        reporter.say(
            f"No evaluation: {summary['test']['clips']} labelled test clip(s), "
            f"{summary['test']['abnormal_clips']} of them abnormal; both kinds are needed."
        )
    if out is not None:
        write_table(out, table, {"schema": SCHEMA, **summary}, overwrite=overwrite)
    return VoteResult(table, summary, out)


def _check_classes(abnormal: NDArray[np.bool_], patients: NDArray[np.str_]) -> None:
    """Check that both classes can vote on anybody.

    Raises:
        EchoError: If the training split holds one class, or one patient, only.
    """
    count = int(abnormal.sum())
    if not 0 < count < len(abnormal):
        raise EchoError(
            f"The training split holds {len(abnormal) - count} normal and {count} abnormal "
            "labelled clip(s); a vote needs both.",
            "Use `echocli score --anomaly`, which needs normal clips only.",
        )
    if len(set(patients)) < 2:
        raise EchoError(
            "The training split holds one labelled patient, whose clips vote on no own clip.",
            "Bring more patients.",
        )


def _counts(
    chosen: NDArray[np.bool_], patients: NDArray[np.str_], abnormal: NDArray[np.bool_]
) -> dict[str, int]:
    return {
        "clips": int(chosen.sum()),
        "patients": len(set(patients[chosen])),
        "abnormal_clips": int(abnormal[chosen].sum()),
    }


def macro_f1(positive: NDArray[np.bool_], called: NDArray[np.bool_], weights: Values) -> Values:
    """Return the mean of the F1 of both classes; NaN where one has no row."""
    both = f1(positive, called, weights) + f1(~positive, ~called, weights)
    return np.asarray(both / 2)


def _metrics(
    abnormal: NDArray[np.bool_],
    share: NDArray[np.float64],
    patients: NDArray[np.str_],
    config: VoteConfig,
) -> dict[str, dict[str, float | None]] | None:
    """Return the release's figures and areas under curves; ``None`` for one class only."""
    if abnormal.all() or not abnormal.any():
        return None
    called = share > 0.5
    metrics: dict[str, Metric] = {
        "macro_f1": lambda w: macro_f1(abnormal, called, w),
        "balanced_accuracy": lambda w: balanced_accuracy(abnormal, called, w),
        "sensitivity": lambda w: sensitivity(abnormal, called, w),
        "specificity": lambda w: specificity(abnormal, called, w),
        "auroc": lambda w: auroc(abnormal, share, w),
        "auprc": lambda w: average_precision(abnormal, share, w),
    }
    found = bootstrap_intervals(metrics, patients, seed=config.seed, draws=config.draws)
    return as_json(found)
