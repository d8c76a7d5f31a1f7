"""Reads cine loops stored as NIfTI volumes."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, HeaderTypeError
from numpy.typing import NDArray

from echocli.intake.guard import MAX_LOOP_BYTES, check_size, foreign, quiet
from echocli.intake.reasons import Reason, Refused
from echocli.intake.regions import is_scale
from echocli.intake.timing import is_step

NIBABEL_ERRORS = (ImageFileError, HeaderDataError, HeaderTypeError)
SECONDS_PER_UNIT = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
LEFT_OVER = "more data than the header declares"
MM_PER_UNIT = {"mm": 1.0, "meter": 1000.0, "micron": 1e-3, "unknown": 1.0}


@dataclass(frozen=True, kw_only=True)
class VolumeHeader:
    """What the header of a volume says, in our order of axes."""

    frames: int
    rows: int
    columns: int
    spacing_mm: tuple[float, float] | None
    """``(row_mm, column_mm)``."""
    step_s: float | None
    """Seconds from frame to frame."""


def describe_nifti(path: Path) -> VolumeHeader:
    """Read the header of a NIfTI file whose axes are x, y and frame.

    Raises:
        Refused: If it is broken, or no stack of pictures.
    """
    with quiet(), foreign(Reason.UNREADABLE, "the NIfTI header is broken", also=NIBABEL_ERRORS):
        return _nifti_header(nibabel.load(path).header)


def read_nifti(path: Path) -> tuple[NDArray[np.uint8], VolumeHeader]:
    """Read a NIfTI cine as ``(frames, rows, columns)``.

    Raises:
        Refused: If it is broken, too large, or not grey levels of 0 to 255.
    """
    with quiet(), foreign(Reason.UNREADABLE, "the NIfTI header is broken", also=NIBABEL_ERRORS):
        image = nibabel.load(path)
        header = _nifti_header(image.header)
    told = image.header.get_slope_inter()
    scaled = told not in ((None, None), (1.0, 0.0), (1.0, None))
    itemsize = 8 if scaled else image.get_data_dtype().itemsize
    check_wide(header.frames, header.rows, header.columns, itemsize)
    with quiet(), foreign(Reason.TRUNCATED, "the NIfTI data are cut off", also=NIBABEL_ERRORS):
        stored = np.asanyarray(image.dataobj)
    length = int(image.dataobj.offset) + image.get_data_dtype().itemsize * stored.size
    _check_rest(_pixel_file(image), length)
    shape = (header.columns, header.rows, header.frames)
    # Stored as x, y: the transpose is the picture.
    return to_grey(stored.reshape(shape).transpose(2, 1, 0)), header


def pixel_file(path: Path) -> Path:
    """Return the file that holds the pixels of a NIfTI header: itself, or its pair's other one.

    Raises:
        Refused: If the header is broken.
    """
    with quiet(), foreign(Reason.UNREADABLE, "the NIfTI header is broken", also=NIBABEL_ERRORS):
        return _pixel_file(nibabel.load(path))


def _pixel_file(image: Any) -> Path:  # noqa: ANN401
    return Path(image.file_map["image"].filename)


def _check_rest(path: Path, length: int) -> None:
    """Refuse a file that holds more than its header declares: the header is not its own.

    A compressed one is read to its end, where its checksum stands: nibabel stops before it.

    Raises:
        Refused: If it is longer, or its checksum is wrong.
    """
    if path.suffix != ".gz":
        left = path.stat().st_size - length
    else:
        broken = foreign(Reason.UNDECODABLE, "the compressed data are broken")
        with broken, gzip.open(path) as file:
            file.seek(length)
            left = len(file.read(1))
    if left > 0:
        raise Refused(Reason.UNDECODABLE, LEFT_OVER)


def _nifti_header(header: Any) -> VolumeHeader:  # noqa: ANN401
    shape = tuple(int(side) for side in header.get_data_shape())
    zooms = [float(zoom) for zoom in header.get_zooms()]
    if len(shape) == 4 and shape[2] == 1:
        columns, rows, _, frames = shape
        step = zooms[3]
    elif len(shape) == 3:
        columns, rows, frames = shape
        step = 0.0  # the third zoom of such files is a depth of 1 mm, not a time
    elif len(shape) == 2:
        raise Refused(Reason.STILL)
    else:
        raise Refused(Reason.VOLUME)
    space, time = header.get_xyzt_units()
    scale = MM_PER_UNIT.get(space, 1.0)
    seconds = step * SECONDS_PER_UNIT.get(time, 0.0)
    return VolumeHeader(
        frames=frames,
        rows=rows,
        columns=columns,
        spacing_mm=spacing(rows, columns, zooms[1] * scale, zooms[0] * scale),
        step_s=seconds if is_step(1000 * seconds) else None,
    )


def spacing(
    rows: int, columns: int, row_mm: float, column_mm: float
) -> tuple[float, float] | None:
    """Return the size of a pixel as a header tells it, or ``None`` if no heart has it."""
    scale = is_scale(rows * row_mm, columns * column_mm, row_mm, column_mm)
    return (row_mm, column_mm) if scale else None


def check_wide(frames: int, rows: int, columns: int, itemsize: int) -> None:
    """Refuse a volume whose stored values would not fit, before any is read.

    Raises:
        Refused: If it is larger than the memory allowed for one loop.
    """
    check_size(frames, rows, columns)
    if frames * rows * columns * itemsize > MAX_LOOP_BYTES:
        raise Refused(Reason.OUT_OF_MEMORY)


def to_grey(stored: NDArray[Any]) -> NDArray[np.uint8]:
    """Return grey levels of 0 to 255 as bytes, ``(frames, rows, columns)``.

    They are never stretched: a set that was scaled otherwise has lost its gain.

    Raises:
        Refused: If there are others.
    """
    if stored.dtype == np.uint8:
        return np.ascontiguousarray(stored)
    grey = np.empty(stored.shape, dtype=np.uint8)
    for place, frame in zip(grey, stored, strict=True):
        # The negation, so that NaN is refused, too.
        if stored.dtype.kind not in "iuf" or not (frame.min() >= 0 and frame.max() <= 255):
            raise Refused(Reason.UNDECODABLE, "grey levels outside 0 to 255")
        place[...] = np.rint(frame)
    return grey
