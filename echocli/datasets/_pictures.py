"""What adapters need of pictures: sectors that came masked, drawn outlines, volumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echocli.intake.convex import convex_shape
from echocli.intake.fingerprint import fingerprint
from echocli.intake.guard import check_readable, check_size, foreign, quiet
from echocli.intake.loop import CineLoop
from echocli.intake.mhd import read_mhd
from echocli.intake.nifti import NIBABEL_ERRORS
from echocli.intake.reasons import Reason, Refused
from echocli.intake.timing import is_step

NARROWEST = 4.0
"""Pixels of lit border below which a bump on the sector is none of it."""


def sector_of(frames: NDArray[np.uint8], dark: int = 12) -> NDArray[np.bool_]:
    """Return the sector of frames that are masked already: around the largest piece ever lit.

    Texts and marks that the data set left outside are smaller pieces, and stay outside. What
    is dark in every frame, a shadow or the far end, belongs to the sector, which is convex.

    Args:
        frames: Grey, ``(frames, height, width)``.
        dark: Grey levels up to this are compression noise.
    """
    lit = ndimage.binary_opening(frames.max(0) > dark, iterations=1)
    pieces, count = ndimage.label(lit)
    if count == 0:
        return np.zeros(lit.shape, np.bool_)
    largest = 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
    return convex_shape(pieces == largest, 1, lit.shape, NARROWEST)


def fill_polygon(
    x: NDArray[np.float64], y: NDArray[np.float64], height: int, width: int
) -> NDArray[np.bool_]:
    """Return the pixels whose centre lies in a polygon, by the even-odd rule.

    Args:
        x: Column of each corner; 0 is the centre of the first pixel.
        y: Row of each corner.
        height: Rows of the mask.
        width: Columns of the mask.
    """
    rows = np.arange(height)[:, None]
    columns = np.arange(width)[None, :, None]
    x2, y2 = np.roll(x, -1), np.roll(y, -1)
    straddles = (y <= rows) != (y2 <= rows)
    run = np.where(y2 == y, 1.0, y2 - y)
    at = x + (rows - y) / run * (x2 - x)
    left = (at[:, None, :] > columns) & straddles[:, None, :]
    return np.asarray(left.sum(-1) % 2 == 1)


def read_volume(path: Path) -> tuple[NDArray[Any], tuple[float, float]]:
    """Read a stack of pictures as NIfTI stores it: ``(columns, rows, frames)``.

    Returns:
        The stack, and the width and height of a pixel in millimetres.

    Raises:
        Refused: If the file is missing, broken, too large, or has another number of sides.
    """
    broken = "a NIfTI file is missing or broken"
    check_readable(path)
    with quiet(), foreign(Reason.UNREADABLE, broken, also=NIBABEL_ERRORS):
        image = nibabel.load(path)
        shape = tuple(int(side) for side in image.header.get_data_shape())
        zooms = [float(zoom) for zoom in image.header.get_zooms()]
    if len(shape) == 4 and 1 in shape[2:]:
        shape = (*shape[:2], shape[2] * shape[3])
    if len(shape) == 2:
        raise Refused(Reason.STILL)
    if len(shape) != 3:
        raise Refused(Reason.VOLUME)
    check_size(shape[2], shape[1], shape[0])
    with quiet(), foreign(Reason.TRUNCATED, "a NIfTI file is cut off", also=NIBABEL_ERRORS):
        volume = np.asanyarray(image.dataobj).reshape(shape)
    return volume, (zooms[0], zooms[1])


def read_metaimage(path: Path) -> tuple[NDArray[np.uint8], tuple[float, float] | None]:
    """Read a MetaImage stack as ``(frames, rows, columns)`` and ``(row_mm, column_mm)``.

    Raises:
        Refused: If a file is missing or broken.
    """
    check_readable(path)
    frames, header = read_mhd(path)
    return frames, header.spacing_mm


def grey_of(volume: NDArray[Any]) -> NDArray[np.uint8]:
    """Return grey levels of 0 to 255 as bytes.

    Raises:
        Refused: If there are others.
    """
    if volume.dtype == np.uint8:
        return np.ascontiguousarray(volume)
    if volume.dtype.kind not in "iuf":
        raise Refused(Reason.UNDECODABLE, "grey levels outside 0 to 255")
    low, high = volume.min(), volume.max()
    if not (low >= 0 and high <= 255):  # so that NaN is refused, too
        raise Refused(Reason.UNDECODABLE, "grey levels outside 0 to 255")
    return np.ascontiguousarray(np.rint(volume).astype(np.uint8))


def bare_loop(path: Path, frames: NDArray[np.uint8], **known: Any) -> CineLoop:  # noqa: ANN401
    """Return a loop of grey frames of which nothing is known but what is given.

    Args:
        path: The file that the frames come from.
        frames: Grey, ``(frames, height, width)``.
        known: Further fields of the loop.
    """
    sha256 = fingerprint(path)
    unknown: dict[str, Any] = {
        "chroma": np.zeros(frames.shape[1:], np.uint8),
        "times_s": None,
        "time_source": "unknown",
        "spacing_mm": None,
        "spacing_source": "unknown",
        "region": None,
        "patient_key": sha256,
        "study_key": sha256,
    }
    return CineLoop(frames=frames, sha256=sha256, **{**unknown, **known})


def at_rate(loop: CineLoop, rate_hz: float | None) -> CineLoop:
    """Return the loop with the frame rate that its data set tells; as it is if none may be."""
    if not rate_hz or not is_step(1000 / rate_hz):
        return loop
    times = np.arange(len(loop.frames)) / rate_hz
    return replace(loop, times_s=times, time_source="dataset")
