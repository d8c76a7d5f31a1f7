"""What is made of ejection fractions from masks: beside measured ones, and in words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.api._lvef.figures import NO_FIGURES, figures
from echocli.api._lvef.masks import SINGLE
from echocli.api._lvef.rows import LABEL, known_ef
from echocli.clips.store import ClipSet
from echocli.console import Reporter

SEED = 0
"""Start of the bootstrap's random numbers; nothing else is drawn."""
KEYS = ["patient_id", "study_id"]


def with_measured(
    table: pd.DataFrame, clips: ClipSet, maps: ClipSet, reporter: Reporter
) -> pd.DataFrame:
    """Return rows of studies with what was measured, and what their patients were to the head.

    Nobody was fitted on where readers drew the masks: then all are of the test.

    Args:
        table: The rows.
        clips: What is known of the clips.
        maps: Their masks.
        reporter: Is told where clips of one study have several measured values.

    Raises:
        EchoError: If a measured value is impossible.
    """
    measured = known_ef(clips)
    if measured.any():
        known = clips.manifest[measured]
        of_study = known.groupby(known[KEYS].astype(str).agg(tuple, axis=1))[LABEL]
        if several := int((of_study.nunique() > 1).sum()):
            reporter.say(f"clips of {several} study(ies) differ in {LABEL}; their mean counts")
        keys = table[KEYS].agg(tuple, axis=1)
        table = table.assign(measured_ef_percent=keys.map(of_study.mean()))
    drawn = maps.kind == "masks" and "split" in maps.manifest
    roles = (
        dict(zip(maps.manifest["patient_id"].astype(str), maps.manifest["split"], strict=True))
        if drawn
        else {}
    )
    return table.assign(split=[roles.get(name, "test") for name in table["patient_id"]])


def tell_of_masks(
    table: pd.DataFrame, left_out: list[dict[str, str]], masks: Path, draws: int
) -> dict[str, Any]:
    """Return the summary of ejection fractions from masks.

    Predicting the mean stands beside them: that of the patients whom the head was fitted on,
    or of all if there are none.

    Args:
        table: A row a study.
        left_out: Clips without a result.
        masks: Where the masks are.
        draws: Bootstrap samples.
    """
    summary = {
        "masks": str(masks),
        "n_rows": len(table),
        "n_patients": int(table["patient_id"].nunique()),
        "planes": {str(name): int(n) for name, n in table["plane"].value_counts().items()},
        "uncalibrated": int(table["edv_ml"].isna().sum()),
        "left_out": left_out,
    }
    tested = table[tested_studies(table)]
    if tested.empty:
        return {**summary, **NO_FIGURES}
    known = table[table["measured_ef_percent"].notna()]
    fitted = known[known["split"] == "train"]
    base = known if fitted.empty else fitted
    found = figures(
        tested["measured_ef_percent"].to_numpy(np.float64),
        tested["ef_percent"].to_numpy(np.float64),
        tested["patient_id"].to_numpy(dtype=np.str_),
        mean_ef_percent=float(base["measured_ef_percent"].mean()),
        half_width=math.inf,
        seed=SEED,
        draws=draws,
    )
    found["test"]["studies"] = found["test"].pop("clips")
    return {**summary, **found}


def tested_studies(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which studies have a measured value and a patient whom the head never saw."""
    if "measured_ef_percent" not in table:
        return np.zeros(len(table), dtype=np.bool_)
    known = table["measured_ef_percent"].notna() & (table["split"] == "test")
    return known.to_numpy(dtype=np.bool_)


def rows_of_studies(clips: ClipSet, table: pd.DataFrame) -> pd.DataFrame:
    """Return the manifest's row of each study: of its first clip.

    Args:
        clips: What is known of the clips.
        table: A row a study.
    """
    first = clips.manifest.drop_duplicates(KEYS).set_index(KEYS)
    rows = first.loc[pd.MultiIndex.from_frame(table[KEYS])]
    return rows.reset_index()


def doubts_of(table: pd.DataFrame) -> Iterator[str]:
    """Yield what a reader of the table should know first."""
    count = len(table)
    if single := int(table["plane"].str.startswith(SINGLE).sum()):
        yield (
            f"{single} of {count} study(ies) have one view: by a single plane every disc is "
            "taken to be round"
        )
    if bare := int(table["edv_ml"].isna().sum()):
        yield f"{bare} of {count} study(ies) have no known scale: no millilitres"
    if short := int(table["flags"].str.contains("length_mismatch").sum()):
        yield (
            f"in {short} of {count} study(ies) one view is over a fifth shorter: foreshortened"
        )
