"""Looks for identifiers in everything that a command wrote, in every form they might take."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import re
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SHORTEST = 5
"""Shorter texts are met by chance."""
SHORTEST_IN_PIXELS = 8
"""In millions of grey bytes, six in a row that spell a time of day are met by chance, too."""
PIXELS = (".u8", ".png", ".safetensors", ".pt")
PICTURE = re.compile(rb"data:image/[a-z]+;base64,([A-Za-z0-9+/=]+)")


def forms(identifier: str) -> set[bytes]:
    """Return what an identifier may look like in a file, in lower case."""
    found: set[bytes] = set()
    for text in (identifier, identifier[::-1]):
        for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
            raw = text.encode(encoding)
            found |= {raw, raw.hex().encode()}
            for shift in range(3):  # base64 of a text that starts anywhere in a group of three
                packed = base64.b64encode(b"\0" * shift + raw)
                # Only the letters that depend on the text alone, but all of them.
                found.add(packed[(0, 2, 3)[shift] : (shift + len(raw)) * 8 // 6])
    raw = identifier.encode()
    for name in ("md5", "sha1", "sha256"):
        found.add(hashlib.new(name, raw).hexdigest().encode())
    found |= {quote(identifier).encode(), raw.replace(b"^", b" "), raw.replace(b"^", b"_")}
    return {form.lower() for form in found if len(form) >= SHORTEST}


def texts_in(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file, and of what is packed inside it."""
    content = path.read_bytes()
    if path.suffix == ".html":  # the letters of packed pictures spell anything
        yield from (base64.b64decode(found[1]) for found in PICTURE.finditer(content))
        content = PICTURE.sub(b"", content)
    yield content
    if content[:4] == b"\x89PNG":
        yield from _unpacked_texts(content)
    if content[:2] == b"\x1f\x8b":
        yield gzip.decompress(content)
    if content[:4] == b"PAR1":
        yield from _parquet(content)
    if content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                yield member.encode() + b"\n" + archive.read(member)


def _unpacked_texts(content: bytes) -> Iterator[bytes]:
    """Yield what the compressed text chunks of a PNG file say."""
    for found in re.finditer(rb"(zTXt|iTXt)", content):
        chunk = content[found.end() :]
        start = chunk.find(b"\x78\x9c")
        if 0 <= start < 200:
            yield zlib.decompressobj().decompress(chunk[start:])


def _parquet(content: bytes) -> Iterator[bytes]:
    table = pq.read_table(io.BytesIO(content))
    yield repr(table.schema.metadata).encode()
    for name in table.column_names:
        column = table[name]
        numbers = (pa.types.is_list, pa.types.is_fixed_size_list, pa.types.is_floating)
        if any(is_numbers(column.type) for is_numbers in numbers):
            continue
        for value in column.to_pylist():
            yield value if isinstance(value, bytes) else str(value).encode()


def find_leaks(outputs: Iterable[Path | str | bytes], identifiers: Iterable[str]) -> list[str]:
    """Return which identifiers stand where; nothing if none does.

    Args:
        outputs: Folders, files, or what was written to the terminal.
        identifiers: Names, numbers, dates, names of files.
    """
    needles = [text for text in {*identifiers} if len(text) >= SHORTEST]
    anywhere = [(shape, text) for text in needles for shape in forms(text)]
    long = [text for text in needles if len(text) >= SHORTEST_IN_PIXELS]
    in_pixels = [(text.lower().encode(), text) for text in long]
    searches = {False: _Search(anywhere), True: _Search(in_pixels)}
    return sorted(
        f"{text!r} in {place}"
        for place, content, pixels in _contents(outputs)
        for text in searches[pixels].found_in(content.lower())
    )


class _Search:
    """Finds thousands of strings in megabytes, by the first eight bytes of each."""

    def __init__(self, shapes: list[tuple[bytes, str]]) -> None:
        self.short = [(shape, text) for shape, text in shapes if len(shape) < 8]
        self.long: dict[int, list[tuple[bytes, str]]] = defaultdict(list)
        for shape, text in shapes:
            if len(shape) >= 8:
                self.long[int.from_bytes(shape[:8], "little")].append((shape, text))
        self.starts = np.array(sorted(self.long), dtype=np.uint64)

    def found_in(self, content: bytes) -> set[str]:
        found = {text for shape, text in self.short if shape in content}
        for shift in range(min(8, max(0, len(content) - 7))):
            words = np.frombuffer(content, "<u8", (len(content) - shift) // 8, shift)
            for index in np.flatnonzero(np.isin(words, self.starts)):
                begins = content[8 * int(index) + shift :]
                candidates = self.long[int(words[index])]
                found |= {text for shape, text in candidates if begins.startswith(shape)}
        return found


def _contents(outputs: Iterable[Path | str | bytes]) -> Iterator[tuple[str, bytes, bool]]:
    for output in outputs:
        if isinstance(output, str):
            yield "a text", output.encode("utf-8", "surrogateescape"), False
        elif isinstance(output, bytes):
            yield "a text", output, False
        else:
            inside = sorted(output.rglob("*")) if output.is_dir() else [output]
            for path in inside:
                yield f"the name of {path}", path.relative_to(output).as_posix().encode(), False
                if path.is_file():
                    for content in texts_in(path):
                        yield str(path), content, path.suffix in PIXELS
