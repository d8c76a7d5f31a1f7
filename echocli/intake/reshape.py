"""From the sector's rectangle of the picture to a small square clip, scale carried through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from echocli.clips.mask_grid import Box, thinned

Kind = TypeVar("Kind", bound=np.generic)

COVERED = 0.5
"""Share of a stored pixel that the scan must cover for it to count as scan."""


@dataclass(frozen=True)
class Frame:
    """How a rectangle of the picture becomes a square of ``size`` pixels.

    Pixels become square first (some scanners store them 25 % wider than high), the longer side
    fills the square, the shorter one is centred on black.
    """

    rows: slice
    columns: slice
    height: int
    width: int
    size: int
    spacing_mm: tuple[float, float] | None
    """Height and width of a stored pixel; exact, so they may differ by half a pixel's share."""

    @classmethod
    def around(
        cls, sector: NDArray[np.bool_], size: int, spacing_mm: tuple[float, float] | None
    ) -> Frame:
        """Frame the smallest rectangle that holds the sector.

        Args:
            sector: Where the scan is, ``(height, width)``; not empty.
            size: Side of the square.
            spacing_mm: Height and width of a pixel; pixels count as square if it is unknown.
        """
        row_indices = np.flatnonzero(sector.any(axis=1))
        column_indices = np.flatnonzero(sector.any(axis=0))
        rows = slice(int(row_indices[0]), int(row_indices[-1]) + 1)
        columns = slice(int(column_indices[0]), int(column_indices[-1]) + 1)
        row_mm, column_mm = spacing_mm or (1.0, 1.0)
        tall = (rows.stop - rows.start) * row_mm
        wide = (columns.stop - columns.start) * column_mm
        scale = size / max(tall, wide)
        height, width = max(1, round(tall * scale)), max(1, round(wide * scale))
        stored = (tall / height, wide / width) if spacing_mm else None
        return cls(rows, columns, height, width, size, stored)

    def frames(
        self, frames: NDArray[np.uint8], sector: NDArray[np.bool_]
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Return the stored frames and their sector.

        Each stored pixel is the mean of the scan pixels under it; what lies outside the sector
        is black and does not darken its border.
        """
        inside = sector[self.rows, self.columns]
        share = self._resized(inside.astype(np.float32))
        kept = share >= COVERED
        small = np.zeros((len(frames), self.height, self.width), np.uint8)
        masked = np.empty(inside.shape, np.float32)
        for index, frame in enumerate(frames):
            np.multiply(frame[self.rows, self.columns], inside, out=masked)
            mean = self._resized(masked)[kept] / share[kept]
            small[index][kept] = np.clip(np.rint(mean), 0, 255)
        return self._padded(small), self._padded(kept)

    def masks(self, masks: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Box]:
        """Return masks of structures, cropped but in their own pixels, and where they lie."""
        top, left = self._corner
        box = top, top + self.height, left, left + self.width
        return thinned(masks[:, self.rows, self.columns]), box

    @property
    def _corner(self) -> tuple[int, int]:
        """Row and column of the square at which the picture begins."""
        return (self.size - self.height) // 2, (self.size - self.width) // 2

    def _resized(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        if image.shape == (self.height, self.width):
            return image
        smaller = self.height < image.shape[0] or self.width < image.shape[1]
        method = Image.Resampling.BOX if smaller else Image.Resampling.BILINEAR
        resized = Image.fromarray(image).resize((self.width, self.height), method)
        return np.asarray(resized, dtype=np.float32)

    def _padded(self, images: NDArray[Kind]) -> NDArray[Kind]:
        top, left = self._corner
        square = np.zeros((*images.shape[:-2], self.size, self.size), images.dtype)
        square[..., top : top + self.height, left : left + self.width] = images
        return square
