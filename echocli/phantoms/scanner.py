"""The machine and the hand: sector, gain, shadows, noise, and how the probe moves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Shadow:
    """A fan of weak signal behind a rib or lung."""

    angle_deg: float
    width_deg: float
    loss_db: float
    from_mm: float = 10.0


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """How the loop is taken; the defaults are a good window and a steady hand."""

    depth_mm: float = 155.0
    half_angle_deg: float = 40.0
    frame_rate_hz: float = 50.0
    seconds: float = 2.0
    gain_db: float = 0.0
    dynamic_range_db: float = 58.0
    tgc_db: float = 0.0
    """Gain at full depth beyond what makes up for attenuation."""
    axial_mm: float = 0.65
    """Standard deviation of the pulse along the beam."""
    lateral_deg: float = 0.75
    """Standard deviation of the beam across; in millimetres it grows with depth."""
    noise_db: float = -58.0
    """Electronic noise at full depth, relative to the brightest reflector."""
    clutter_db: float = -24.0
    """Reverberation in the near field."""
    haze_db: float = -46.0
    """Stationary clutter over the cavities."""
    decorrelation: float = 0.35
    """Share of the speckle's scatterers that leave the plane from end diastole to systole."""
    speckle_s: float = 0.3
    """Time in which all of them are replaced."""
    flicker: float = 0.6
    """Amplitude of the scatterers that are new in each frame, as a share of those that stay."""
    shadows: tuple[Shadow, ...] = ()
    apex_mm: tuple[float, float] = (4.0, 26.0)
    """Across and depth of the heart's outer apex."""
    tilt_deg: float = -6.0
    """Angle of the long axis to the middle beam; negative leans the base to the right."""
    sway_mm: float = 0.0
    """Amplitude of the heart's shift with breathing."""
    sway_deg: float = 0.0
    """Amplitude of its rotation."""
    breathing_s: float = 4.0
    breathing_start: float = 0.0
    drift_mm_s: tuple[float, float] = (0.0, 0.0)
    """Steady slip of the probe."""

    def times_s(self) -> Floats:
        """Return the time of each frame."""
        count = max(8, round(self.seconds * self.frame_rate_hz))
        return np.arange(count) / self.frame_rate_hz

    def pose(self, time_s: float) -> tuple[float, float, float]:
        """Return across and depth of the apex in mm, and the tilt in radians."""
        turn = 2 * np.pi * (time_s / self.breathing_s + self.breathing_start)
        x = self.apex_mm[0] + 0.5 * self.sway_mm * np.cos(turn) + self.drift_mm_s[0] * time_s
        y = self.apex_mm[1] + self.sway_mm * np.sin(turn) + self.drift_mm_s[1] * time_s
        tilt = self.tilt_deg + self.sway_deg * np.sin(turn + 0.8)
        return float(x), float(y), float(np.deg2rad(tilt))


class SectorGrid:
    """Beams and samples of a sector, and the picture they are drawn into."""

    def __init__(self, scanner: Scanner, height: int, width: int) -> None:
        half = np.deg2rad(scanner.half_angle_deg)
        self.height, self.width = height, width
        self.spacing_mm = max(
            scanner.depth_mm / (0.96 * height),
            2 * scanner.depth_mm * np.sin(half) / (0.98 * width),
        )
        samples = int(np.clip(1.0 * scanner.depth_mm / self.spacing_mm, 96, 260))
        beams = int(np.clip(0.62 * samples * half / 0.7, 64, 180))
        self.first_mm = 2.5
        self.radii_mm = np.linspace(self.first_mm, scanner.depth_mm, samples)
        self.angles = np.linspace(-half, half, beams)
        self.radius_step_mm = float(self.radii_mm[1] - self.radii_mm[0])
        self.angle_step = float(self.angles[1] - self.angles[0])
        radius, angle = np.meshgrid(self.radii_mm, self.angles, indexing="ij")
        self.x_mm = (radius * np.sin(angle)).astype(np.float32)
        self.y_mm = (radius * np.cos(angle)).astype(np.float32)
        top = max(1.0, (height - scanner.depth_mm / self.spacing_mm) / 2)
        self.pixel_x_mm = (np.arange(width) - (width - 1) / 2) * self.spacing_mm
        self.pixel_y_mm = (np.arange(height) - top + 0.5) * self.spacing_mm

    @cached_property
    def _polar(self) -> tuple[Floats, Floats]:
        """Sample and beam, in grid steps, of each pixel."""
        x, y = np.meshgrid(self.pixel_x_mm, self.pixel_y_mm)
        sample = (np.hypot(x, y) - self.first_mm) / self.radius_step_mm
        beam = (np.arctan2(x, y) - self.angles[0]) / self.angle_step
        return sample, beam

    @cached_property
    def sector(self) -> NDArray[np.bool_]:
        """Pixels inside the sector."""
        sample, beam = self._polar
        return np.asarray(
            (sample >= 0)
            & (sample <= len(self.radii_mm) - 1)
            & (beam >= 0)
            & (beam <= len(self.angles) - 1)
        )

    @cached_property
    def _matrix(self) -> sparse.csr_matrix:
        """Bilinear weights of the samples in each pixel of the sector."""
        sample, beam = (part[self.sector] for part in self._polar)
        rows, columns = len(self.radii_mm), len(self.angles)
        i = np.minimum(sample.astype(int), rows - 2)
        j = np.minimum(beam.astype(int), columns - 2)
        u, v = sample - i, beam - j
        pixel = np.arange(len(i))
        weights = [(1 - u) * (1 - v), (1 - u) * v, u * (1 - v), u * v]
        places = [i * columns + j, i * columns + j + 1]
        places += [place + columns for place in places]
        return sparse.csr_matrix(
            (np.concatenate(weights), (np.tile(pixel, 4), np.concatenate(places))),
            shape=(len(i), rows * columns),
            dtype=np.float32,
        )

    def convert(self, beams: NDArray[np.float32]) -> NDArray[np.float32]:
        """Draw samples ``(frames, samples, beams)`` into pictures; black outside the sector."""
        pictures = np.zeros((len(beams), self.height, self.width), np.float32)
        pictures[:, self.sector] = (self._matrix @ beams.reshape(len(beams), -1).T).T
        return pictures


def to_heart(
    x_mm: NDArray[np.float32], y_mm: NDArray[np.float32], pose: tuple[float, float, float]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Turn picture coordinates into the heart's: across the axis and along it, in mm."""
    x, y, tilt = pose
    cosine, sine = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
    dx, dy = x_mm - np.float32(x), y_mm - np.float32(y)
    return dx * cosine + dy * sine, dy * cosine - dx * sine
