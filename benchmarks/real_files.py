"""What becomes of real files: one row of a table for each, and a picture of each clip.

    python benchmarks/real_files.py FOLDER... [--pictures FOLDER] > table.md

Files that are no ultrasound at all are counted by reason, not listed. The names of the files
are printed: give it public test files only.
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from echocli.intake.loop import CineLoop
from echocli.intake.read import FileDescription, describe, read_loop
from echocli.intake.reasons import Reason, Refused
from echocli.intake.sector import find_sector
from echocli.intake.sources import find_sources

HEAD = (
    "file", "syntax", "kind", "frames", "size", "rate (source)", "mm per pixel (source)",
    "became",
)  # fmt: skip
NO_ULTRASOUND = (
    Reason.NOT_AN_IMAGE, Reason.NOT_ULTRASOUND, Reason.NO_IMAGE, Reason.STRUCTURED_REPORT,
    Reason.DICOMDIR, Reason.ARCHIVE, Reason.EMPTY, Reason.UNREADABLE,
)  # fmt: skip
PICTURE_HEIGHT = 400


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--pictures", type=Path, help="before and after each clip, as PNG")
    options = parser.parse_args()
    for folder in options.folders:
        print(f"\n### {folder.name}\n")
        print_table(folder, options.pictures)


def print_table(folder: Path, pictures: Path | None) -> None:
    print("|", " | ".join(HEAD), "|")
    print("|" + "--|" * len(HEAD))
    left_out: Counter[str] = Counter()
    for path in find_sources([folder]):
        said = describe(path)
        if said.reason in NO_ULTRASOUND:
            left_out[said.detail] += 1
            continue
        became = outcome(path, path.relative_to(folder), pictures)
        print("|", " | ".join(cells(path.relative_to(folder), said, became)), "|")
    for detail, count in left_out.most_common():
        print(f"\n{count} more: {detail}.")


def cells(name: Path, said: FileDescription, became: str) -> list[str]:
    rate = "" if said.rate_hz is None else f"{said.rate_hz:.2f} "
    millimetres = "" if said.spacing_mm is None else "{:.4f} x {:.4f} ".format(*said.spacing_mm)
    size = "" if said.rows is None else f"{said.columns} x {said.rows}"
    return [
        f"`{name}`",
        said.transfer_syntax or "",
        said.kind.value,
        str(said.frames or ""),
        size,
        f"{rate}({said.time_source})",
        f"{millimetres}({said.spacing_source})",
        became,
    ]


def outcome(path: Path, name: Path, pictures: Path | None) -> str:
    """Return what the file became: a clip with its sector's share, or the reason."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loop = read_loop(path)
        sector = find_sector(loop).mask
    except Refused as refused:
        return f"{refused.reason.value}: {refused.detail}"
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
        picture_of(loop, sector).save(pictures / ("_".join(name.parts) + ".png"))
    return f"**clip**, sector {sector.mean():.0%} of the picture"


def picture_of(loop: CineLoop, sector: np.ndarray) -> Image.Image:
    """Show a frame, then the masked first frame, brightest and darkest projection."""
    shown = [
        loop.frames[0],
        loop.frames[0] * sector,
        loop.frames.max(0) * sector,
        loop.frames.min(0) * sector,
    ]
    row = Image.fromarray(np.concatenate(shown, axis=1))
    return row.resize((row.width * PICTURE_HEIGHT // row.height, PICTURE_HEIGHT))


if __name__ == "__main__":
    main()
