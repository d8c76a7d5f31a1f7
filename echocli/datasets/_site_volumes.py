"""What the data sets of one group share: NIfTI loops with sparse outlines, one folder a class.

CardiacUDA and CardiacNet store ``<name>_image.nii.gz`` and, of some, ``<name>_label.nii.gz``:
pictures of 800 x 600 or 1024 x 768, rows first or columns first.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echocli.datasets._pictures import bare_loop, grey_of, read_volume
from echocli.intake.looks import is_static
from echocli.intake.loop import MIN_FRAMES, CineLoop
from echocli.intake.reasons import Reason, Refused

IMAGE, LABEL = "_image.nii.gz", "_label.nii.gz"


def images_of(folder: Path) -> list[Path]:
    """Return the loops of a folder, sorted."""
    return sorted(folder.glob(f"*{IMAGE}"))


def read(path: Path, codes: Mapping[int, int]) -> CineLoop:
    """Read one loop with the frames that are outlined.

    The axes are height, width and time; but some files were written columns first. All
    recordings are wider than high, and that tells them apart.

    Args:
        path: The loop.
        codes: Our structure for each of the file's; others become background.

    Raises:
        Refused: If a file is broken, or the loop too short or motionless.
    """
    volume, _ = read_volume(path)
    frames = grey_of(_upright(volume))
    if len(frames) == 1:
        raise Refused(Reason.STILL)
    if len(frames) < MIN_FRAMES:
        raise Refused(Reason.TOO_FEW_FRAMES)
    if is_static(frames, None):
        raise Refused(Reason.STATIC)
    truth = path.with_name(path.name.removesuffix(IMAGE) + LABEL)
    if not truth.is_file() or not codes:
        return bare_loop(path, frames)
    drawn, _ = read_volume(truth)
    if drawn.shape != volume.shape:
        raise Refused(Reason.UNDECODABLE, "masks and frames differ in shape")
    drawn = _upright(drawn)
    marked = np.flatnonzero(drawn.any((1, 2)))
    if not len(marked):
        return bare_loop(path, frames)
    masks = np.stack([_filled(drawn[frame], codes) for frame in marked])
    return bare_loop(path, frames, masks=masks, mask_frames=tuple(int(k) for k in marked))


def _upright(volume: NDArray[Any]) -> NDArray[Any]:
    """Return ``(frames, rows, columns)`` of rows-first, or of tall columns-first, stacks."""
    rows_first = volume.shape[0] <= volume.shape[1]
    return volume.transpose(2, 0, 1) if rows_first else volume.transpose(2, 1, 0)


def _filled(drawn: NDArray[Any], codes: Mapping[int, int]) -> NDArray[np.uint8]:
    """Return one mask in our structures, contours filled."""
    mask = np.zeros(drawn.shape, np.uint8)
    for theirs, ours in codes.items():
        mask[ndimage.binary_fill_holes(drawn == theirs)] = ours
    return mask
