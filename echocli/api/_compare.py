"""Two heads on the same rows of the same patients: what every task's ``--against`` tells."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from echocli.statistics.bootstrap import weighted_mean
from echocli.statistics.paired import paired_bootstrap, paired_wilcoxon

UNKNOWN: dict[str, Any] = {
    **dict.fromkeys(("value", "other", "p_value", "wilcoxon_p_value")),
    "difference": dict.fromkeys(("value", "low", "high")),
    **dict.fromkeys(("rows", "patients"), 0),
}
"""What stands where no row has a number by both heads."""


def compare_means(
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64],
    patients: NDArray[np.str_],
    *,
    seed: int,
    draws: int,
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
    tested = paired_bootstrap(
        lambda w: weighted_mean(one, w),
        lambda w: weighted_mean(two, w),
        owners,
        seed=seed,
        draws=draws,
    )
    return {
        "value": float(one.mean()),
        "other": float(two.mean()),
        **tested.as_json(),
        "wilcoxon_p_value": paired_wilcoxon(one, two, owners).as_json()["p_value"],
        "rows": int(known.sum()),
    }
