"""Anomaly scores: how far each clip lies from the normal ones, and how surprising that is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.api._normal import Flags, Roles, choose_roles, normality, patients_needed
from echocli.api._output import refuse_to_replace_table, write_table
from echocli.api._score.bank import (
    bank_from,
    check_same_origin,
    check_vectors,
    find,
    nearest_names,
    origin_of,
    patients_of,
    whitening_of,
)
from echocli.api._score.figures import evaluation
from echocli.api._score.rows import ROLES, Judged, table_of, tested
from echocli.api._splits import splits_of
from echocli.console import SILENT, Reporter
from echocli.errors import EchoError, UsageError
from echocli.models.tasks.anomaly import DISTANCES, Distance, NearestNormals
from echocli.statistics.bootstrap import DRAWS
from echocli.table_formats import Stored
from echocli.tables import key_of, open_embeddings

SCHEMA = "echocli.score/1"
PER = ("clip", "patient")
AGGREGATES = ("mean", "max")


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """How anomaly scores are made."""

    k: int = 10
    """Nearest normal clips whose mean distance is the score."""
    distance: str = "cosine"
    """``cosine``, ``whitened`` or ``mahalanobis``; see ``models/tasks/anomaly.py``."""
    per: str = "clip"
    """``patient`` judges patients, by the mean or the largest of their clips' scores."""
    aggregate: str = "mean"
    """``mean`` or ``max`` of the scores of a patient's clips."""
    false_positive_rate: float = 0.05
    """Share of normal patients that may be called anomalous."""
    seed: int = 0
    """Start of the bootstrap's random numbers."""
    draws: int = DRAWS
    """Bootstrap samples."""

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError(f"--k is {self.k}.", "Give the number of neighbours, 1 or more.")
        if not 0 < self.false_positive_rate < 1:
            raise UsageError(
                f"--false-positive-rate is {self.false_positive_rate}.",
                "Give a share between 0 and 1, such as 0.05.",
            )
        for option, choices in (
            ("distance", DISTANCES),
            ("per", PER),
            ("aggregate", AGGREGATES),
        ):
            if getattr(self, option) not in choices:
                raise UsageError(
                    f"There is no --{option} {getattr(self, option)}.",
                    f"Choose among {', '.join(choices)}.",
                )


@dataclass(frozen=True)
class ScoreResult:
    """Scores of all clips, and how well they tell abnormal from normal where that is known."""

    table: pd.DataFrame
    """clip_id, patient_id, score, p_value, anomalous, normal, split, role, nearest; one row a
    patient, with the number of its ``clips``, if patients are judged."""
    summary: dict[str, Any]
    """What ``scores.json`` holds."""
    out: Path | None
    """Where the table was written; ``None`` if it was not."""


@dataclass(frozen=True)
class _Case:
    """What is scored, against what."""

    queries: Stored
    reference: Stored
    """The table that holds the normals; the same if they are found in it."""
    known: Flags
    """Which queries are labelled."""
    normal: Flags
    """Which of these are normal."""
    bank: Flags
    """Which rows of the reference are normal."""
    source: str
    """What said so, in words: clips are normal according to it."""


def score(
    embeddings: Path | str,
    *,
    normals: Path | None = None,
    normal_rule: str | None = None,
    out: Path | None = None,
    config: ScoreConfig | None = None,
    device: str = "cpu",
    overwrite: bool = False,
    reporter: Reporter = SILENT,
) -> ScoreResult:
    """Score every clip against normal clips of other patients.

    Tables are read a part at a time; of a bank of millions only ids are held in memory.

    Args:
        embeddings: Table written by ``embed``; ``-`` reads it from standard input.
        normals: Embeddings of normal clips, from the same model; of those with labels only
            the normal ones are used. Left out, normals are found in the table itself, by
            ``normal_rule`` or by its column ``normal``.
        normal_rule: Conditions on label columns, such as ``ef_percent>=55``.
        out: CSV to write, with a JSON file beside it; nothing is written if left out.
        config: Settings.
        device: Where to compute.
        overwrite: Replace what stands at ``out``.
        reporter: Is told what matters.

    Raises:
        UsageError: If nothing says which clips are normal.
        EchoError: If the tables cannot be used or come from different models.
    """
    config = config or ScoreConfig()
    refuse_to_replace_table(out, overwrite=overwrite)
    case = _case(embeddings, normals, normal_rule, reporter)
    patients = patients_of(case.reference)
    rate = config.false_positive_rate
    roles = choose_roles(case.bank, splits_of(case.reference.table), patients, rate)
    by_clip, fitted = _judge(case, roles, config, device)
    by_patient = by_clip.by_patient(config.aggregate)
    told = by_patient if config.per == "patient" else by_clip
    limit = told.limit(rate)
    table = table_of(told, limit)
    judges = set(patients[roles.bank | roles.calibration])
    summary = {
        "source_of_normal": case.source,
        "per": config.per,
        "aggregate": config.aggregate,
        "n_rows": len(table),
        "n_clips": len(by_clip.rows),
        "n_patients": len(by_patient.rows),
        **_counts(patients, roles),
        "n_anomalous": int(table["anomalous"].sum()),
        "distance": config.distance,
        **fitted,
        "k": config.k,
        "false_positive_rate": rate,
        "threshold": limit if math.isfinite(limit) else None,
        **evaluation(
            tested(by_clip, judges),
            tested(by_patient, judges),
            (by_clip.limit(rate), by_patient.limit(rate)),
            seed=config.seed,
            draws=config.draws,
        ),
        **origin_of(case.queries),
    }
    _tell(summary, config, reporter)
    if out is not None:
        write_table(out, table, {"schema": SCHEMA, **summary}, overwrite=overwrite)
    return ScoreResult(table, summary, out)


