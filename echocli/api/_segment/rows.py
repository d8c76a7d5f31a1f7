"""Which clips of a set can be drawn, and what is told of the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echocli.api._encode import LeftOut, readable
from echocli.api._heads import left_out_of
from echocli.api._segment.fits import SegmentConfig
from echocli.api._segment.networks import Network
from echocli.api._splits import share_of_patients
from echocli.clips.contract import DataConfig
from echocli.clips.lengths import says
from echocli.clips.store import ClipSet
from echocli.clips.windows import why_not
from echocli.console import Reporter
from echocli.errors import EchoError

REMEDY = (
    "Loops shorter than a window are read by heads on a frozen encoder (leave "
    "--finetune-blocks and --from-scratch out) and by --from-scratch unet, which looks at "
    "single frames and needs no frame rate. `echocli preprocess --assume-fps` sets one."
)


def drawable(
    clips: ClipSet, network: Network, source: Path | Sequence[Path], reporter: Reporter
) -> tuple[list[int], list[dict[str, str]]]:
    """Return the clips that a network can draw, and what got no result.

    Args:
        clips: The clips.
        network: What draws.
        source: What the user named.
        reporter: Is told of those left out, and of those that are shorter than a window.

    Raises:
        EchoError: If there are none.
    """
    rows, left_out = readable(clips, network.least)
    named = left_out_of(clips, left_out, source, reporter)
    if not rows:
        raise EchoError(
            f"None of the {len(clips)} clip(s) can be segmented; the first because it is "
            f"{named[0]['reason']}.",
            REMEDY,
        )
    tell_short(clips, rows, network.data, reporter)
    return rows, named


def tell_short(
    clips: ClipSet, rows: Sequence[int], data: DataConfig, reporter: Reporter
) -> None:
    """Say how many clips are seen although they are shorter than a window."""
    counts = clips.manifest["frames"].tolist()
    short = sum(why_not(clips.times_s(row), counts[row], data) is not None for row in rows)
    if short:
        reporter.say(
            f"{short} of {len(rows)} clip(s) are shorter than a window of {says(data)}: the "
            "encoder sees what there is, at its own time step, and nothing in the place of the "
            "rest"
        )


def nothing_to_fit_on(
    clips: ClipSet, splits: NDArray[np.str_], left_out: Sequence[LeftOut]
) -> EchoError:
    """Return why no training patient has masks that can be used, and what helps.

    Args:
        clips: The clips.
        splits: Split of each.
        left_out: Those that cannot be read.
    """
    unread = [c for c in left_out if splits[c.row] == "train" and clips.mask_frames(c.row)]
    if not unread:
        return EchoError(
            f"No clip of a training patient in {clips.folder} has masks.",
            "Preprocess a data set that has masks, such as CAMUS, EchoNet-Dynamic or the "
            "phantom of `echocli demo`.",
        )
    return EchoError(
        f"None of the {len(unread)} clip(s) of training patients with masks can be read; the "
        f"first is {unread[0].reason}.",
        REMEDY,
    )


def labelled_share(clips: ClipSet, rows: list[int], config: SegmentConfig) -> list[int]:
    """Return the rows of the patients whose masks are used."""
    patients = clips.manifest["patient_id"].astype(str)
    chosen = share_of_patients(patients.iloc[rows], config.label_fraction, config.seed)
    return [row for row in rows if patients.iloc[row] in chosen]


def tell_untimed(
    clips: ClipSet, rows: Sequence[int], write: Sequence[str], reporter: Reporter
) -> None:
    """Warn of clips that can have no film."""
    untimed = sum(clips.times_s(row) is None for row in rows)
    if "mp4" in write and untimed:
        reporter.warn(
            f"{untimed} clip(s) of unknown frame rate have no film: preprocess with "
            "--assume-fps."
        )


def counts_of(clips: ClipSet, rows: Sequence[int]) -> dict[str, int]:
    """Return clips, labelled frames and patients of some rows."""
    return {
        "clips": len(rows),
        "frames": sum(len(clips.mask_frames(row)) for row in rows),
        "patients": int(clips.manifest["patient_id"].iloc[list(rows)].nunique()),
    }
