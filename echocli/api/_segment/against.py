"""Two heads that draw, compared frame by frame on patients that neither has seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from echocli.api._compare import compare_means, nobody_shared
from echocli.api._encode import readable
from echocli.api._heads import roles_by_head
from echocli.api._segment.figures import IN_MM, IN_PIXELS, Tested
from echocli.api._segment.labeller import Labeller
from echocli.api._segment.load import open_head
from echocli.clips.store import ClipSet
from echocli.statistics.overlap import REGIONS


class Rival(NamedTuple):
    """Another head, and the clips that both can be judged by."""

    folder: Path
    labeller: Labeller
    rows: list[int]


def open_rival(
    other: Path,
    clips: ClipSet,
    rows: Sequence[int],
    **wishes: Any,  # noqa: ANN401
) -> Rival:
    """Open another head, with the encoder that it remembers.

    Args:
        other: Its folder.
        clips: The clips.
        rows: Those with masks, of patients that the first head never saw.
        wishes: Where to compute, how exactly, and who is told.

    Raises:
        EchoError: If it saw all of these patients, or cannot read their clips.
    """
    labeller, config = open_head(other, None, **wishes)
    roles = roles_by_head(clips.manifest["patient_id"], config["patients"])
    can_read = set(readable(clips, labeller.network.least)[0])
    shared = [row for row in rows if roles[row] == "test" and row in can_read]
    if not shared:
        raise nobody_shared(other)
    return Rival(other, labeller, shared)


def figures_against(
    clips: ClipSet, ours: Sequence[Tested], rival: Rival, *, seed: int, draws: int
) -> dict[str, Any]:
    """Return how what was measured differs from another head's.

    Args:
        clips: The clips.
        ours: What was measured of patients that the first head never saw.
        rival: The other head.
        seed: Start of the bootstrap's random numbers.
        draws: Bootstrap samples.
    """
    rows = set(rival.rows)
    shared = [one for one in ours if one.row in rows]
    theirs = rival.labeller.tested(clips, rival.rows)
    owners = clips.manifest["patient_id"].iloc[[one.row for one in shared]]
    patients = owners.to_numpy(dtype=np.str_)
    return {
        "head": str(rival.folder),
        "test": {"frames": len(shared), "patients": len(set(patients.tolist()))},
        "metrics": {
            name: {
                region: compare_means(
                    np.array([one.regions[region][name] for one in shared]),
                    np.array([one.regions[region][name] for one in theirs]),
                    patients,
                    seed=seed,
                    draws=draws,
                )
                for region in REGIONS
            }
            for name in (*IN_PIXELS, *IN_MM)
        },
    }
