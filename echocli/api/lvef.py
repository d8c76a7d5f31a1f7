"""Ejection fraction from frozen features: fit a probe, predict, evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.api._audit import columns_to_divide_by, leakage_of
from echocli.api._encode import open_set, rows_to_encode
from echocli.api._finetune import begin_with
from echocli.api._heads import HeadFit, describe, left_out_of, write_head
from echocli.api._lvef_figures import subgroups
from echocli.api._lvef_look import TASK, figures_of, looking, tell
from echocli.api._lvef_probes import FITS, Lesson, fit_end_to_end
from echocli.api._lvef_probes import LvefConfig as LvefConfig
from echocli.api._lvef_rows import LABEL, labelled_clips, prediction_interval
from echocli.api._output import refuse_to_replace
from echocli.api._splits import patient_numbers, splits_of
from echocli.console import SILENT, Reporter
from echocli.errors import EchoError
from echocli.files import atomic_path, sums_of, write_json
from echocli.statistics.bootstrap import DRAWS

SCHEMA = "echocli.lvef/1"


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
    chosen = labelled.subset(rows)
    table = chosen.manifest
    splits, numbers = splits_of(table), patient_numbers(table["patient_id"])
    measured = table[LABEL].to_numpy(np.float64)
    train = splits == "train"
    if len(set(numbers[train])) < 2:
        raise EchoError(
            f"{len(set(numbers[train]))} labelled patient(s) are in the training split; at "
            "least two are needed.",
            "Label more patients and run `echocli preprocess` again.",
        )
    leakage_of(chosen, splits, reporter, pixels=False)
    lesson = Lesson(
        model=loaded,
        clips=chosen,
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
    said = table.assign(ef_percent=fitted.predicted, measured_ef_percent=measured)
    head_config |= figures_of(head_config, said[splits == "test"], config.draws)
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
    place: dict[str, Any] = {"device": device, "precision": precision, "reporter": reporter}
    with looking(source, head, model, labels, **place) as seen:
        summary = tell(seen, head, draws)
    if out is not None:
        with atomic_path(out) as temporary:
            seen.table.to_csv(temporary, index=False)
        sums = sums_of(out.parent, [out.name])
        write_json(out.with_suffix(".json"), {"schema": SCHEMA, "sha256": sums, **summary})
    return LvefPredictions(seen.table, summary, out, seen.left_out)


def evaluate(
    source: Path | Sequence[Path],
    head: Path,
    *,
    by: Sequence[str] | None = None,
    model: Path | None = None,
    labels: Path | None = None,
    draws: int = DRAWS,
    device: str = "auto",
    precision: str = "auto",
    reporter: Reporter = SILENT,
) -> LvefPredictions:
    """Return the figures on patients that the head never saw, with subgroups and an audit.

    Args:
        source: Clip set with the label ``ef_percent``.
        head: Folder written by ``fit``.
        by: Columns whose parts are shown one by one; the usual ones if left out.
        model: The encoder; the one the head remembers if left out.
        labels: Table of labels, for sources that are no clip set.
        draws: Bootstrap samples.
        device: Where to compute.
        precision: How exactly.
        reporter: Is told what matters.

    Raises:
        UsageError: If a column to divide by is unknown.
        EchoError: If no labelled clip is of a patient that the head never saw.
    """
    place: dict[str, Any] = {"device": device, "precision": precision, "reporter": reporter}
    with looking(source, head, model, labels, **place) as seen:
        tested, manifest = seen.tested, seen.clips.manifest
        if not tested.any():
            raise EchoError(
                f"None of the {len(seen.table)} clip(s) is labelled with {LABEL} and of a "
                "patient that the head was not fitted on.",
                "Give clips of other patients, made with `echocli preprocess --labels "
                "labels.csv`.",
            )
        columns = columns_to_divide_by(manifest, by)
        summary = tell(seen, head, draws)
        summary["subgroups"] = subgroups(
            manifest[tested].reset_index(drop=True),
            columns,
            seen.table["measured_ef_percent"].to_numpy(np.float64)[tested],
            seen.table["ef_percent"].to_numpy(np.float64)[tested],
            seed=seen.config["seed"],
            draws=draws,
        )
        roles = seen.table["split"].to_numpy(dtype=np.str_)
        summary["leakage"] = leakage_of(seen.clips, roles, reporter)
    return LvefPredictions(seen.table, summary, None, seen.left_out)


def _counts(table: pd.DataFrame, splits: NDArray[np.str_]) -> dict[str, dict[str, int]]:
    return {
        name: {
            "clips": int((splits == name).sum()),
            "patients": int(table["patient_id"][splits == name].nunique()),
        }
        for name in ("train", "val", "test")
    }
