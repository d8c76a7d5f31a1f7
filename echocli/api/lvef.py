"""Ejection fraction from frozen features: fit a probe, predict, evaluate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.api._encode import (
    clip_size,
    open_clips,
    open_set,
    rows_to_encode,
)
from echocli.api._finetune import begin_with
from echocli.api._heads import (
    HeadFit,
    describe,
    left_out_of,
    load_pair,
    summarise,
    warn_of_seen,
    write_head,
)
from echocli.api._lvef_figures import NO_FIGURES, check_ef, figures
from echocli.api._lvef_probes import FITS, Lesson, fit_end_to_end, predict_clips
from echocli.api._lvef_probes import LvefConfig as LvefConfig
from echocli.api._lvef_rows import (
    LABEL,
    labelled_clips,
    prediction_interval,
    prediction_table,
)
from echocli.api._output import refuse_to_replace
from echocli.api._splits import patient_numbers, splits_of
from echocli.console import SILENT, Reporter
from echocli.errors import EchoError
from echocli.files import atomic_path, sums_of, write_json
from echocli.statistics.bootstrap import DRAWS
from echocli.study import Study

SCHEMA = "echocli.lvef/1"
TASK = "lvef"


@dataclass(frozen=True)
class LvefPredictions:
    """Ejection fractions of clips, with intervals."""

    table: pd.DataFrame
    """clip_id, patient_id, ef_percent, lower, upper, measured_ef_percent, split."""
    summary: dict[str, Any]
    """What ``lvef.json`` holds."""
    out: Path | None
    left_out: list[dict[str, str]]
    """What got no result: clip_id (or source_id) and reason."""


def fit(
    clips: Path,
    model: Path | None,
    out: Path,
    *,
    config: LvefConfig | None = None,
    overwrite: bool = False,
    device: str = "auto",
    precision: str = "auto",
    reporter: Reporter = SILENT,
) -> HeadFit:
    """Fit a probe on frozen features of the training patients, or train the encoder with it.

    Args:
        clips: Clip set with the label ``ef_percent``.
        model: Run or model folder; not needed by what starts from scratch.
        out: Folder of the head.
        config: Settings.
        overwrite: Replace the head that stands there.
        device: Where to compute.
        precision: How exactly.
        reporter: Is told what matters.

    Raises:
        EchoError: If labels are missing or impossible, or there are too few patients.
    """
    config = config or LvefConfig()
    refuse_to_replace(out, overwrite=overwrite)
    labelled = labelled_clips(open_set(clips, reporter), clips)
    loaded = begin_with(model, config.tune, labelled, out, config.seed)
    rows, left_out = rows_to_encode(labelled, loaded.data, reporter)
    table = labelled.manifest.iloc[rows].reset_index(drop=True)
    splits, numbers = splits_of(table), patient_numbers(table["patient_id"])
    measured = table[LABEL].to_numpy(np.float64)
    train = splits == "train"
    if len(set(numbers[train])) < 2:
        raise EchoError(
            f"{len(set(numbers[train]))} labelled patient(s) are in the training split; at "
            "least two are needed.",
            "Label more patients and run `echocli preprocess` again.",
        )
    lesson = Lesson(
        model=loaded,
        clips=labelled.subset(rows),
        measured=measured,
        patients=numbers,
        train=train,
        config=config,
        near=out.absolute().parent,
        device=device,
        precision=precision,
        reporter=reporter,
    )
    fitted = (FITS[config.probe] if config.tune is None else fit_end_to_end)(lesson)
    interval = prediction_interval(
        measured, fitted.predicted, fitted.out_of_fold, numbers, splits, config.level
    )
    described = describe(
        TASK,
        loaded,
        out,
        windows=config.windows,
        seed=config.seed,
        patients=table["patient_id"],
        splits=splits,
    )
    head_config = {
        **described,
        "probe": config.probe,
        **fitted.settings,
        "mean_ef_percent": float(measured[train].mean()),
        "interval": interval,
        "n": _counts(table, splits),
    }
    head_config |= _evaluation(
        table, measured, fitted.predicted, splits == "test", head_config, config.draws
    )
    head_config = write_head(
        out, fitted.tensors, head_config, model=fitted.model, overwrite=overwrite
    )
    return HeadFit(out, head_config, left_out_of(labelled, left_out, clips, reporter))


def predict(
    source: Path | Sequence[Path],
    head: Path,
    out: Path | None = None,
    *,
    model: Path | None = None,
    labels: Path | None = None,
    draws: int = DRAWS,
    overwrite: bool = False,
    device: str = "auto",
    precision: str = "auto",
    reporter: Reporter = SILENT,
) -> LvefPredictions:
    """Predict the ejection fraction of clips.

    Args:
        source: Clip set, or files and folders to be read in place.
        head: Folder written by ``fit``.
        out: CSV to write, with a JSON file beside it; nothing is written if left out.
        model: The encoder; the one the head remembers if left out.
        labels: Table of labels, for sources that are no clip set.
        draws: Bootstrap samples of the figures, where measured values are known.
        overwrite: Replace what stands at ``out``.
        device: Where to compute.
        precision: How exactly.
        reporter: Is told what matters.

    Raises:
        EchoError: If head and encoder do not belong together or no clip can be read.
    """
    for path in [] if out is None else [out, out.with_suffix(".json")]:
        refuse_to_replace(path, overwrite=overwrite)
    loaded, tensors, head_config = load_pair(head, TASK, model, Study())
    with open_clips(source, size=clip_size(loaded), labels=labels, reporter=reporter) as clips:
        found = predict_clips(
            loaded,
            tensors,
            head_config,
            clips,
            device=device,
            precision=precision,
            reporter=reporter,
        )
        manifest = clips.manifest.iloc[found.rows].reset_index(drop=True)
        left_out = left_out_of(clips, found.left_out, source, reporter)
    table = prediction_table(manifest, found.ef_percent, head_config)
    warn_of_seen(table["split"], reporter)
    summary = {
        **summarise(head, head_config, table["patient_id"].tolist(), left_out),
        "interval": head_config["interval"],
        **_evaluation_of(manifest, table, head_config, draws),
    }
    if out is not None:
        with atomic_path(out) as temporary:
            table.to_csv(temporary, index=False)
        sums = sums_of(out.parent, [out.name])
        write_json(out.with_suffix(".json"), {"schema": SCHEMA, "sha256": sums, **summary})
    return LvefPredictions(table, summary, out, left_out)


def evaluate(source: Path | Sequence[Path], head: Path, **options: Any) -> LvefPredictions:  # noqa: ANN401
    """Predict labelled clips and return the figures on patients that the head never saw.

    Args:
        source: Clip set with the label ``ef_percent``.
        head: Folder written by ``fit``.
        options: As for ``predict``.

    Raises:
        EchoError: If no labelled clip is of a patient that the head never saw.
    """
    result = predict(source, head, **options)
    if result.summary["metrics"] is None:
        raise EchoError(
            f"None of the {len(result.table)} clip(s) is labelled with {LABEL} and of a "
            "patient that the head was not fitted on.",
            "Give clips of other patients, made with `echocli preprocess --labels labels.csv`.",
        )
    return result


def _evaluation_of(
    manifest: pd.DataFrame, table: pd.DataFrame, head_config: dict[str, Any], draws: int
) -> dict[str, Any]:
    if "measured_ef_percent" not in table:
        return NO_FIGURES
    measured = table["measured_ef_percent"].to_numpy(np.float64)
    known = np.isfinite(measured)
    check_ef(measured[known], table["clip_id"].to_numpy()[known])
    chosen = known & (table["split"] == "test").to_numpy()
    predicted = table["ef_percent"].to_numpy(np.float64)
    return _evaluation(manifest, measured, predicted, chosen, head_config, draws)


def _evaluation(
    manifest: pd.DataFrame,
    measured: NDArray[np.float64],
    predicted: NDArray[np.float64],
    chosen: NDArray[np.bool_],
    head_config: dict[str, Any],
    draws: int,
) -> dict[str, Any]:
    """Return the figures on the chosen rows."""
    if not chosen.any():
        return NO_FIGURES
    half = head_config["interval"]["half_width"]
    return figures(
        measured[chosen],
        predicted[chosen],
        manifest["patient_id"].astype(str).to_numpy(dtype=np.str_)[chosen],
        mean_ef_percent=head_config["mean_ef_percent"],
        half_width=math.inf if half is None else half,
        seed=head_config["seed"],
        draws=draws,
    )


def _counts(table: pd.DataFrame, splits: NDArray[np.str_]) -> dict[str, dict[str, int]]:
    return {
        name: {
            "clips": int((splits == name).sum()),
            "patients": int(table["patient_id"][splits == name].nunique()),
        }
        for name in ("train", "val", "test")
    }
