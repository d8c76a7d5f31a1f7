"""How much of a text planted over the scan the mask leaves, and what it costs besides.

    python benchmarks/sector_text.py [--cases 40] [--phantoms 12] [--seed 3] [FILE...]

``FILE``: real loops without text over the scan, of your own; they take turns with phantoms.
Each case plants one line of 7 to 24 pixels, opaque or not, at a place where most of it lies
over the scan and can be seen, compresses the frames as JPEG and looks for the sector. A case is
*left* if more than a tenth of the glyphs' visible pixels are kept. Places are drawn at random,
and texts that tissue covers are drawn again.
"""

from __future__ import annotations

import argparse
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


@dataclass(frozen=True)
class Scan:
    """A loop without text, and its sector as it is found."""

    name: str
    loop: CineLoop
    clean: NDArray[np.bool_]


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
    print("| text | cases | cut out | some left | refused | more cut than the text, median |")
    print("|--|--|--|--|--|--|")
    for number, kind in enumerate(KINDS):
        if options.kind and kind not in options.kind:
            continue
        rng = np.random.default_rng([options.seed, number])
        became: Counter[str] = Counter()
        costs = []
        for case in range(options.cases):
            scan = scans[case % len(scans)]
            what, cost = one_case(scan, kind, rng)
            became[what] += 1
            costs.append(cost)
            if what == "left":
                print(f"{kind}: left in {scan.name}, case {case}", file=sys.stderr)
        counts = [became[what] for what in ("cut", "left", "refused")]
        cells = [kind, sum(became.values()), *counts, f"{np.median(costs):.1%}"]
        print("|", " | ".join(map(str, cells)), "|", flush=True)
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
                yield Scan(path.stem, loop, find_sector(loop))
            except Refused as refused:
                print(f"{path.stem} has no clip: {refused}", file=sys.stderr)


def one_case(scan: Scan, kind: str, rng: np.random.Generator) -> tuple[str, float]:
    """Return what became of a text, and the share of the sector that it cost besides."""
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
        return "no place", 0.0
    changed = frames.copy()
    changed[start : start + count] = through_jpeg(written.frames)
    seen &= scan.clean
    try:
        found = find_sector(replace(scan.loop, frames=changed))
    except Refused:
        return "refused", 0.0
    box = np.zeros_like(seen)
    box[at[1] - 6 : at[1] + 2 * how.size + 6, max(0, at[0] - 20) : at[0] + 14 * how.size] = True
    cost = float((scan.clean & ~found & ~box).sum() / scan.clean.sum())
    return ("left" if (found & seen).sum() > LEFT * seen.sum() else "cut"), cost


if __name__ == "__main__":
    sys.exit(main())
