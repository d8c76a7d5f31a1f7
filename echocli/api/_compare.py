"""Two heads on the same rows of the same patients: what every task's ``--against`` tells.

Every comparison has the same keys: both values, the first minus the second with its interval,
the p-value, Wilcoxon's, the rows and the patients; ``None`` where there is no such number.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echocli.errors import EchoError
from echocli.statistics.bootstrap import Metric, weighted_mean
from echocli.statistics.delong import delong_test
from echocli.statistics.paired import paired_bootstrap, paired_wilcoxon

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Owners = NDArray[np.str_]

UNKNOWN: dict[str, Any] = {
    **dict.fromkeys(("value", "other", "p_value", "wilcoxon_p_value")),
    "difference": dict.fromkeys(("value", "low", "high")),
    **dict.fromkeys(("rows", "patients"), 0),
}
"""What stands where no row has a number by both heads."""


def compare_means(
    ours: Floats, theirs: Floats, patients: Owners, *, seed: int, draws: int
) -> dict[str, Any]:
    """Compare the mean of a number of each row, such as a Dice or an absolute error.

    Args:
        ours: Of one head; NaN where it is not defined.
        theirs: Of the other, of the same rows.
        patients: Patient of each row.
        seed: Start of the bootstrap's random numbers.
        draws: Bootstrap samples.

    Returns:
        Both means over the rows that have both numbers, the first minus the second with its
        interval and p-value by paired bootstrap over patients, and the p-value of Wilcoxon's
        signed ranks of patients.
    """
    known = np.isfinite(ours) & np.isfinite(theirs)
    if not known.any():
        return UNKNOWN
    one, two, owners = ours[known], theirs[known], patients[known]
    return {
        **compare_metrics(
            lambda w: weighted_mean(one, w),
            lambda w: weighted_mean(two, w),
            owners,
            seed=seed,
            draws=draws,
        ),
        "wilcoxon_p_value": paired_wilcoxon(one, two, owners).as_json()["p_value"],
    }


def compare_metrics(
    ours: Metric, theirs: Metric, patients: Owners, *, seed: int, draws: int
) -> dict[str, Any]:
    """Compare a figure of many rows by paired bootstrap over patients.

    Args:
        ours: The figure of one head, as a function of weights.
        theirs: Of the other.
        patients: Patient of each row.
        seed: Start of the bootstrap's random numbers.
        draws: Bootstrap samples.
    """
    whole = np.ones((1, len(patients)))
    return {
        **UNKNOWN,
        "value": _finite(ours(whole)[0]),
        "other": _finite(theirs(whole)[0]),
        **paired_bootstrap(ours, theirs, patients, seed=seed, draws=draws).as_json(),
        "rows": len(patients),
    }


def compare_aurocs(
    positive: Flags, ours: Floats, theirs: Floats, patients: Owners
) -> dict[str, Any]:
    """Compare two areas under the ROC by DeLong's test, rows of a patient taken together.

    Args:
        positive: Whether each row truly is what is looked for.
        ours: Score of one head; higher means more likely positive.
        theirs: Of the other.
        patients: Patient of each row.
    """
    if positive.all() or not positive.any():
        return UNKNOWN
    tested = delong_test(positive, ours, theirs, patients).as_json()
    return {
        **UNKNOWN,
        "value": tested["first"],
        "other": tested["second"],
        "difference": tested["difference"],
        "p_value": tested["p_value"],
        "rows": len(positive),
        "patients": len(set(patients.tolist())),
    }


def nobody_shared(other: Path) -> EchoError:
    """Return the refusal of two heads that have no test patient in common."""
    return EchoError(
        f"No labelled clip is of a patient that neither this head nor {other} has seen, and "
        "can be read by both.",
        "Compare heads that were fitted on the same split.",
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
