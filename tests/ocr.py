"""Reads pictures with tesseract, where it is installed."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

CONFIDENT = 85
"""Per cent from which a word that tesseract reads counts."""
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
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    command = ["tesseract", "stdin", "stdout", "--psm", "11", "tsv"]
    done = subprocess.run(command, input=buffer.getvalue(), capture_output=True, check=True)
    table = csv.DictReader(done.stdout.decode().splitlines(), delimiter="\t", quoting=3)
    return {
        row["text"].strip().upper()
        for row in table
        if float(row["conf"]) >= CONFIDENT and sum(map(str.isalnum, row["text"])) >= 4
    }
