"""Opens the de-identified DICOM files that this program wrote."""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import generate_frames


def open_copy(path: Path) -> Any:  # noqa: ANN401
    """Return the whole data set of a file.

    Raises:
        InvalidDicomError: If the file is none.
    """
    return pydicom.dcmread(path)


def stored_frames(
    copy: Any,  # noqa: ANN401
    chosen: Container[int] | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a data set as they are stored, ``(height, width)`` each.

    Args:
        copy: A data set.
        chosen: Which frames; all if left out.
    """
    streams = generate_frames(copy.PixelData, number_of_frames=int(copy.NumberOfFrames))
    for index, stream in enumerate(streams):
        if chosen is None or index in chosen:
            yield imagecodecs.jpegls_decode(stream)
