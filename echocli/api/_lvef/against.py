"""Two heads that tell ejection fractions, compared on patients that neither has seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from echocli.api._compare import UNKNOWN, compare_aurocs, compare_means, compare_metrics
from echocli.api._look import look_again
from echocli.api._look_against import counts_of, shared_units
from echocli.api._lvef.cuts import CUTS, reduced
from echocli.api._lvef.look import TASK, Seen
from echocli.api._lvef.probes import in_range, says
from echocli.statistics.agreement import rmse


def figures_against(
    seen: Seen,
    other: Path,
    draws: int,
    **wishes: Any,  # noqa: ANN401
) -> dict[str, Any]:
    """Return how the error of a head, and what it tells of reduced function, differ.

    Args:
        seen: What the head says of clips that are open.
        other: Folder of the other head, whose encoder is the one that it remembers.
        draws: Bootstrap samples.
        wishes: Where to compute, how exactly, and who is told.

    Raises:
        EchoError: If the other head saw all of these patients, or cannot read their clips.
    """
    again = look_again(TASK, says, seen.look.clips, other, **wishes)
    rows = shared_units(seen.look, seen.tested, again, other)
    table = seen.table.iloc[rows.ours]
    measured = table["measured_ef_percent"].to_numpy(np.float64)
    ours, theirs = table["ef_percent"].to_numpy(np.float64), in_range(again.said)[rows.theirs]
    patients = table["patient_id"].astype(str).to_numpy(dtype=np.str_)
    how: dict[str, Any] = {"seed": seen.look.config["seed"], "draws": draws}
    errors = (np.abs(ours - measured), np.abs(theirs - measured))
    squares = compare_metrics(
        lambda w: rmse(measured, ours, w), lambda w: rmse(measured, theirs, w), patients, **how
    )
    aurocs = {
        name: compare_aurocs(reduced(measured, name), -ours, -theirs, patients) for name in CUTS
    }
    return {
        "head": str(other),
        "test": counts_of(seen.look, rows.ours),
        "metrics": {
            "mae": {"ef_percent": compare_means(*errors, patients, **how)},
            "rmse": {"ef_percent": squares},
            "auroc": {name: found for name, found in aurocs.items() if found is not UNKNOWN},
        },
    }
