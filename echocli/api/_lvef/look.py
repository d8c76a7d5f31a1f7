"""A head that looks at clips: what it says of their ejection fraction, and how right it is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.api import _look
from echocli.api._look import Check, Look, begin_summary
from echocli.api._lvef.figures import NO_FIGURES, figures
from echocli.api._lvef.probes import in_range, says
from echocli.api._lvef.rows import LABEL, known_ef, measured_of, prediction_table
from echocli.clips.store import ClipSet
from echocli.console import Reporter
from echocli.errors import EchoError

TASK = "lvef"


class Seen(NamedTuple):
    """What a head says of clips that are open."""

    look: Look
    table: pd.DataFrame
    """Rows of ``lvef.csv``."""

    @property
    def tested(self) -> NDArray[np.bool_]:
        """Rows with a measured ejection fraction, of patients that the head never saw."""
        if "measured_ef_percent" not in self.table:
            return np.zeros(len(self.table), dtype=np.bool_)
        known = self.table["measured_ef_percent"].notna()
        return (known & (self.table["split"] == "test")).to_numpy()


@contextmanager
def looking(
    source: Path | Sequence[Path],
    head: Path,
    model: Path | None,
    labels: Path | None,
    *,
    check: Check | None = None,
    reporter: Reporter,
    **place: str,
) -> Iterator[Seen]:
    """Open clips and say what a head makes of them; see ``_look.looking``.

    Args:
        source: Clip set, or files and folders to be read in place.
        head: Folder of the head.
        model: The encoder; the one the head remembers if left out.
        labels: Table of labels, for sources that are no clip set.
        check: Is asked before anything is encoded.
        reporter: Is told what matters, and of patients that the head knows.
        place: Where to compute, and how exactly.

    Raises:
        EchoError: If head and encoder do not belong together, no clip can be read, or a
            measured ejection fraction is impossible.
    """

    def possible(clips: ClipSet, roles: NDArray[np.str_], config: Mapping[str, Any]) -> None:
        known_ef(clips)
        if check is not None:
            check(clips, roles, config)

    wishes: dict[str, Any] = {**place, "check": possible, "reporter": reporter}
    with _look.looking(TASK, says, source, head, model, labels, **wishes) as look:
        measured = measured_of(look.clips, look.units, reporter)
        table = prediction_table(
            look.units, in_range(look.said), measured, look.roles, look.config
        )
        yield Seen(look, table)


def check_test(labelled: int, clips: int) -> None:
    """Refuse clips that nothing can be judged by.

    Args:
        labelled: How many have a measured value and a patient that the head never saw.
        clips: How many there are.

    Raises:
        EchoError: If there is none.
    """
    if not labelled:
        raise EchoError(
            f"None of the {clips} clip(s) is labelled with {LABEL} and of a patient that the "
            "head was not fitted on.",
            "Give clips of other patients, made with `echocli preprocess --labels labels.csv`; "
            "beside files, --labels labels.csv is enough.",
        )


def tell(seen: Seen, head: Path, draws: int) -> dict[str, Any]:
    """Return the summary of predictions.

    Args:
        seen: What a head says.
        head: Its folder.
        draws: Bootstrap samples.
    """
    config = seen.look.config
    return {
        **begin_summary(seen.look, head),
        "interval": config["interval"],
        **figures_of(config, seen.table[seen.tested], draws),
    }


def figures_of(head: Mapping[str, Any], table: pd.DataFrame, draws: int) -> dict[str, Any]:
    """Return the figures of tested rows, if there are any.

    Args:
        head: Config of the head.
        table: Rows with ``patient_id, ef_percent, measured_ef_percent``.
        draws: Bootstrap samples.
    """
    if not len(table):
        return NO_FIGURES
    half = head["interval"]["half_width"]
    found = figures(
        table["measured_ef_percent"].to_numpy(np.float64),
        table["ef_percent"].to_numpy(np.float64),
        table["patient_id"].astype(str).to_numpy(dtype=np.str_),
        mean_ef_percent=head["mean_ef_percent"],
        half_width=math.inf if half is None else half,
        seed=head["seed"],
        draws=draws,
    )
    if "views" in head:
        found["test"]["studies"] = found["test"].pop("clips")
    return found
