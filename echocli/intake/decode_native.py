"""Reads frames that are not compressed."""

from __future__ import annotations

from collections.abc import Iterator
from io import BufferedReader
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRBigEndian

from echocli.intake.decode_samples import Model, Samples, model_of
from echocli.intake.dicom import Header
from echocli.intake.elements import Elements
from echocli.intake.extent import HALVED_COLOUR, check_length, native_frame_bytes, pixel_extent
from echocli.intake.reasons import Reason, Refused

ITEM_TAG = b"\xfe\xff\x00\xe0"
"""How compressed pixel data begin; no scan does."""


class Layout:
    """How one uncompressed frame lies in its bytes.

    Not pydicom's: it takes a loop of YBR_FULL_422 for YBR_FULL after the first frame.

    Args:
        header: What the file declares.

    Raises:
        Refused: If the declaration contradicts itself, or the depth is unknown.
    """

    def __init__(self, header: Header) -> None:
        self.model = model_of(header)
        self.halved = header.photometric in HALVED_COLOUR
        self.bytes = native_frame_bytes(header)
        self._shape = (header.rows, header.columns)
        self._planes = header.planar_configuration == 1
        allocated, stored = header.bits_allocated, header.bits_stored
        high_bit = Elements(header.dataset).integer("HighBit", absent=stored - 1)
        if not stored <= high_bit + 1 <= allocated:
            high_bit = stored - 1
        least = 8 if header.samples == 3 else 1  # PS3.3 C.7.6.3.1.2: colours have 8 bits
        possible = allocated in (8, 16) and least <= stored <= allocated
        odd = header.columns % 2 if self.halved else 0
        if not possible or odd or header.photometric == "YBR_PARTIAL_420":
            raise Refused(Reason.UNDECODABLE, "pixels are stored in an unknown way")
        big = header.transfer_syntax == ExplicitVRBigEndian
        self._type = np.dtype(f"{'>' if big else '<'}u{allocated // 8}")
        self._bits = stored
        self._shift = high_bit + 1 - stored
        self._mask = (1 << stored) - 1

    def samples(self, data: bytes) -> Samples:
        """Return the samples of one frame."""
        values: NDArray[Any] = np.frombuffer(data, dtype=self._type)
        values = values.astype(self._type.newbyteorder("="), copy=False)
        if self._bits < 8 * self._type.itemsize:  # overlays may lie in the other bits
            values = (values >> self._shift) & self._mask
        rows, columns = self._shape
        if self.model not in (Model.RGB, Model.YBR, Model.YBR_LIMITED):
            values = values.reshape(rows, columns)
        elif self.halved:  # Y1 Y2 Cb Cr for each pair of pixels, PS3.3 C.7.6.3.1.2
            quads = values.reshape(rows, columns // 2, 4)
            colour = np.repeat(quads[..., 2:], 2, axis=1)
            grey = quads[..., :2].reshape(rows, columns, 1)
            values = np.concatenate([grey, colour], axis=-1)
        elif self._planes:
            values = np.moveaxis(values.reshape(3, rows, columns), 0, -1)
        else:
            values = values.reshape(rows, columns, 3)
        return Samples(values, self.model, self._bits)


def native_frames(file: BufferedReader, header: Header) -> Iterator[Samples]:
    """Read one frame at a time.

    Args:
        file: The file as ``open_dicom`` gives it.
        header: What it declares.

    Raises:
        Refused: If there are fewer pixels than declared, or a frame more.
    """
    layout = Layout(header)
    extent = pixel_extent(file, header)
    swapped = (
        header.transfer_syntax == ExplicitVRBigEndian
        and header.bits_allocated == 8
        and extent.in_words
    )
    file.seek(extent.start)
    if file.peek(4)[:4] == ITEM_TAG:
        raise Refused(Reason.UNDECODABLE, "the pixel data are not what the header says")
    check_length(extent, header)
    ahead = b""
    for _ in range(header.frames):
        wanted = layout.bytes - len(ahead)
        fresh = file.read(wanted + wanted % 2 if swapped else wanted)
        if len(fresh) < wanted:
            raise Refused(Reason.TRUNCATED)
        if swapped:
            fresh = np.frombuffer(fresh, dtype=">u2").astype("<u2").tobytes()
        data, ahead = ahead + fresh[:wanted], fresh[wanted:]
        yield layout.samples(data)
