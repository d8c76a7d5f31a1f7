"""Looks for identifiers in bytes, in every form they might take, fast enough for terabytes."""

from __future__ import annotations

import base64
import math
import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

SHORTEST = 5
"""Shorter identifiers (``1``, ``A4C``) say nothing by themselves and are met by chance."""
SHORTEST_IN_STREAMS = 8
"""Compressed bytes look random: eight of them are met by chance once in 10**19 places."""
RAREST = 16.0
"""Decades against meeting a form by chance in grey pixels. A terabyte searched for 10,000 forms
is 10**16 trials; ``55555555`` is any flat grey of 53, and so not looked for there."""
SPECKLE = 6.0
"""Mean difference of neighbouring pixels in grey levels, of scans; rather more than less."""
LONGEST = 256
"""A longer identifier is as good as its beginning."""
CHUNK = 1 << 24
OVERLAP = 4 * LONGEST
"""Pieces share more bytes than any form has: one of UTF-16 in hexadecimal digits is the
longest."""

_GRAM = 4
_TABLE_BITS = 20
_LOWER = np.uint32(0x20202020)
_MIXER = np.uint32(2654435761)
_EXACT = re.compile(r"[0-9a-f]{,11}")
"""What a keyed hash might hold by chance: it counts only where it stands alone."""


def forms_of(identifier: str) -> set[bytes]:
    """Return the bytes that give an identifier away, in lower case.

    Plain, reversed, UTF-16, hexadecimal, and base64 at each of the three places in which a text
    can start.
    """
    forms: set[bytes] = set()
    for text in {identifier, identifier.casefold()}:
        plain = text.encode("utf-8", "surrogateescape")[:LONGEST]
        # Without its last byte, the little-endian form stands inside the big-endian one, too.
        wide = text.encode("utf-16-le", "surrogatepass")[:LONGEST].rstrip(b"\0")
        forms |= {plain, plain[::-1], wide}
        for raw in (plain, wide):
            forms.add(raw.hex().encode())
            forms |= {_packed(raw, shift) for shift in range(3)}
    return {form.lower() for form in forms}


def _packed(raw: bytes, shift: int) -> bytes:
    """Return those letters of base64 that depend on this text alone."""
    letters = base64.b64encode(bytes(shift) + raw)
    return letters[(0, 2, 3)[shift] : (shift + len(raw)) * 8 // 6]


def decades(form: bytes) -> float:
    """Return how unlikely bytes are in a row of pixels, as a negative power of ten.

    Differences of neighbours are taken as Laplace-distributed about zero.
    """
    steps = np.abs(np.diff(np.frombuffer(form, np.uint8).astype(np.int16)))
    each = math.log10(2 * SPECKLE) + steps * (math.log10(math.e) / SPECKLE)
    return math.log10(256) + float(each.sum())


class Needles:
    """Identifiers to look for.

    Args:
        identifiers: Raw identifiers of the sources.
        own_words: Texts that this program writes itself; what stands in them is no identifier.
    """

    def __init__(self, identifiers: Iterable[str], own_words: str = "") -> None:
        own = own_words.casefold()
        telling = {text.strip() for text in identifiers}
        self.identifiers = sorted(
            text for text in telling if len(text) >= SHORTEST and text.casefold() not in own
        )
        self._forms = {form for text in self.identifiers for form in forms_of(text)}

    def in_text(self, content: bytes) -> bool:
        """Return whether a text, such as JSON, holds an identifier."""
        return self._in_text.found_in(content)

    def in_stream(self, content: bytes) -> bool:
        """Return whether compressed bytes hold an identifier."""
        return self._in_streams.found_in(content)

    def in_pixels(self, file: BinaryIO) -> bool:
        """Return whether grey values spell an identifier, one that no scan spells by chance.

        Args:
            file: The raw pixels; they are read piece by piece.
        """
        start = 0
        while chunk := file.read(CHUNK + OVERLAP):
            if self._in_pixels.found_in(chunk):
                return True
            start += CHUNK
            file.seek(start)
        return False

    @cached_property
    def _in_text(self) -> _Index:
        return _Index((form for form in self._forms if len(form) >= SHORTEST), stride=1)

    @cached_property
    def _in_streams(self) -> _Index:
        long = (form for form in self._forms if len(form) >= SHORTEST_IN_STREAMS)
        return _Index(long, stride=_GRAM)

    @cached_property
    def _in_pixels(self) -> _Index:
        return _Index((f for f in self._forms if len(f) >= 7 and decades(f) > RAREST), _GRAM)


class _Index:
    """Finds many byte strings at once: four bytes at a time choose the few places to look at.

    Args:
        forms: The strings, in lower case.
        stride: Distance of the places that are looked at.
    """

    def __init__(self, forms: Iterable[bytes], stride: int) -> None:
        self._stride = stride
        self._table = np.zeros(1 << _TABLE_BITS, np.bool_)
        self._forms: dict[int, list[tuple[bytes, int]]] = defaultdict(list)
        for form in forms:
            for offset in range(stride):
                gram = np.frombuffer(form[offset : offset + _GRAM], "<u4") | _LOWER
                self._forms[int(gram[0])].append((form, offset))
                self._table[_mixed(gram)] = True
        self._grams = np.array(sorted(self._forms), np.uint32)

    def found_in(self, content: bytes) -> bool:
        """Return whether one of the strings stands in some bytes."""
        for shift in range(_GRAM // self._stride if self._forms else 0):
            size = (len(content) - shift) // _GRAM
            if size <= 0:
                continue
            grams = np.frombuffer(content, "<u4", size, shift) | _LOWER
            likely = np.flatnonzero(self._table[_mixed(grams)])
            for index in likely[np.isin(grams[likely], self._grams)]:
                place = int(index) * _GRAM + shift
                if self._stands_at(content, place, int(grams[index])):
                    return True
        return False

    def _stands_at(self, content: bytes, place: int, gram: int) -> bool:
        return any(
            place >= offset
            and content[place - offset : place - offset + len(form)].lower() == form
            and (self._stride > 1 or _stands_alone(content, place - offset, form))
            for form, offset in self._forms[gram]
        )


def _mixed(grams: NDArray[np.uint32]) -> NDArray[np.uint32]:
    mixed: NDArray[np.uint32] = (grams * _MIXER) >> np.uint32(32 - _TABLE_BITS)
    return mixed


def _stands_alone(content: bytes, start: int, form: bytes) -> bool:
    """Return whether a form that hashes and numbers hold by chance stands alone in a text."""
    if not _EXACT.fullmatch(form.decode("latin-1")):
        return True
    around = content[max(start - 2, 0) : start], content[start + len(form) :][:1]
    before, after = (text.decode("latin-1") for text in around)
    number = re.search(r"\d\.$", before)  # decimals, such as those of 0.3333333
    return not (before[-1:].isalnum() or after.isalnum() or number)
