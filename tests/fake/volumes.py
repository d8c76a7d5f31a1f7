"""NIfTI loops of the data sets that hold nothing else."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
from fake.parts import loop
from numpy.typing import NDArray

SIZE = (120, 160)


def write_stack(path: Path, pictures: NDArray[np.uint8], *, columns_first: bool) -> None:
    """Write ``(frames, rows, columns)`` with time last."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = pictures.transpose(2, 1, 0) if columns_first else pictures.transpose(1, 2, 0)
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(stored), np.eye(4)), path)


def write_pair(
    folder: Path,
    name: str,
    number: int,
    codes: dict[int, int],
    *,
    every: int = 5,
    columns_first: bool = False,
) -> None:
    """Write a loop, and outlines of every so manieth frame if there are codes.

    Args:
        folder: Where.
        name: Of the loop.
        number: Which loop.
        codes: The file's code for each of the phantom's structures.
        every: Distance between outlined frames.
        columns_first: How the axes are stored.
    """
    frames, masks = loop(number, *SIZE)
    write_stack(folder / f"{name}_image.nii.gz", frames, columns_first=columns_first)
    if codes:
        drawn = np.zeros_like(masks)
        for ours, theirs in codes.items():
            drawn[::every][masks[::every] == ours] = theirs
        write_stack(folder / f"{name}_label.nii.gz", drawn, columns_first=columns_first)
