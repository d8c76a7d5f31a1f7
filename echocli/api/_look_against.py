"""Two heads that answer the same clips, or studies: which of their answers belong together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from echocli.api._compare import Flags, nobody_shared
from echocli.api._heads import roles_by_head
from echocli.api._look import Look
from echocli.clips.store import ClipSet
from echocli.errors import EchoError


class Shared(NamedTuple):
    """Where the same labelled clips, or studies, stand among the answers of two heads."""

    ours: NDArray[np.int64]
    theirs: NDArray[np.int64]


def check_comparable(
    clips: ClipSet,
    roles: NDArray[np.str_],
    head: Mapping[str, Any],
    theirs: Mapping[str, Any],
    other: Path,
) -> None:
    """Refuse, before anything is encoded, a head that cannot be compared with another.

    Args:
        clips: What both shall answer.
        roles: What each clip's patient was to the head.
        head: Its config.
        theirs: Config of the other.
        other: Folder of the other.

    Raises:
        EchoError: If one answers clip by clip and the other study by study, or one of them was
            fitted on every patient.
    """
    if bool(head.get("views")) != bool(theirs.get("views")):
        raise EchoError(
            f"One of this head and {other} answers clip by clip, the other study by study.",
            "Compare heads that were both fitted with --views, or both without.",
        )
    of_theirs = roles_by_head(clips.manifest["patient_id"], theirs["patients"])
    if not ((roles == "test") & (of_theirs == "test")).any():
        raise nobody_shared(other)


def shared_units(ours: Look, labelled: Flags, theirs: Look, other: Path) -> Shared:
    """Return the labelled clips, or studies, of patients that neither head has seen.

    Both answer clip by clip, or both study by study: see ``check_comparable``.

    Args:
        ours: What one head says.
        labelled: Which of its answers can be judged.
        theirs: What the other says of the same clips.
        other: Folder of the other head.

    Raises:
        EchoError: If both share no labelled patient that neither has seen.
    """
    key = [str(column) for column in ours.units.ids.columns[:1]] + ["patient_id"]
    first, second = (
        look.units.ids[key].astype(str).assign(at=np.arange(len(look.units)))[chosen]
        for look, chosen in ((ours, labelled), (theirs, theirs.roles == "test"))
    )
    both = pd.merge(first, second, on=key, suffixes=("", "_theirs"))
    if both.empty:
        raise nobody_shared(other)
    return Shared(both["at"].to_numpy(np.int64), both["at_theirs"].to_numpy(np.int64))


def counts_of(look: Look, rows: NDArray[np.int64]) -> dict[str, int]:
    """Return how many clips, or studies, of how many patients are compared."""
    unit = "clips" if look.units.places is None else "studies"
    patients = set(look.units.patients[rows].tolist())
    return {unit: len(rows), "patients": len(patients)}
