"""Masks of a clip as files that other programs read: NIfTI, PNG and MP4."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from echocli.api._export.video import check_encoder
from echocli.api._segment.film import write_film
from echocli.api._segment.measures import Labels, Spacing
from echocli.api._segment.overlay import COLOURS
from echocli.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A clip with its label maps."""

    clip_id: str
    """Its pseudonym, which becomes the name of the file."""
    frames: NDArray[np.uint8]
    labels: Labels
    spacing_mm: Spacing
    """Height and width of a pixel, if known."""
    times_s: NDArray[np.float64] | None
    """Time of each frame, if known."""
    curve: NDArray[np.float64]
    """Volume of the cavity in each frame; NaN where there is none."""
    marks: dict[int, str]
    """Frames that have a name: ED and ES, if they were found."""


def write_nifti(folder: Path, drawn: Drawn) -> None:
    """Write ``CLIP.nii.gz``: the masks of a clip, columns first and frames last.

    Its zooms are millimetres and seconds; 1 stands with units unknown where there is no scale,
    and time is that between frames on average.
    """
    image = nibabel.Nifti1Image(np.ascontiguousarray(drawn.labels.T)[:, :, None], np.eye(4))
    rows_mm, columns_mm = drawn.spacing_mm or (1.0, 1.0)
    times = drawn.times_s
    step_s = 1.0 if times is None or len(times) < 2 else float(np.diff(times).mean())
    image.header.set_zooms((columns_mm, rows_mm, 1.0, step_s))
    image.header.set_xyzt_units(
        "unknown" if drawn.spacing_mm is None else "mm", "unknown" if times is None else "sec"
    )
    nibabel.save(image, folder / f"{drawn.clip_id}.nii.gz")


def write_png(folder: Path, drawn: Drawn) -> None:
    """Write ``CLIP_00000.png`` and so on: pixels are the classes, shown in colours."""
    palette = [
        number for value in range(max(COLOURS) + 1) for number in COLOURS.get(value, (0,) * 3)
    ]
    for frame, mask in enumerate(drawn.labels):
        picture = Image.fromarray(mask)
        picture.putpalette(palette)
        picture.save(folder / f"{drawn.clip_id}_{frame:05d}.png")


def write_mp4(folder: Path, drawn: Drawn) -> None:
    """Write ``CLIP.mp4``, see ``write_film``; nothing if nobody knows how fast it would run."""
    if drawn.times_s is not None:
        path = folder / f"{drawn.clip_id}.mp4"
        write_film(path, drawn.frames, drawn.labels, drawn.times_s, drawn.curve, drawn.marks)


KINDS: dict[str, Callable[[Path, Drawn], None]] = {
    "nifti": write_nifti,
    "png": write_png,
    "mp4": write_mp4,
}
"""What masks can be written as beside the clip set, and the folders they stand in."""


def check_kinds(kinds: Sequence[str]) -> None:
    """Refuse what masks cannot be written as.

    Raises:
        UsageError: If there is such a name.
        MachineError: If this machine cannot write films and is asked for them.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(
                f"Masks cannot be written as {kind}.", f"Choose among {', '.join(KINDS)}."
            )
    if "mp4" in kinds:
        check_encoder("mp4")
