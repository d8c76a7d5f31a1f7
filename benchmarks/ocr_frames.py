"""What the OCR engine tesseract reads in the frames that are kept, and in those that come in.

    python benchmarks/ocr_frames.py [--frames 6] [--phantoms 6] [--seed 3] [FILE...]
    python benchmarks/ocr_frames.py --all --notes read.jsonl --minutes 7 [FILE...]

Of each loop some frames, or with ``--all`` every frame, and the brightest projection are
masked at full size, cropped to the sector, made twice as large and read one by one. A word is
confident if tesseract gives it 60 per cent or more and it has four letters or digits
(``tests/ocr.py``). A word is a planted one, however unsure, if it holds a confident word of the
unmasked first frame. Prints for each loop the confident words before and after masking, and how
many others were read after: those are what speckle gives.

``--notes`` keeps what was read, by the hash of the picture: the same command goes on where it
stopped, equal pictures are read once, and a changed mask is read anew. Ends with 1 if a planted
or a confident word is left, and with 2 if ``--minutes`` of processor time were too few.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from ocr import CONFIDENT, LETTERS, read_rows
from sector_area import look

from echocli.intake.loop import CineLoop
from echocli.intake.read import read_loop
from echocli.intake.reasons import Refused
from echocli.intake.sector import find_sector

SCALE = 2
Picture = NDArray[np.uint8]
Words = list[tuple[str, float]]


class TooLongError(Exception):
    """The processor time is spent."""


@dataclass(frozen=True)
class Reader:
    """Reads pictures, and knows those that it has read."""

    notes: Path | None
    seconds: float
    known: dict[str, Words]

    def read(self, picture: Picture) -> Words:
        """Return what tesseract reads, now or before."""
        digest = hashlib.sha256(picture.tobytes() + str(picture.shape).encode()).hexdigest()
        if digest not in self.known:
            times = os.times()
            if times.user + times.system + times.children_user > self.seconds:
                raise TooLongError
            image = Image.fromarray(picture)
            size = (image.width * SCALE, image.height * SCALE)
            self.known[digest] = read_rows(image.resize(size, Image.Resampling.BICUBIC))
            if self.notes is not None:
                with self.notes.open("a") as file:
                    print(json.dumps([digest, self.known[digest]]), file=file)
        return self.known[digest]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--frames", type=int, default=6, help="of each loop")
    parser.add_argument("--all", action="store_true", help="every frame of each loop")
    parser.add_argument("--phantoms", type=int, default=6)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--notes", type=Path, help="keep what was read here, to go on later")
    parser.add_argument("--minutes", type=float, default=60, help="of processor time")
    options = parser.parse_args()
    lines = options.notes.read_text().splitlines() if is_there(options.notes) else []
    known = {
        digest: [(word, at) for word, at in words] for digest, words in map(json.loads, lines)
    }
    reader = Reader(options.notes, 60 * options.minutes, known)
    left: list[str] = []
    count = 0
    with tempfile.TemporaryDirectory() as name:
        for index in range(options.phantoms):
            look(Path(name), options.seed, index)
        paths = [*sorted(Path(name).glob("*.dcm")), *options.files]
        try:
            for path in paths:
                pictures, words = told(path, None if options.all else options.frames, reader)
                count += pictures
                left += words
        except TooLongError:
            print(f"{count} pictures read of the first loops; run it again to go on")
            return 2
    print(f"{count} pictures; planted or confident words left: {', '.join(left) or 'none'}")
    return 1 if left else 0


def is_there(path: Path | None) -> bool:
    return path is not None and path.exists()


def told(path: Path, frames: int | None, reader: Reader) -> tuple[int, list[str]]:
    """Print what is read in one loop.

    Returns:
        How many pictures were looked at, and the planted and confident words that are left.
    """
    try:
        loop = read_loop(path)
        sector = find_sector(loop).mask
    except Refused as refused:
        print(f"{path.stem}: no clip ({refused.reason.value})", flush=True)
        return 0, []
    went_in = {word for word, at in reader.read(loop.frames[0]) if is_confident(word, at)}
    kept = pictures_of(loop, sector, frames)
    after = [found for picture in kept for found in reader.read(picture)]
    words = [
        word
        for word, at in after
        if is_confident(word, at) or any(planted in word for planted in went_in)
    ]
    lengths = Counter(min(letters(word), LETTERS) for word, _ in after)
    highest = max((at for word, at in after if letters(word) >= LETTERS), default=0.0)
    print(
        f"{path.stem}: {len(kept)} pictures; before: {' '.join(sorted(went_in)) or '-'}; "
        f"after: {' '.join(words) or '-'}; others by letters "
        f"{dict(sorted(lengths.items()))}, of {LETTERS} and more at most {highest:.0f} %",
        flush=True,
    )
    return len(kept), words


def pictures_of(loop: CineLoop, sector: NDArray[np.bool_], frames: int | None) -> list[Picture]:
    """Return masked frames and the brightest projection, cropped to the sector."""
    last = len(loop.frames) - 1
    chosen = np.unique(np.linspace(0, last, frames or last + 1).astype(int))
    rows, columns = (np.flatnonzero(sector.any(axis)) for axis in (1, 0))
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    shown = [*loop.frames[chosen], loop.frames.max(axis=0)]
    return [np.ascontiguousarray((frame * sector)[part]) for frame in shown]


def letters(word: str) -> int:
    return sum(map(str.isalnum, word))


def is_confident(word: str, confidence: float) -> bool:
    return confidence >= CONFIDENT and letters(word) >= LETTERS


if __name__ == "__main__":
    sys.exit(main())
