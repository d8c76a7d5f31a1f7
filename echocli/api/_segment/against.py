"""Two heads that draw, compared frame by frame on patients that neither has seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from echocli.api._compare import compare_means, nobody_shared
from echocli.api._encode import readable
from echocli.api._heads import roles_by_head
from echocli.api._segment.figures import IN_MM, IN_PIXELS, Tested
from echocli.api._segment.load import open_head
from echocli.clips.store import ClipSet
from echocli.console import Reporter
from echocli.statistics.overlap import REGIONS


def figures_against(
    clips: ClipSet,
    ours: Sequence[Tested],
    other: Path,
    *,
    seed: int,
    draws: int,
    device: str,
    precision: str,
    reporter: Reporter,
) -> dict[str, Any]:
    """Return how what was measured differs from another head's.

    Args:
        clips: The clips.
        ours: What was measured of patients that the first head never saw.
        other: Folder of the other head, whose encoder is the one that it remembers.
        seed: Start of the bootstrap's random numbers.
        draws: Bootstrap samples.
        device: Where to compute.
        precision: How exactly.
        reporter: Is told what matters.

    Raises:
        EchoError: If the other head saw all of these patients, or cannot read their clips.
    """
    labeller, config = open_head(other, None, device, precision, reporter)
    roles = roles_by_head(clips.manifest["patient_id"], config["patients"])
    can_read = set(readable(clips, labeller.network.least)[0])
    shared = [one for one in ours if roles[one.row] == "test" and one.row in can_read]
    if not shared:
        raise nobody_shared(other)
    theirs = labeller.tested(clips, list(dict.fromkeys(one.row for one in shared)))
    owners = clips.manifest["patient_id"].iloc[[one.row for one in shared]]
    patients = owners.to_numpy(dtype=np.str_)
    return {
        "head": str(other),
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
