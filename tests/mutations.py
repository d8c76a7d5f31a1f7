"""Ways in which a file may be damaged: each takes bytes and draws from a generator."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from originals import SYNTAXES

Mutation = Callable[[bytes, Generator], bytes | None]
"""Returns the damaged bytes, or ``None`` if it does not fit the file."""

PIXEL_DATA = b"\xe0\x7f\x10\x00"
ITEM = b"\xfe\xff\x00\xe0"
NUMBERS = {
    "SamplesPerPixel": (0x0028, 0x0002), "PlanarConfiguration": (0x0028, 0x0006),
    "Rows": (0x0028, 0x0010), "Columns": (0x0028, 0x0011), "BitsAllocated": (0x0028, 0x0100),
    "BitsStored": (0x0028, 0x0101), "HighBit": (0x0028, 0x0102),
    "PixelRepresentation": (0x0028, 0x0103),
}  # fmt: skip
NUMBER_OF_FRAMES = (0x0028, 0x0008)
WILD = (0, 1, 2, 7, 8, 9, 16, 32, 255, 256, 1024, 4095, 32767, 32768, 65535)


def _span(size: int, draw: Generator, longest: int = 4096) -> tuple[int, int]:
    """Return start and end of a block somewhere in a file."""
    start = int(draw.integers(size))
    return start, min(size, start + 1 + int(2 ** draw.uniform(0, np.log2(longest))))


def truncate(content: bytes, draw: Generator) -> bytes:
    return content[: int(draw.integers(len(content)))]


def truncate_tail(content: bytes, draw: Generator) -> bytes:
    return content[: -int(draw.integers(1, 64))]


def append_noise(content: bytes, draw: Generator) -> bytes:
    return content + draw.bytes(int(draw.integers(1, 4096)))


def flip_bit(content: bytes, draw: Generator) -> bytes:
    return flip_bits(content, draw, 1)


def flip_bits(content: bytes, draw: Generator, count: int = 24) -> bytes:
    changed = bytearray(content)
    for place in draw.integers(len(content), size=count):
        changed[place] ^= 1 << int(draw.integers(8))
    return bytes(changed)


def flip_head(content: bytes, draw: Generator) -> bytes:
    changed = bytearray(content)
    for place in draw.integers(min(3500, len(content)), size=3):
        changed[place] = int(draw.integers(256))
    return bytes(changed)


def delete_block(content: bytes, draw: Generator) -> bytes:
    start, end = _span(len(content), draw)
    return content[:start] + content[end:]


def insert_block(content: bytes, draw: Generator) -> bytes:
    start, end = _span(len(content), draw)
    return content[:start] + draw.bytes(end - start) + content[start:]


def repeat_block(content: bytes, draw: Generator) -> bytes:
    start, end = _span(len(content), draw)
    return content[:end] + content[start:]


def splice(content: bytes, draw: Generator) -> bytes:
    """Overwrite a block with another part of the same file."""
    start, end = _span(len(content), draw)
    other = int(draw.integers(len(content)))
    block = content[other : other + end - start]
    return content[:start] + block + content[start + len(block) :]


def zero_block(content: bytes, draw: Generator) -> bytes:
    start, end = _span(len(content), draw, 16384)
    return content[:start] + bytes(end - start) + content[end:]


def swap_syntax(content: bytes, draw: Generator) -> bytes | None:
    """Name another transfer syntax, at the same length of the file."""
    found = re.search(rb"\x02\x00\x10\x00UI(..)([0-9.]+)\0?", content)
    if found is None:
        return None
    uid = str(draw.choice(SYNTAXES)).encode()
    padded = uid + b"\0" * (len(uid) % 2)
    element = b"\x02\x00\x10\x00UI" + struct.pack("<H", len(padded)) + padded
    end = found.start(2) + struct.unpack("<H", found.group(1))[0]
    return content[: found.start()] + element + content[end:]


def _element(content: bytes, tag: tuple[int, int], order: str) -> int:
    """Return where the value of a short element starts, explicit or implicit; -1 if absent."""
    name = struct.pack(f"{order}HH", *tag)
    place = content.find(name, 132, content.find(b"\xe0\x7f") if order == "<" else None)
    return -1 if place < 0 else place + 8


def change_number(content: bytes, draw: Generator) -> bytes | None:
    """Change one of the numbers that say how the pixels lie."""
    tag = NUMBERS[str(draw.choice(sorted(NUMBERS)))]
    place = _element(content, tag, "<")
    if place < 0:
        return None
    old = struct.unpack_from("<H", content, place)[0]
    near = (old + 1, max(old - 1, 0), 2 * old, old // 2)
    new = int(draw.choice(near)) if draw.random() < 0.6 else int(draw.choice(WILD))
    return content[:place] + struct.pack("<H", new & 0xFFFF) + content[place + 2 :]


def change_frames(content: bytes, draw: Generator) -> bytes | None:
    """Claim another number of frames, at the same length of the value."""
    place = _element(content, NUMBER_OF_FRAMES, "<")
    if place < 0:
        return None
    length = struct.unpack_from("<H", content, place - 2)[0] or content[place - 4]
    claims = ["0", "1", "2", "11", "13", "24", "99", "-1", "1e", "x", "", "1.", "\\5", "6\\"]
    claim = str(draw.choice([text for text in claims if len(text) <= length]))
    return content[:place] + claim.ljust(length).encode() + content[place + length :]


def change_length(content: bytes, draw: Generator) -> bytes | None:
    """Change the length that some element of the header declares."""
    places = [
        match.start() for match in re.finditer(rb"[\x00-\x7f]\x00..[A-Z]{2}", content[:3000])
    ]
    if not places:
        return None
    place = places[int(draw.integers(len(places)))] + 6
    new = int(draw.choice([0, 1, 3, 1 << 8, 1 << 15, (1 << 16) - 1]))
    return content[:place] + struct.pack("<H", new) + content[place + 2 :]


def fragments_of(content: bytes) -> tuple[int, list[bytes], bytes] | None:
    """Return where encapsulated items start, the items, and what follows them."""
    place = content.rfind(PIXEL_DATA)
    start = content.find(ITEM, place)
    if place < 0 or not place < start <= place + 16:
        return None
    items, at = [], start
    while content[at : at + 4] == ITEM:
        length = struct.unpack_from("<I", content, at + 4)[0]
        items.append(content[at + 8 : at + 8 + length])
        at += 8 + length
    return start, items, content[at:]


def _with_items(content: bytes, items: list[bytes]) -> bytes | None:
    found = fragments_of(content)
    if found is None:
        return None
    start, _, rest = found
    packed = b"".join(ITEM + struct.pack("<I", len(item)) + item for item in items)
    return content[:start] + packed + rest


def change_fragments(content: bytes, draw: Generator) -> bytes | None:
    """Double, drop or swap fragments; the offset table stays as it was."""
    found = fragments_of(content)
    if found is None or len(found[1]) < 3:
        return None
    table, *items = found[1]
    one, other = draw.choice(len(items), 2, replace=False)
    kind = draw.integers(3)
    if kind == 0:
        items.insert(one, items[one])
    elif kind == 1:
        del items[one]
    else:
        items[one], items[other] = items[other], items[one]
    return _with_items(content, [table, *items])


def cut_fragment(content: bytes, draw: Generator) -> bytes | None:
    """Cut one frame short and mend all lengths: only the codestream can tell."""
    found = fragments_of(content)
    if found is None or len(found[1]) < 2:
        return None
    items = list(found[1])
    one = int(draw.integers(1, len(items)))
    items[one] = items[one][: 2 * int(draw.integers(len(items[one]) // 2 + 1))]
    return _with_items(content, items)


def mangle_table(content: bytes, draw: Generator) -> bytes | None:
    """Write nonsense into the basic offset table."""
    found = fragments_of(content)
    if found is None:
        return None
    table, *items = found[1]
    count = len(table) // 4 or int(draw.integers(1, 20))
    numbers = draw.choice([0, 4, 8, 1000, 2**16, 2**31, 2**32 - 1], size=count)
    return _with_items(content, [numbers.astype("<u4").tobytes(), *items])


ANY_FILE: dict[str, Mutation] = {
    "truncate": truncate, "truncate the tail": truncate_tail, "append noise": append_noise,
    "flip one bit": flip_bit, "flip bits": flip_bits, "change the head": flip_head,
    "delete a block": delete_block, "insert a block": insert_block,
    "repeat a block": repeat_block, "splice": splice, "zero a block": zero_block,
}  # fmt: skip
DICOM_ONLY: dict[str, Mutation] = {
    "swap the syntax": swap_syntax, "change a number": change_number,
    "change the frames": change_frames, "change a length": change_length,
    "change fragments": change_fragments, "cut a fragment": cut_fragment,
    "mangle the table": mangle_table,
}  # fmt: skip
"""Damage that is aimed at what DICOM says about its pixels."""


def mutate(content: bytes, *, dicom: bool, draw: Generator) -> tuple[str, bytes]:
    """Damage a file in one of the ways that change it; return which, and the bytes."""
    ways = {**ANY_FILE, **(DICOM_ONLY if dicom else {})}
    names = sorted(ways)
    while True:
        name = names[int(draw.integers(len(names)))]
        changed = ways[name](content, draw)
        if changed is not None and changed != content:
            return name, changed
