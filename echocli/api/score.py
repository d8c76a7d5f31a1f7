"""Anomaly scores: how far each clip lies from the normal ones, and how surprising that is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from echocli.api._normal import Flags, Roles, choose_roles, normality, patients_needed
from echocli.api._output import refuse_to_replace
from echocli.api._splits import splits_of
from echocli.console import SILENT, Reporter
from echocli.errors import EchoError, UsageError
from echocli.files import atomic_path, sums_of, write_json
from echocli.models.neighbours import NOBODY
from echocli.models.tasks.anomaly import NearestNormals, mean_distance
from echocli.statistics.bootstrap import DRAWS, Interval
from echocli.statistics.classification import classification
from echocli.statistics.conformal import p_values, threshold
from echocli.tables import Embeddings, read_embeddings

SCHEMA = "echocli.score/1"
NEAREST_TOLD = 3
"""How many of the nearest normal clips are named beside each score."""


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """How anomaly scores are made."""

    k: int = 10
    """Nearest normal clips whose mean cosine distance is the score."""
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


@dataclass(frozen=True)
class ScoreResult:
    """Scores of all clips, and how well they tell abnormal from normal where that is known."""

    table: pd.DataFrame
    """clip_id, patient_id, score, p_value, anomalous, normal, split, role, nearest."""
    summary: dict[str, Any]
    """What ``scores.json`` holds."""
    out: Path | None
    """Where the table was written; ``None`` if it was not."""


def score(
    embeddings: Path | str,
    *,
    normals: Path | None = None,
    normal_rule: str | None = None,
    out: Path | None = None,
    config: ScoreConfig | None = None,
    overwrite: bool = False,
    reporter: Reporter = SILENT,
) -> ScoreResult:
    """Score every clip against normal clips of other patients.

    Args:
        embeddings: Table written by ``embed``; ``-`` reads it from standard input.
        normals: Embeddings of normal clips, from the same model; else normals are found in the
            table by ``normal_rule`` or by its column ``normal``.
        normal_rule: Conditions on label columns, such as ``ef_percent>=55``.
        out: CSV to write, with a JSON file beside it; nothing is written if left out.
        config: Settings.
        overwrite: Replace what stands at ``out``.
        reporter: Is told what matters.

    Raises:
        UsageError: If nothing says which clips are normal.
        EchoError: If the tables cannot be used or come from different models.
    """
    config = config or ScoreConfig()
    for path in _outputs(out):
        refuse_to_replace(path, overwrite=overwrite)
    queries = read_embeddings(embeddings)
    _check_vectors(queries)
    reference = queries if normals is None else read_embeddings(normals)
    if normals is not None:
        _check_same_origin(queries, reference)
        _check_all_normal(reference)
    known, normal, source = _normality(queries, normal_rule, given=normals is not None)
    is_normal = np.ones(len(reference.table), np.bool_) if normals is not None else normal
    roles = choose_roles(
        is_normal,
        splits_of(reference.table),
        _patients(reference),
        config.false_positive_rate,
    )
    table, limit = _score_table(queries, reference, roles, config)
    if known.any():
        table.insert(5, "normal", pd.Series(normal, dtype="boolean").where(known))
    judges = set(_patients(reference)[roles.bank | roles.calibration])
    tested = known & (splits_of(queries.table) == "test")
    tested &= ~np.isin(_patients(queries), sorted(judges))
    summary = {
        "source_of_normal": source if normals is None else "the embeddings given by --normals",
        **_counts(reference, roles, table),
        "k": config.k,
        "false_positive_rate": config.false_positive_rate,
        "threshold": limit if math.isfinite(limit) else None,
        **_evaluation(table[tested], ~normal[tested], limit, config),
        "model_sha256": queries.metadata.get("model_sha256"),
        "pool": queries.metadata.get("pool"),
    }
    _tell(summary, config, reporter)
    if out is not None:
        _write(out, table, summary)
    return ScoreResult(table, summary, out)


def _outputs(out: Path | None) -> list[Path]:
    return [] if out is None else [out, out.with_suffix(".json")]


def _write(out: Path, table: pd.DataFrame, summary: dict[str, Any]) -> None:
    with atomic_path(out) as temporary:
        table.to_csv(temporary, index=False)
    sums = sums_of(out.parent, [out.name])
    write_json(out.with_suffix(".json"), {"schema": SCHEMA, "sha256": sums, **summary})


def _patients(embeddings: Embeddings) -> NDArray[np.str_]:
    return embeddings.table["patient_id"].astype(str).to_numpy(dtype=np.str_)


def _check_vectors(embeddings: Embeddings) -> None:
    vectors = embeddings.vectors
    if not len(vectors):
        raise EchoError("The embeddings hold no clip.", "Run `echocli embed` on some clips.")
    bad = ~np.isfinite(vectors).all(axis=1) | ~vectors.any(axis=1)
    if bad.any():
        first = embeddings.table["clip_id"].iloc[int(np.argmax(bad))]
        raise EchoError(
            f"{bad.sum()} embedding(s) are NaN, infinite or zero, first that of clip {first}.",
            "Run `echocli embed --overwrite`; if it stays so, the model has collapsed.",
        )


def _check_same_origin(queries: Embeddings, reference: Embeddings) -> None:
    _check_vectors(reference)
    for key in ("model_sha256", "pool", "data"):
        ours, theirs = queries.metadata.get(key), reference.metadata.get(key)
        if ours != theirs:
            raise EchoError(
                f"The two tables of embeddings differ in {key}: {ours} and {theirs}.",
                "Embed both with one model: `echocli embed CLIPS --model MODEL -o FILE`.",
            )


def _check_all_normal(reference: Embeddings) -> None:
    """Refuse a table given as normal whose own labels say otherwise."""
    if "normal" not in reference.table:
        return
    said = reference.table["normal"].map(str).str.lower()
    abnormal = said.isin(["false", "0", "0.0"]).to_numpy()
    if abnormal.any():
        first = reference.table["clip_id"].iloc[int(np.argmax(abnormal))]
        raise EchoError(
            f"{abnormal.sum()} of the {len(abnormal)} clips given by --normals are labelled "
            f"abnormal, first clip {first}.",
            "Give embeddings of normal clips only, or leave --normals out where the table to "
            "score has the labels.",
        )


def _normality(
    queries: Embeddings, rule: str | None, *, given: bool
) -> tuple[Flags, Flags, str]:
    """Return known, normal and what said so; with ``--normals`` it may remain unknown."""
    try:
        found = normality(queries.table, rule)
    except UsageError:
        if not given or rule is not None:
            raise
        unknown = np.zeros(len(queries.table), np.bool_)
        return unknown, unknown, ""
    return found.known, found.normal, found.source


def _score_table(
    queries: Embeddings, reference: Embeddings, roles: Roles, config: ScoreConfig
) -> tuple[pd.DataFrame, float]:
    """Return the rows of the result, and the threshold."""
    bank = NearestNormals(config.k)
    in_bank = _patients(reference)[roles.bank]
    names, numbers = np.unique(in_bank, return_inverse=True)
    bank.fit(torch.from_numpy(reference.vectors[roles.bank]), torch.from_numpy(numbers))
    number_of = {str(name): number for number, name in enumerate(names)}

    def scored(vectors: NDArray[np.float32], patients: NDArray[np.str_]) -> Any:  # noqa: ANN401
        own = torch.tensor([number_of.get(str(patient), NOBODY) for patient in patients])
        return bank.neighbours(torch.from_numpy(vectors), own)

    calibration = mean_distance(
        scored(
            reference.vectors[roles.calibration], _patients(reference)[roles.calibration]
        ).distances
    ).numpy()
    calibrators = _patients(reference)[roles.calibration]
    found = scored(queries.vectors, _patients(queries))
    scores = mean_distance(found.distances).numpy().astype(np.float64)
    limit = threshold(calibration, config.false_positive_rate, calibrators)
    clip_ids = reference.table["clip_id"].to_numpy()[roles.bank]
    table = pd.DataFrame(
        {
            "clip_id": queries.table["clip_id"],
            "patient_id": queries.table["patient_id"],
            "score": scores,
            "p_value": p_values(calibration, scores, calibrators),
            "anomalous": scores > limit,
            "split": splits_of(queries.table),
            "role": _role_names(queries, reference, roles),
            "nearest": [
                ";".join(clip_ids[row] for row in rows[:NEAREST_TOLD] if row >= 0)
                for rows in found.rows.tolist()
            ],
        }
    )
    return table, limit


def _role_names(queries: Embeddings, reference: Embeddings, roles: Roles) -> NDArray[np.str_]:
    clips = queries.table["clip_id"]
    named = reference.table["clip_id"]
    return np.select(
        [clips.isin(named[roles.bank]), clips.isin(named[roles.calibration])],
        ["bank", "calibration"],
        "scored",
    )


def _counts(reference: Embeddings, roles: Roles, table: pd.DataFrame) -> dict[str, Any]:
    patients = _patients(reference)
    return {
        "n_clips": len(table),
        "n_patients": int(table["patient_id"].nunique()),
        "bank": {
            "clips": int(roles.bank.sum()),
            "patients": len(set(patients[roles.bank])),
        },
        "calibration": {
            "clips": int(roles.calibration.sum()),
            "patients": len(set(patients[roles.calibration])),
        },
        "n_anomalous": int(table["anomalous"].sum()),
    }


def _evaluation(
    tested: pd.DataFrame, abnormal: Flags, limit: float, config: ScoreConfig
) -> dict[str, Any]:
    """Return the figures on labelled test clips of patients that judge nobody."""
    patients = tested["patient_id"].astype(str).to_numpy(dtype=np.str_)
    counts = {
        "clips": len(tested),
        "patients": len(set(patients)),
        "abnormal_clips": int(abnormal.sum()),
    }
    both = bool(abnormal.any()) and not bool(abnormal.all())
    result: dict[str, Any] = {"test": counts, "metrics": None, "patient_metrics": None}
    if not both:
        return result
    scores = tested["score"].to_numpy(float)
    called = scores > limit if math.isfinite(limit) else None
    by_patient = (
        pd.DataFrame({"patient": patients, "score": scores, "abnormal": abnormal})
        .groupby("patient")
        .agg(score=("score", "mean"), abnormal=("abnormal", "any"))
    )
    of_patients = by_patient["score"].to_numpy(float)
    result["metrics"] = _json(
        classification(abnormal, scores, called, patients, seed=config.seed, draws=config.draws)
    )
    result["patient_metrics"] = _json(
        classification(
            by_patient["abnormal"].to_numpy(bool),
            of_patients,
            of_patients > limit if math.isfinite(limit) else None,
            by_patient.index.to_numpy(str),
            seed=config.seed,
            draws=config.draws,
        )
    )
    result["prevalence"] = float(abnormal.mean())
    result["intervals"] = {"level": 0.95, "draws": config.draws, "seed": config.seed}
    return result


def _json(intervals: dict[str, Interval]) -> dict[str, dict[str, float | None]]:
    return {name: interval.as_json() for name, interval in intervals.items()}


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
