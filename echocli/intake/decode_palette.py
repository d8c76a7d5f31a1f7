"""Reads the colour tables of PALETTE COLOR pictures."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRBigEndian

from echocli.intake.dicom import Header
from echocli.intake.guard import foreign
from echocli.intake.reasons import Reason

DISCRETE, LINEAR, INDIRECT = range(3)
"""Kinds of segments, PS3.3 C.7.9.2."""
MOST_ENTRIES = 1 << 16


def colour_table(header: Header) -> NDArray[np.uint8]:
    """Return the red, green and blue of each stored value, ``(values, 3)``.

    Values below the first that the palette maps have its first colour; those above the table
    are the caller's to clip to its last.

    Raises:
        Refused: If the palette is missing or broken.

    Source:
        PS3.3 C.7.6.3.1.5, C.7.6.3.1.6 and C.7.9.
    """
    with foreign(Reason.UNDECODABLE, "the colour palette is broken"):
        channels = [_channel(header, name) for name in ("Red", "Green", "Blue")]
        return np.stack(channels, axis=-1)


def _channel(header: Header, name: str) -> NDArray[np.uint8]:
    dataset: Any = header.dataset
    told = [int(value) for value in dataset[f"{name}PaletteColorLookupTableDescriptor"].value]
    count, first, depth = told[0] or MOST_ENTRIES, told[1], told[2]
    keyword = f"{name}PaletteColorLookupTableData"
    segmented = f"Segmented{keyword}" in dataset
    data = bytes(dataset[f"Segmented{keyword}" if segmented else keyword].value)
    if header.transfer_syntax == ExplicitVRBigEndian:  # words that pydicom leaves as they are
        data = np.frombuffer(data, dtype=">u2").astype("<u2").tobytes()
    values: NDArray[np.uint16]
    if segmented:
        values = _expanded(data, depth // 8)
    else:  # entries of 8 bits may be kept in words
        kind = "<u2" if len(data) >= 2 * count else "u1"
        values = np.frombuffer(data, dtype=kind)[:count].astype(np.uint16)
    if len(values) != count or depth not in (8, 16):
        raise ValueError("the table is shorter than its descriptor says")
    if depth == 16 and values.max(initial=0) > 255:  # some keep 8 bits in words of 16
        values = (values >> 8).astype(np.uint16)
    return np.concatenate([np.repeat(values[:1], max(first, 0)), values]).astype(np.uint8)


def _expanded(data: bytes, width: int) -> NDArray[np.uint16]:
    """Return the entries of a segmented table."""
    form = {1: "B", 2: "H"}[width]
    words = struct.unpack(f"<{len(data) // width}{form}", data[: len(data) // width * width])
    entries: list[int] = []
    position = 0
    while position + 1 < len(words):  # a last single word is padding
        kind, length = words[position : position + 2]
        if kind == INDIRECT:
            low, high = _offset(words[position + 2 :], width)
            _append(entries, words, (low | high << 16) // width, length)
            position += 2 + 4 // width
        else:
            position = _append(entries, words, position, 1)
    return np.array(entries, dtype=np.uint16)


def _offset(words: tuple[int, ...], width: int) -> tuple[int, int]:
    if width == 2:
        return words[0], words[1]
    return words[0] | words[1] << 8, words[2] | words[3] << 8


def _append(entries: list[int], words: tuple[int, ...], position: int, segments: int) -> int:
    """Append discrete and linear segments from a position on; return where they end."""
    for _ in range(segments):
        kind, length = words[position : position + 2]
        position += 2
        if kind == DISCRETE:
            entries.extend(words[position : position + length])
            position += length
        elif kind == LINEAR:
            start, end = entries[-1], words[position]
            steps = np.arange(1, length + 1) * (end - start) / length
            entries.extend(np.rint(start + steps).astype(int).tolist())
            position += 1
        else:
            raise ValueError("a segment of an unknown kind")
        if len(entries) > MOST_ENTRIES:
            raise ValueError("more entries than a palette may have")
    return position
