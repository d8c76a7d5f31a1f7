"""What the OCR engine tesseract reads in the frames that are kept, and in those that come in.

    python benchmarks/ocr_frames.py [--frames 6] [--phantoms 6] [--seed 3] [FILE...]

Of each loop some frames and the brightest projection are masked, made twice as large and read
one by one. A word is confident if tesseract gives it 60 per cent or more and it has four
letters or digits (``tests/ocr.py``). Prints for each loop the confident words before and after
masking, and how many others were read after: those are what speckle gives. Ends with 1 if a
confident word is left.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from ocr import CONFIDENT, LETTERS, read_rows
from sector_area import look

from echocli.intake.read import read_loop
from echocli.intake.reasons import Refused
from echocli.intake.sector import find_sector

SCALE = 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--frames", type=int, default=6, help="of each loop")
    parser.add_argument("--phantoms", type=int, default=6)
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for index in range(options.phantoms):
            look(Path(name), options.seed, index)
        paths = [*sorted(Path(name).glob("*.dcm")), *options.files]
        left = [found for path in paths for found in told(path, options.frames)]
    print(f"confident words left: {', '.join(left) or 'none'}")
    return 1 if left else 0


def told(path: Path, count: int) -> list[str]:
    """Print what is read in one loop; return the confident words that are left."""
    try:
        loop = read_loop(path)
        sector = find_sector(loop)
    except Refused:
        return []
    chosen = np.unique(np.linspace(0, len(loop.frames) - 1, count).astype(int))
    before = read([loop.frames[0]])
    kept = [*(loop.frames[chosen] * sector), loop.frames.max(axis=0) * sector]
    after = read(kept)
    words = [word for word, confidence in after if is_confident(word, confidence)]
    went_in = {word for word, confidence in before if is_confident(word, confidence)}
    lengths = Counter(min(sum(map(str.isalnum, word)), LETTERS) for word, _ in after)
    highest = max((at for word, at in after if letters(word) >= LETTERS), default=0.0)
    print(
        f"{path.stem}: {len(kept)} pictures; before: {' '.join(sorted(went_in)) or '-'}; "
        f"after: {' '.join(words) or '-'}; others by letters "
        f"{dict(sorted(lengths.items()))}, of {LETTERS} and more at most {highest:.0f} %",
        flush=True,
    )
    return words


def read(pictures: list[np.ndarray]) -> list[tuple[str, float]]:
    found = []
    for picture in pictures:
        image = Image.fromarray(picture)
        size = (image.width * SCALE, image.height * SCALE)
        found += read_rows(image.resize(size, Image.Resampling.BICUBIC))
    return found


def letters(word: str) -> int:
    return sum(map(str.isalnum, word))


def is_confident(word: str, confidence: float) -> bool:
    return confidence >= CONFIDENT and letters(word) >= LETTERS


if __name__ == "__main__":
    sys.exit(main())
