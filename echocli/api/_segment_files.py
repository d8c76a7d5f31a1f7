"""Masks of a clip as files that other programs read: NIfTI and PNG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from echocli.api._segment_measures import Labels, Spacing
from echocli.api._segment_overlay import COLOURS
from echocli.errors import UsageError

Times = NDArray[np.float64] | None


def write_nifti(
    folder: Path, clip_id: str, labels: Labels, spacing: Spacing, times: Times
) -> None:
    """Write a clip's masks as one file, columns first and frames last.

    Its zooms are millimetres and seconds; 1 stands with units unknown where there is no scale,
    and time is that between frames on average.

    Args:
        folder: Gets ``CLIP.nii.gz``.
        clip_id: Pseudonym of the clip.
        labels: ``(frames, height, width)``.
        spacing: Height and width of a pixel in millimetres, if known.
        times: Time of each frame in seconds, if known.
    """
    image = nibabel.Nifti1Image(np.ascontiguousarray(labels.T)[:, :, None], np.eye(4))
    rows_mm, columns_mm = spacing or (1.0, 1.0)
    step_s = 1.0 if times is None or len(times) < 2 else float(np.diff(times).mean())
    image.header.set_zooms((columns_mm, rows_mm, 1.0, step_s))
    image.header.set_xyzt_units(
        "unknown" if spacing is None else "mm", "unknown" if times is None else "sec"
    )
    folder.mkdir(exist_ok=True)
    nibabel.save(image, folder / f"{clip_id}.nii.gz")


def write_png(
    folder: Path, clip_id: str, labels: Labels, spacing: Spacing, times: Times
) -> None:
    """Write every frame's mask as a picture whose pixels are the classes, shown in colours.

    Args:
        folder: Gets ``CLIP_00000.png`` and so on.
        clip_id: Pseudonym of the clip.
        labels: ``(frames, height, width)``.
        spacing: A picture has none.
        times: Nor times.
    """
    del spacing, times
    folder.mkdir(exist_ok=True)
    palette = [
        number for value in range(max(COLOURS) + 1) for number in COLOURS.get(value, (0,) * 3)
    ]
    for frame, mask in enumerate(labels):
        picture = Image.fromarray(mask)
        picture.putpalette(palette)
        picture.save(folder / f"{clip_id}_{frame:05d}.png")


Write = Callable[[Path, str, Labels, Spacing, Times], None]
KINDS: dict[str, Write] = {"nifti": write_nifti, "png": write_png}
"""What masks can be written as beside the clip set, and the folders they stand in."""


def check_kinds(kinds: Sequence[str]) -> None:
    """Refuse what masks cannot be written as.

    Raises:
        UsageError: If there is such a name.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(
                f"Masks cannot be written as {kind}.", f"Choose among {', '.join(KINDS)}."
            )
