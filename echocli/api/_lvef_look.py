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

from echocli.api._encode import clip_size, open_clips
from echocli.api._heads import left_out_of, load_pair, summarise, warn_of_seen
from echocli.api._lvef_figures import NO_FIGURES, check_ef, figures
from echocli.api._lvef_probes import predict_clips
from echocli.api._lvef_rows import prediction_table
from echocli.clips.store import ClipSet
from echocli.console import Reporter
from echocli.study import Study

TASK = "lvef"

Flags = NDArray[np.bool_]


class Seen(NamedTuple):
    """What a head says of clips that are open."""

    config: dict[str, Any]
    """Of the head."""
    clips: ClipSet
    """Those that got a result."""
    table: pd.DataFrame
    """Their rows of ``lvef.csv``."""
    left_out: list[dict[str, str]]

    @property
    def tested(self) -> Flags:
        """Clips with a measured ejection fraction, of patients that the head never saw."""
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
    device: str,
    precision: str,
    reporter: Reporter,
) -> Iterator[Seen]:
    """Open clips and say what a head makes of them.

    Args:
        source: Clip set, or files and folders to be read in place.
        head: Folder of the head.
        model: The encoder; the one the head remembers if left out.
        labels: Table of labels, for sources that are no clip set.
        device: Where to compute.
        precision: How exactly.
        reporter: Is told what matters, and of patients that the head knows.

    Raises:
        EchoError: If head and encoder do not belong together, no clip can be read, or a
            measured ejection fraction is impossible.
    """
    loaded, tensors, config = load_pair(head, TASK, model, Study())
    with open_clips(source, size=clip_size(loaded), labels=labels, reporter=reporter) as clips:
        found = predict_clips(
            loaded,
            tensors,
            config,
            clips,
            device=device,
            precision=precision,
            reporter=reporter,
        )
        left_out = left_out_of(clips, found.left_out, source, reporter)
        chosen = clips.subset(found.rows)
        table = prediction_table(chosen.manifest, found.ef_percent, config)
        if "measured_ef_percent" in table:
            known = table["measured_ef_percent"].notna().to_numpy()
            measured = table["measured_ef_percent"].to_numpy(np.float64)[known]
            check_ef(measured, table["clip_id"].to_numpy()[known])
        warn_of_seen(table["split"], reporter)
        yield Seen(config, chosen, table, left_out)


def tell(seen: Seen, head: Path, draws: int) -> dict[str, Any]:
    """Return the summary of predictions.

    Args:
        seen: What a head says.
        head: Its folder.
        draws: Bootstrap samples.
    """
    return {
        **summarise(head, seen.config, seen.table["patient_id"].tolist(), seen.left_out),
        "interval": seen.config["interval"],
        **figures_of(seen.config, seen.table[seen.tested], draws),
    }


def figures_of(head: Mapping[str, Any], table: pd.DataFrame, draws: int) -> dict[str, Any]:
    """Return the figures of tested clips, if there are any.

    Args:
        head: Config of the head.
        table: Rows with ``patient_id, ef_percent, measured_ef_percent``.
        draws: Bootstrap samples.
    """
    if not len(table):
        return NO_FIGURES
    half = head["interval"]["half_width"]
    return figures(
        table["measured_ef_percent"].to_numpy(np.float64),
        table["ef_percent"].to_numpy(np.float64),
        table["patient_id"].astype(str).to_numpy(dtype=np.str_),
        mean_ef_percent=head["mean_ef_percent"],
        half_width=math.inf if half is None else half,
        seed=head["seed"],
        draws=draws,
    )
