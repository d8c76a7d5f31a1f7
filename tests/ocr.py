"""Reads pictures with tesseract, where it is installed."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

CONFIDENT, LETTERS = 60, 4
"""Per cent from which a word that tesseract reads counts, and its letters and digits at least:
in the speckle of eleven real loops without text it reads some hundred shorter or less confident
ones (``SS`` with 94, ``tees`` with 47) and none of both (``benchmarks/ocr_frames.py``)."""
BRIGHT = 225
"""Grey value that white text has and speckle seldom."""

needs_tesseract = pytest.mark.skipif(
    shutil.which("tesseract") is None, reason="tesseract is not installed"
)


def mosaic(pictures: list[NDArray[np.uint8]], scale: int) -> Image.Image:
    """Put pictures below each other, larger, so that one call reads them all."""
    width = max(picture.shape[1] for picture in pictures)
    rows = [np.pad(p, ((4, 4), (0, width - p.shape[1]))) for p in pictures]
    image = Image.fromarray(np.vstack(rows))
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.BICUBIC)


def read_text(image: Image.Image) -> set[str]:
    """Return the words of four letters or more that tesseract is sure of.

    Over speckle it reads nothing, however large and white the text; of the brightest pixels
    alone it does.
    """
    bright = image.point(lambda grey: 255 if grey < BRIGHT else 0)
    return read_picture(image) | read_picture(bright)


def read_picture(image: Image.Image) -> set[str]:
    """Return the confident words in a picture."""
    return {
        word.upper()
        for word, confidence in read_rows(image)
        if confidence >= CONFIDENT and sum(map(str.isalnum, word)) >= LETTERS
    }


def read_rows(image: Image.Image) -> list[tuple[str, float]]:
    """Return whatever tesseract reads, with its confidence in per cent."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    command = ["tesseract", "stdin", "stdout", "--psm", "11", "tsv"]
    one_thread = {**os.environ, "OMP_THREAD_LIMIT": "1"}
    done = subprocess.run(
        command, input=buffer.getvalue(), capture_output=True, check=True, env=one_thread
    )
    table = csv.DictReader(done.stdout.decode().splitlines(), delimiter="\t", quoting=3)
    return [(row["text"].strip(), float(row["conf"])) for row in table if row["text"].strip()]
