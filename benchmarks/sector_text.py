"""How much of a text planted over the scan the mask leaves, and what it costs besides.

    python benchmarks/sector_text.py [--cases 40] [--phantoms 12] [--seed 3] [FILE...]

``FILE``: real loops without text over the scan, of your own; they take turns with phantoms.
Each case plants one line of 7 to 24 pixels, opaque or not, at a place where most of it lies
over the scan and can be seen, compresses the frames as JPEG and looks for the sector. A case is
*left* if more than a tenth of the glyphs' visible pixels are kept. Places are drawn at random,
and texts that tissue covers are drawn again.

Where tesseract is installed it looks, too, before and after masking, at the part of the
picture around the text: three of the frames that show it, the brightest and the darkest
projection, each as it is and inverted, three times as large. It has *read* the text if it gives
one of its words of four letters or more, however unsure, or any word of which it is sure
(``tests/ocr.py``).
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "intake"))

from ocr import CONFIDENT, LETTERS, mosaic, read_rows
from sector_area import look
from test_sector_text import Written, through_jpeg, write

from echocli.intake.loop import CineLoop
from echocli.intake.read import read_loop
from echocli.intake.reasons import Refused
from echocli.intake.sector import find_sector

KINDS = {
    # grey values, and how many frames show the text; 0 is all
    "bright, whole loop": ((170, 256), (0, 0)),
    "dark, whole loop": ((0, 25), (0, 0)),
    "bright, 3 to 10 frames": ((210, 256), (3, 10)),
    "bright, 1 or 2 frames": ((210, 256), (1, 2)),
    "dark, 3 to 10 frames": ((0, 25), (3, 10)),
    "dark, 1 or 2 frames": ((0, 25), (1, 2)),
}
TEXTS = (
    "DOE JOHN 12.03.1970",
    "INVENTED, PERSON",
    "ID 4711-0815",
    "Mrs Example",
    "LVIDd 4.25 cm",
)
LEFT = 0.1
"""Share of the visible pixels of the glyphs that must be cut out but for this."""
LEAST_SEEN = 60
TRIES = 60
AROUND, SCALE = 30, 3
"""Pixels around a text that are read with it, and how much larger."""
READS = shutil.which("tesseract") is not None


@dataclass(frozen=True)
class Scan:
    """A loop without text, and its sector as it is found."""

    name: str
    loop: CineLoop
    clean: NDArray[np.bool_]


@dataclass(frozen=True)
class Outcome:
    """What became of one text."""

    what: str
    cost: float = 0.0
    """Share of the sector that was cut out besides."""
    legible: bool = False
    """Whether the OCR engine read it before."""
    read: bool = False
    """And whether it does in what is left."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--cases", type=int, default=40, help="of each kind")
    parser.add_argument("--phantoms", type=int, default=12)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--kind", action="append", choices=list(KINDS))
    parser.add_argument("--loops", type=Path, help="keep the phantoms here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = options.loops or Path(folder)
        scans = list(scans_of(place, options.seed, options.phantoms, options.files))
    print("| text | cases | cut out | some left | refused | more cut than the text, median "
          "| read before | read after: of those left, of those cut out |")  # fmt: skip
    print("|--" * 8 + "|")
    for number, kind in enumerate(KINDS):
        if options.kind and kind not in options.kind:
            continue
        rng = np.random.default_rng([options.seed, number])
        outcomes = []
        for case in range(options.cases):
            scan = scans[case % len(scans)]
            outcomes.append(one_case(scan, kind, rng))
            if outcomes[-1].what == "left" or outcomes[-1].read:
                last = outcomes[-1]
                told = f"{kind}: {last.what} in {scan.name}, case {case}"
                print(told + ", read" * last.read, file=sys.stderr)
        print("|", " | ".join(map(str, cells(kind, outcomes))), "|", flush=True)
    return 0


def scans_of(folder: Path, seed: int, phantoms: int, files: list[Path]) -> Iterator[Scan]:
    """Give phantoms and real loops in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(1, phantoms + 1):
        if not (folder / f"{seed}-{index}.npy").exists():
            look(folder, seed, index)
    made = [folder / f"{seed}-{index}.dcm" for index in range(1, phantoms + 1)]
    for pair in range(max(len(made), len(files))):
        for path in (*made[pair : pair + 1], *files[pair : pair + 1]):
            try:
                loop = read_loop(path)
                yield Scan(path.stem, loop, find_sector(loop).mask)
            except Refused as refused:
                print(f"{path.stem} has no clip: {refused}", file=sys.stderr)


def cells(kind: str, outcomes: list[Outcome]) -> list[str | int]:
    counts = Counter(each.what for each in outcomes)
    cost = np.median([each.cost for each in outcomes if each.what in ("cut", "left")])
    read = Counter(each.what for each in outcomes if each.read)
    return [
        kind,
        len(outcomes) - counts["no place"],
        *(counts[what] for what in ("cut", "left", "refused")),
        f"{cost:.1%}",
        sum(each.legible for each in outcomes) if READS else "-",
        f"{read['left']}, {read['cut']}" if READS else "-",
    ]


def one_case(scan: Scan, kind: str, rng: np.random.Generator) -> Outcome:
    """Plant a text, look for the sector, and see what is left."""
    values, lengths = KINDS[kind]
    frames = scan.loop.frames
    for _ in range(TRIES):
        whole = lengths[1] == 0
        count = len(frames) if whole else int(rng.integers(lengths[0], lengths[1] + 1))
        start = int(rng.integers(0, len(frames) - count + 1))
        how = Written(
            size=int(rng.integers(7, 25)),
            value=int(rng.integers(*values)),
            opacity=float(rng.choice([1.0, 1.0, 0.6])) if whole else 1.0,
            text=str(rng.choice(TEXTS)),
        )
        rows, columns = np.nonzero(scan.clean)
        pick = int(rng.integers(len(rows)))
        at = (int(columns[pick]) - 3 * how.size, int(rows[pick]) - how.size // 2)
        shown = replace(scan.loop, frames=frames[start : start + count])
        written, seen = write(shown, at, how)
        if (seen & scan.clean).sum() >= max(LEAST_SEEN, 0.7 * seen.sum()):
            break
    else:
        return Outcome("no place")
    changed = frames.copy()
    changed[start : start + count] = through_jpeg(written.frames)
    seen &= scan.clean
    try:
        found = find_sector(replace(scan.loop, frames=changed)).mask
    except Refused:
        return Outcome("refused")
    box = np.zeros_like(seen)
    box[at[1] - 6 : at[1] + 2 * how.size + 6, max(0, at[0] - 20) : at[0] + 14 * how.size] = True
    cost = float((scan.clean & ~found & ~box).sum() / scan.clean.sum())
    what = "left" if (found & seen).sum() > LEFT * seen.sum() else "cut"
    rows, columns = (np.flatnonzero(seen.any(axis)) for axis in (1, 0))
    part = np.s_[
        max(0, rows[0] - AROUND) : rows[-1] + AROUND,
        max(0, columns[0] - AROUND) : columns[-1] + AROUND,
    ]
    legible, read = (
        READS and is_read(changed[start : start + count, *part] * mask[part], how.text)
        for mask in (np.ones_like(found), found)
    )
    return Outcome(what, cost, legible, read)


def is_read(frames: NDArray[np.uint8], text: str) -> bool:
    """Return whether the OCR engine reads a word of the text, or is sure of any."""
    chosen = frames[np.unique(np.linspace(0, len(frames) - 1, 3).astype(int))]
    pictures = [*chosen, frames.max(axis=0), frames.min(axis=0)]
    pictures += [np.asarray(255 - picture) for picture in pictures]
    wanted = [word.upper() for word in re.findall(r"\w+", text) if len(word) >= LETTERS]
    for word, confidence in read_rows(mosaic(pictures, SCALE)):
        letters = "".join(filter(str.isalnum, word)).upper()
        sure = confidence >= CONFIDENT and len(letters) >= LETTERS
        if sure or any(each in letters for each in wanted):
            return True
    return False


if __name__ == "__main__":
    sys.exit(main())