def _case(
    embeddings: Path | str, normals: Path | None, rule: str | None, reporter: Reporter
) -> _Case:
    """Open the tables and look at every row of them.

    Raises:
        UsageError: If nothing says which clips are normal.
        EchoError: If the tables cannot be used or come from different models.
    """
    queries = open_embeddings(embeddings)
    check_vectors(queries, "The embeddings", reporter)
    if normals is None:
        found = normality(queries.table, rule)
        return _Case(queries, queries, found.known, found.normal, found.normal, found.source)
    reference = open_embeddings(normals, "The file given by --normals")
    check_vectors(reference, "The embeddings given by --normals", reporter)
    check_same_origin(queries, reference)
    known = normal = np.zeros(len(queries.table), np.bool_)
    try:
        found = normality(queries.table, rule)
        known, normal = found.known, found.normal
        must = False
    except UsageError:  # what is scored may be unlabelled
        must = rule is not None
    bank, source = _normal_rows(reference, rule, reporter, must=must)
    return _Case(queries, reference, known, normal, bank, source)


def _normal_rows(
    reference: Stored, rule: str | None, reporter: Reporter, *, must: bool
) -> tuple[Flags, str]:
    """Return which rows given as normal are, by their own labels where they have some.

    Args:
        reference: The table.
        rule: The rule that was given.
        reporter: Is told of rows that are not used.
        must: Whether the rule has to apply here, as it does not to the other table.

    Raises:
        UsageError: If it does not.
        EchoError: If no row is normal.
    """
    source = "--normals"
    try:
        found = normality(reference.table, rule)
    except UsageError:
        if must:
            raise
        # It has no such labels: whoever gave it says that all are normal.
        return np.ones(len(reference.table), np.bool_), source
    abnormal, unknown = int((found.known & ~found.normal).sum()), int((~found.known).sum())
    if not found.normal.any():
        raise EchoError(
            f"No row given by --normals is normal by {found.source}.",
            "Give embeddings of normal clips.",
        )
    if abnormal or unknown:
        reporter.warn(
            f"--normals holds {abnormal} row(s) that are abnormal and {unknown} that are "
            f"unknown, by {found.source}: only the {int(found.normal.sum())} normal ones are "
            "compared with."
        )
    return found.normal, f"{source} and {found.source}"


def _judge(
    case: _Case, roles: Roles, config: ScoreConfig, device: str
) -> tuple[Judged, dict[str, float]]:
    """Return the scores of all rows, and what was fitted for them."""
    queries, reference = case.queries, case.reference
    whitening = None
    fitted: dict[str, float] = {}
    if config.distance != "cosine":
        whitening, fitted = whitening_of(reference, roles.bank)
    judge = NearestNormals(config.k, cast(Distance, config.distance), whitening)
    judge.fit(bank_from(reference, roles.bank))
    everything = np.ones(len(queries.table), np.bool_)
    found = find(judge, reference, queries, everything, device)
    if reference is queries:
        calibration = found.scores[roles.calibration]
    else:
        calibration = find(judge, reference, reference, roles.calibration, device).scores
    calibrators = patients_of(reference)[roles.calibration]
    rows = pd.DataFrame(
        {
            **({"clip_id": queries.table["clip_id"]} if "clip_id" in queries.table else {}),
            "patient_id": patients_of(queries),
            "score": found.scores,
            "split": splits_of(queries.table),
            "role": _role_names(queries, reference, roles),
            "nearest": nearest_names(reference, roles.bank, found),
            "known": case.known,
            "abnormal": case.known & ~case.normal,
        }
    )
    return Judged(rows, pd.DataFrame({"patient_id": calibrators, "score": calibration})), fitted


def _role_names(queries: Stored, reference: Stored, roles: Roles) -> NDArray[np.str_]:
    key = key_of(queries.table)
    own, named = queries.table[key], reference.table[key]
    return np.select(
        [own.isin(named[roles.bank]), own.isin(named[roles.calibration])], ROLES[:2], ROLES[2]
    )


def _counts(patients: NDArray[np.str_], roles: Roles) -> dict[str, dict[str, int]]:
    return {
        name: {"clips": int(rows.sum()), "patients": len(set(patients[rows]))}
        for name, rows in (("bank", roles.bank), ("calibration", roles.calibration))
    }


def _tell(summary: dict[str, Any], config: ScoreConfig, reporter: Reporter) -> None:
    if summary["threshold"] is None:
        reporter.warn(
            f"{summary['calibration']['patients']} normal patients calibrate; a false-positive "
            f"rate of {config.false_positive_rate:g} needs "
            f"{patients_needed(config.false_positive_rate)}. No clip is called anomalous; "
            "scores and p-values hold. Bring more normals or allow a higher rate."
        )
    test = summary["test"]
    if summary["metrics"] is None:
        reporter.say(
            f"No evaluation: {test['clips']} labelled test clip(s), "
            f"{test['abnormal_clips']} of them abnormal; both kinds are needed."
        )
