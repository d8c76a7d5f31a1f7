"""Reads cine loops stored as NIfTI or MetaImage (MHD) volumes."""

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

from echocli.intake.guard import check_readable, check_size, foreign, quiet
from echocli.intake.reasons import Reason, Refused

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
    check_size(header.frames, header.rows, header.columns)
    with quiet(), foreign(Reason.TRUNCATED, "the NIfTI data are cut off", also=NIBABEL_ERRORS):
        stored = np.asanyarray(image.dataobj)
    _check_rest(path, int(image.dataobj.offset) + image.get_data_dtype().itemsize * stored.size)
    shape = (header.columns, header.rows, header.frames)
    # Stored as x, y: the transpose is the picture.
    return _to_grey(stored.reshape(shape).transpose(2, 1, 0)), header


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
    column_mm, row_mm = zooms[0] * scale, zooms[1] * scale
    seconds = step * SECONDS_PER_UNIT.get(time, 0.0)
    return VolumeHeader(
        frames=frames,
        rows=rows,
        columns=columns,
        spacing_mm=(row_mm, column_mm) if row_mm > 0 and column_mm > 0 else None,
        step_s=seconds or None,
    )


def describe_mhd(path: Path) -> VolumeHeader:
    """Read the header of a MetaImage file.

    Raises:
        Refused: If it is broken, or no stack of pictures.
    """
    return _mhd_header(_mhd_fields(path))


def read_mhd(path: Path) -> tuple[NDArray[np.uint8], VolumeHeader]:
    """Read an uncompressed MetaImage cine as ``(frames, rows, columns)``.

    Raises:
        Refused: If it is broken, compressed, too large, or not of unsigned bytes.
    """
    fields = _mhd_fields(path)
    header = _mhd_header(fields)
    check_size(header.frames, header.rows, header.columns)
    name = fields.get("ElementDataFile", "")
    if fields.get("ElementType") != "MET_UCHAR" or fields.get("CompressedData") == "True":
        raise Refused(Reason.NO_DECODER, "only uncompressed MET_UCHAR data are read")
    if not name or Path(name).name != name:  # never follow a path out of the folder
        raise Refused(Reason.UNREADABLE, "the header names no data file beside it")
    data = path.parent / name
    length = header.frames * header.rows * header.columns
    size = check_readable(data)
    if size != length:
        raise (
            Refused(Reason.TRUNCATED)
            if size < length
            else Refused(Reason.UNDECODABLE, LEFT_OVER)
        )
    with foreign(Reason.UNREADABLE):
        stored = np.fromfile(data, dtype=np.uint8, count=length)
    return stored.reshape(header.frames, header.rows, header.columns), header


def _mhd_fields(path: Path) -> dict[str, str]:
    with foreign(Reason.UNREADABLE, "the MHD header is broken"):
        text = path.read_bytes()[: 1 << 16].decode("utf-8")
        lines = [line.split("=", 1) for line in text.splitlines() if "=" in line]
        return {key.strip(): value.strip() for key, value in lines}


def _mhd_header(fields: dict[str, str]) -> VolumeHeader:
    with foreign(Reason.UNREADABLE, "the MHD header is broken"):
        sides = [int(side) for side in fields["DimSize"].split()]
        spacing = fields.get("ElementSpacing", "").split()
        zooms = [float(zoom) for zoom in spacing]
    if len(sides) == 2:
        raise Refused(Reason.STILL)
    if len(sides) != 3:
        raise Refused(Reason.VOLUME)
    columns, rows, frames = sides
    known = len(zooms) >= 2 and min(zooms[:2]) > 0
    return VolumeHeader(
        frames=frames,
        rows=rows,
        columns=columns,
        spacing_mm=(zooms[1], zooms[0]) if known else None,
        step_s=None,
    )


def _to_grey(stored: NDArray[Any]) -> NDArray[np.uint8]:
    if stored.dtype == np.uint8:
        return np.ascontiguousarray(stored)
    finite = bool(np.isfinite(stored).all()) if stored.dtype.kind == "f" else True
    if not finite or stored.dtype.kind not in "iuf" or stored.min() < 0 or stored.max() > 255:
        raise Refused(Reason.UNDECODABLE, "grey levels outside 0 to 255")
    return np.ascontiguousarray(np.rint(stored).astype(np.uint8))
