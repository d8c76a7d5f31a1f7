"""Turns stored values of any depth and colour model into grey and colour differences."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echocli.intake.decode_palette import colour_table
from echocli.intake.dicom import Header
from echocli.intake.pixels import (
    Colour,
    Picture,
    differences,
    luma_of_rgb,
    picture_of_rgb,
    picture_of_ybr,
)
from echocli.intake.reasons import Reason, Refused


class Model(Enum):
    """What the samples of a pixel mean."""

    GREY = "grey"
    INVERTED = "inverted grey"
    INDEX = "index into a palette"
    RGB = "red, green, blue"
    YBR = "luma, blue and red difference of full range"
    YBR_LIMITED = "luma, blue and red difference of limited range"


MODELS = {
    "MONOCHROME1": Model.INVERTED,
    "MONOCHROME2": Model.GREY,
    "PALETTE COLOR": Model.INDEX,
    "RGB": Model.RGB,
    "YBR_FULL": Model.YBR,
    "YBR_FULL_422": Model.YBR,
    "YBR_PARTIAL_420": Model.YBR_LIMITED,
    "YBR_PARTIAL_422": Model.YBR_LIMITED,
}
"""Photometric Interpretation, PS3.3 C.7.6.3.1.2, where it says what the samples mean."""
MOST_BITS = 16
OF_ONE_SAMPLE = (Model.GREY, Model.INVERTED, Model.INDEX)


@dataclass(frozen=True)
class Samples:
    """One frame as it is stored."""

    values: NDArray[Any]
    """``(height, width)``, or ``(height, width, 3)`` for three samples a pixel."""
    model: Model
    bits: int
    """How many bits of each value count."""


def model_of(header: Header) -> Model:
    """Return what the samples mean by the header alone.

    Raises:
        Refused: If its colour model is none that ultrasound uses, or does not fit the number of
            samples.
    """
    model = MODELS.get(header.photometric)
    if model is None or (model in OF_ONE_SAMPLE) != (header.samples == 1):
        raise Refused(Reason.UNDECODABLE, "colours are stored in an unknown way")
    return model


def grey_model(header: Header) -> Model:
    """Return what the only sample of a pixel means."""
    model = MODELS.get(header.photometric, Model.GREY)
    return model if model in OF_ONE_SAMPLE else Model.GREY


class Developer:
    """Turns the stored values of a file's frames into pictures.

    Values are scaled by the bits that the header declares, never by what one loop happens to
    reach: the grey of two loops can be compared. Signed values count from their lowest.
    Modality and VOI look-up tables, rescale and windows are not applied: the US Image module
    has none (PS3.3 C.8.5.6), what a scanner stores is what it showed, and a window that
    somebody set later would make one loop brighter than the next.
    """

    def __init__(self, header: Header) -> None:
        self._header = header
        self._levels: dict[tuple[int, bool], NDArray[np.uint8]] = {}
        self._palette: NDArray[np.uint8] | None = None

    def picture(self, samples: Samples, colour: Colour) -> Picture:
        """Return the grey, and the colour if it is wanted, of one frame.

        Raises:
            Refused: If a value has more bits than it should, or the palette is broken.
        """
        values, model = samples.values, samples.model
        if not 1 <= samples.bits <= MOST_BITS:
            raise Refused(Reason.UNDECODABLE, "pixels are stored in an unknown way")
        if values.ndim != (2 if model in OF_ONE_SAMPLE else 3):
            raise Refused(Reason.UNDECODABLE, "another number of samples than declared")
        if model is Model.INDEX:
            return self._of_palette(values, colour)
        eight = self._eight_bits(values, samples.bits, inverted=model is Model.INVERTED)
        if model in OF_ONE_SAMPLE:
            return Picture(eight)
        if model is Model.RGB:
            return picture_of_rgb(eight, colour)
        limited = model is Model.YBR_LIMITED
        return picture_of_ybr(
            eight[..., 0], eight[..., 1], eight[..., 2], colour, limited=limited
        )

    def _of_palette(self, values: NDArray[Any], colour: Colour) -> Picture:
        if self._palette is None:
            self._palette = colour_table(self._header)
        index = np.minimum(values, len(self._palette) - 1)
        grey = luma_of_rgb(self._palette[None])[0][index]
        return Picture(grey, differences(self._palette)[:, index] if colour else None)

    def _eight_bits(
        self, values: NDArray[Any], bits: int, *, inverted: bool
    ) -> NDArray[np.uint8]:
        signed = self._header.signed
        if values.dtype == np.uint8 and bits == 8 and not signed and not inverted:
            return values
        unsigned = values.view(f"u{values.dtype.itemsize}")
        if signed:  # whatever lies above the sign only repeats it
            unsigned = unsigned & ((1 << bits) - 1)
        elif unsigned.max(initial=0) >> bits:
            raise Refused(Reason.UNDECODABLE, "values of more bits than the header declares")
        eight: NDArray[np.uint8] = self._table(bits, inverted)[unsigned]
        return eight

    def _table(self, bits: int, inverted: bool) -> NDArray[np.uint8]:
        """Return the grey of each stored value."""
        if (bits, inverted) not in self._levels:
            levels = np.arange(1 << bits, dtype=np.int64)
            if self._header.signed:
                levels ^= 1 << (bits - 1)  # two's complement to an offset from the lowest
            if bits >= 8:
                levels >>= bits - 8
            else:
                levels = levels * 255 // ((1 << bits) - 1)
            grey = levels.astype(np.uint8)
            self._levels[bits, inverted] = 255 - grey if inverted else grey
        return self._levels[bits, inverted]
