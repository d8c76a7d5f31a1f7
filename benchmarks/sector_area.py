"""How true the masked sector is on phantoms, most of them with a rib's shadow at the edge.

    python benchmarks/sector_area.py [--count 110] [--seed 5] [--as-drawn] [--loops FOLDER]

Each phantom is written as JPEG-baseline DICOM of 240 to 708 rows and quality 60 to 95, and read
as any file. Prints one row for each whose area errs by more than ``--limit``, and a summary:
areas against the truth, lit tissue lost, loops with a note that tells of a doubt. Ends with 1
if one is beyond the limit or refused. ``--as-drawn`` adds no shadow to any; ``--loops``
keeps the files, so that a second run need not draw them again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echocli.intake.loop import CineLoop
from echocli.intake.read import read_loop
from echocli.intake.reasons import Refused
from echocli.intake.sector import find_sector
from echocli.phantoms.dicom import DicomOptions, write_loop
from echocli.phantoms.patient import Patient, PhantomConfig, draw_patient
from echocli.phantoms.scanner import Shadow
from echocli.phantoms.screen import draw_screen

SIZES = ((240, 320), (300, 400), (360, 480), (300, 400), (480, 640), (240, 320), (430, 600),
         (300, 400), (360, 480), (708, 1016))  # fmt: skip
QUALITIES = (60, 70, 75, 80, 85, 90, 95)
SHORT = PhantomConfig(seconds=(0.6, 0.7), frame_rates_hz=(25.0, 30.0))
LIT = 40
"""Grey levels that tissue reaches in some frame where it is lit."""


@dataclass(frozen=True)
class Found:
    """What became of one phantom."""

    index: int
    shadowed: bool
    error: float
    """Area found over the true one, less 1; 0 for what was refused."""
    lost: float
    """Share of the lit tissue that is masked."""
    refused: str = ""
    """Why there is no sector."""
    notes: tuple[str, ...] = ()
    """On its sector, and ``damaged_frame``."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=110)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--limit", type=float, default=0.02)
    parser.add_argument("--as-drawn", action="store_true", help="add no shadows")
    parser.add_argument("--loops", type=Path, help="keep the phantoms here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = options.loops or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        places = range(options.count)
        found = [look(place, options.seed, index, options.as_drawn) for index in places]
    beyond = [one for one in found if abs(one.error) > options.limit]
    refused = [one for one in found if one.refused]
    for one in (*beyond, *refused):
        kind = "shadowed" if one.shadowed else "as drawn"
        print(f"phantom {one.index}, {kind}: area {one.error:+.2%}", one.refused, *one.notes)
    errors = np.abs([one.error for one in found if not one.refused])
    lost = np.array([one.lost for one in found if not one.refused])
    print(
        f"{len(found)} phantoms, {sum(one.shadowed for one in found)} shadowed: "
        f"{len(errors) - len(beyond)} of {len(errors)} within {options.limit:.0%}, "
        f"{np.percentile(errors, 95):.2%} at the 95th percentile, {errors.max():.2%} at most"
    )
    print(f"lit tissue lost: {np.median(lost):.2%} in the median, {lost.max():.2%} at most")
    noted = Counter(note for one in found for note in one.notes)
    print("notes:", ", ".join(f"{count} {note}" for note, count in sorted(noted.items())))
    print(f"refused, though they have a sector: {len(refused)}")
    return 1 if beyond or refused else 0


def look(folder: Path, seed: int, index: int, as_drawn: bool = False) -> Found:
    """Write a phantom, unless it is there, and compare its sector with the truth."""
    shadowed = index % 5 != 0 and not as_drawn
    name = f"{seed}-{index}-as-drawn" if as_drawn else f"{seed}-{index}"
    path, truth_path = folder / f"{name}.dcm", folder / f"{name}.npy"
    patient = draw_patient(seed, index, SHORT)
    if not truth_path.exists():
        write(path, truth_path, shaded(patient) if shadowed else patient)
    truth = np.load(truth_path)
    try:
        loop = read_loop(path)
        found = find_sector(loop)
    except Refused as refused:
        return Found(index, shadowed, 0.0, 0.0, str(refused))
    lit = is_lit(loop) & truth
    lost = float((lit & ~found.mask).sum() / max(lit.sum(), 1))
    error = float(found.mask.sum() / truth.sum() - 1)
    damaged = tuple(note for note in loop.notes if note == "damaged_frame")
    return Found(index, shadowed, error, lost, notes=found.notes + damaged)


def write(path: Path, truth_path: Path, patient: Patient) -> None:
    """Write a phantom's file and the truth of its sector."""
    height, width = SIZES[patient.index % len(SIZES)]
    view = ("A4C", "A2C")[patient.index // 2 % 2]
    screen = draw_screen(patient, view=view, height=height, width=width)
    quality = QUALITIES[patient.index % len(QUALITIES)]
    write_loop(path, patient, screen, DicomOptions(quality=quality))
    np.save(truth_path, screen.place(screen.loop.sector[None].astype(np.uint8))[0] > 0)


def shaded(patient: Patient) -> Patient:
    """Put a rib at one edge: the darkest let nothing through from a centimetre on."""
    rng = np.random.default_rng([patient.seed, patient.index, 77])
    half = patient.scanner.half_angle_deg
    side = 1 if rng.random() < 0.5 else -1
    shadow = Shadow(
        angle_deg=side * half * float(rng.uniform(0.8, 1.0)),
        width_deg=float(rng.uniform(5.0, 11.0)),
        loss_db=float(rng.uniform(15.0, 45.0)),
        from_mm=float(rng.uniform(0.0, 25.0)),
    )
    return replace(patient, scanner=replace(patient.scanner, shadows=(shadow,)))


def is_lit(loop: CineLoop) -> NDArray[np.bool_]:
    """Return the pixels that are bright in the brightest of a few frames."""
    return np.asarray(loop.frames[:: max(1, len(loop.frames) // 8)].max(0) >= LIT)


if __name__ == "__main__":
    sys.exit(main())
