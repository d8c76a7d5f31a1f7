"""An OCR engine reads texts on real screens, and none in what is kept of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from ocr import mosaic, needs_tesseract, read_text

from echocli.intake.read import read_loop
from echocli.intake.reasons import Refused
from echocli.intake.sector import find_sector
from echocli.privacy.deid import cleaned
from echocli.privacy.sheets import strip

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "real"
"""Beside the project, where it is there; see its README."""


@pytest.fixture(scope="module")
def shown() -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Return what each real loop shows before and after masking."""
    if not REAL.is_dir():
        pytest.skip("no ../shared/data/real beside the project")
    pictures = []
    for path in sorted(path for path in REAL.rglob("*") if path.is_file()):
        try:
            loop = read_loop(path)
            sector = find_sector(loop).mask
        except Refused:
            continue
        few = loop.frames[[0, len(loop.frames) // 2, -1]]
        brightest = loop.frames.max(axis=0)
        kept = np.stack([cleaned(frame, sector) for frame in (*few, brightest)])
        pictures.append((few[0], strip(kept)))
    return pictures


@needs_tesseract
def test_no_word_is_left_of_real_screens(
    shown: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]],
) -> None:
    assert len(shown) >= 8
    assert read_text(mosaic([kept for _, kept in shown], 1)) == set()
    assert read_text(mosaic([before for before, _ in shown], 1))
