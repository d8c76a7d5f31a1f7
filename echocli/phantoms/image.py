"""From tissue to the picture: scatterers, beam, envelope, compression, masks.

Scatterers and reflectivity lie on one map in the end-diastolic heart. Each frame reads that map
where the deformation says the tissue was, so speckle travels with the tissue; a slow rotation
between two scatterer maps stands for what leaves the plane.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from echocli.phantoms.anatomy import Deformation, Floats
from echocli.phantoms.scanner import Scanner, SectorGrid, to_heart

Complex = NDArray[np.complex64]
TEXTURE_MM = 0.5
ACROSS_MM = (-95.0, 95.0)
DEPTH_MM = (-45.0, 190.0)

COMPOUNDING = 0.9
"""Samples over which power is averaged, as machines do to calm the speckle."""

BLOOD_DB, MYOCARDIUM_DB, ATRIAL_WALL_DB, AROUND_DB = -52.0, -17.0, -17.0, -33.0
RIGHT_WALL_DB, PERICARDIUM_DB, ENDOCARDIUM_DB, VALVE_DB = -15.0, -3.0, -9.0, -5.0


def noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Complex:
    """Return circular Gaussian noise, smooth over ``sigma`` cells, of mean power one."""
    parts = rng.standard_normal((2, *shape), dtype=np.float32)
    smooth = ndimage.gaussian_filter(parts, (0, *[sigma] * len(shape)), truncate=2.5)
    smooth /= np.sqrt(2) * smooth.std()
    return np.asarray(smooth[0] + 1j * smooth[1], dtype=np.complex64)


def patches(rng: np.random.Generator, shape: tuple[int, int], mm: float) -> Floats:
    """Return a smooth random field of mean zero and deviation one."""
    coarse = max(1, int(mm / TEXTURE_MM / 3))
    small = rng.standard_normal([side // coarse + 2 for side in shape])
    small = ndimage.gaussian_filter(small, 2.0)
    field = ndimage.zoom(small, coarse, order=1)[: shape[0], : shape[1]]
    return np.asarray(field / field.std())


def reflectivity_db(
    deformation: Deformation, scanner: Scanner, rng: np.random.Generator
) -> Floats:
    """Return the brightness of the end-diastolic heart and what surrounds it."""
    across = np.arange(*ACROSS_MM, TEXTURE_MM)
    depth = np.arange(*DEPTH_MM, TEXTURE_MM)[:, None]
    shape = (len(depth), len(across))
    index = np.clip(depth / deformation.bottom_mm, 0, 0.999) * len(deformation.levels)
    knots = deformation.rest[(across > 0).astype(int), index.astype(int)]
    distance = np.broadcast_to(np.abs(across), shape)
    labels = deformation.labels(across, depth)
    inside_axis = (depth > 0) & (depth < deformation.bottom_mm)
    left = (across < 0) & (deformation.view == "A4C")
    right_heart = inside_axis & left & (distance > knots[..., 1]) & (distance < knots[..., 2])
    wall_of_right = right_heart & (distance > knots[..., 2] - 4.5)
    wall = inside_axis & (distance > knots[..., 0]) & (distance < knots[..., 1])
    field = AROUND_DB + 7.0 * patches(rng, shape, 16.0)
    behind = np.clip((depth - deformation.bottom_mm + 8.0) / 1.5, 0.0, 14.0)
    field = field + behind * np.exp(-((across / 45.0) ** 2))
    field = field + 12.0 * np.exp(-np.maximum(depth + 6.0, 0.0) / 9.0)  # the chest wall
    field[wall] = ATRIAL_WALL_DB
    muscle = MYOCARDIUM_DB + 2.5 * patches(rng, shape, 6.0)
    field[labels == 2] = muscle[labels == 2]
    field[right_heart] = BLOOD_DB + 2
    field[wall_of_right] = RIGHT_WALL_DB
    field[(labels == 1) | (labels == 3)] = BLOOD_DB
    groove = np.abs(depth - deformation.annulus_mm - 1.0) < 4.0
    field[groove & right_heart & (distance > knots[..., 2] - 11.0)] = RIGHT_WALL_DB
    field[groove & wall & (labels != 1)] = ENDOCARDIUM_DB
    cavity = ((labels == 1) | (labels == 3) | (right_heart & ~wall_of_right)).astype(np.float32)
    heart = ((labels > 0) | wall | right_heart).astype(np.float32)
    field = np.maximum(field, _edge_db(cavity, scanner, 1.1, ENDOCARDIUM_DB))
    return np.maximum(field, _edge_db(heart, scanner, 1.8, PERICARDIUM_DB))


def _edge_db(
    region: NDArray[np.float32],
    scanner: Scanner,
    thickness_mm: float,
    peak_db: float,
) -> Floats:
    """Brighten a border where the beam meets it head on."""
    smooth = ndimage.gaussian_filter(region, thickness_mm / TEXTURE_MM, truncate=3)
    along, across = np.gradient(smooth)
    steep = np.hypot(along, across)
    x0, y0, tilt = scanner.pose(0.0)
    a = np.arange(*ACROSS_MM, TEXTURE_MM)
    d = np.arange(*DEPTH_MM, TEXTURE_MM)[:, None]
    x = x0 + a * np.cos(tilt) - d * np.sin(tilt)
    y = y0 + a * np.sin(tilt) + d * np.cos(tilt)
    beam_across = (x * np.cos(tilt) + y * np.sin(tilt)) / np.maximum(np.hypot(x, y), 1.0)
    beam_along = (y * np.cos(tilt) - x * np.sin(tilt)) / np.maximum(np.hypot(x, y), 1.0)
    facing = np.abs(along * beam_along + across * beam_across) / (steep + 1e-6)
    share = np.minimum(steep * thickness_mm / TEXTURE_MM * 2.5, 1.0)
    return np.asarray(peak_db + 20 * np.log10(share + 1e-4) + 14.0 * (facing - 1.0))


def leaflets(
    across: NDArray[np.float32],
    depth: NDArray[np.float32],
    hinge_mm: tuple[float, float],
    annulus_mm: float,
    opened: float,
) -> NDArray[np.float32]:
    """Return the amplitude of the two mitral leaflets, 0 to 1."""
    amplitude = np.zeros_like(across)
    near = np.flatnonzero(np.abs(depth - annulus_mm + 8.0) < 22.0)
    x, y = across.ravel()[near], depth.ravel()[near]
    best = np.full(len(near), 99.0, np.float32)
    for hinge, reach in ((hinge_mm[0], 0.62), (hinge_mm[1], 0.42)):
        span = hinge_mm[1] - hinge_mm[0]
        closed = np.array([hinge - np.sign(hinge) * reach * span * 0.95, annulus_mm - 5.0])
        wide = np.array([hinge - np.sign(hinge) * 4.0, annulus_mm - 0.62 * reach * span * 1.5])
        start = np.array([hinge, annulus_mm - 0.5])
        line = (1 - opened) * closed + opened * wide - start
        length = float(np.hypot(*line))
        u, v = line / length
        along = ((x - start[0]) * u + (y - start[1]) * v) / length
        bow = 2.5 * (1.0 - 2.0 * opened) * np.sign(hinge)
        share = np.clip(along, 0.0, 1.0)
        aside = (x - start[0]) * v - (y - start[1]) * u + bow * 4 * share * (1 - share)
        best = np.minimum(best, np.hypot(aside, (along - share) * length))
    amplitude.ravel()[near] = np.exp(-((best / 1.1) ** 2))
    return amplitude


class Speckle:
    """Scatterers that give way to new ones: a walk along a row of independent fields.

    The fields are one field, rolled by random shifts: far apart, it knows nothing of itself.
    """

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> None:
        self._field = noise(rng, shape, sigma)
        self._shifts = rng.integers(0, shape, (256, 2))
        self._rolled: dict[int, Complex] = {}

    def at(self, place: float) -> Complex:
        """Return the field at a place of the walk; a step of one is a wholly new field."""
        number = int(np.floor(place))
        turn = np.pi / 2 * (place - number)
        wanted = (number % len(self._shifts), (number + 1) % len(self._shifts))
        self._rolled = {
            k: self._rolled[k] if k in self._rolled else self._roll(k) for k in wanted
        }
        first, second = (self._rolled[k] for k in wanted)
        return np.asarray(np.float32(np.cos(turn)) * first + np.float32(np.sin(turn)) * second)

    def _roll(self, number: int) -> Complex:
        down, across = (int(shift) for shift in self._shifts[number])
        return np.roll(self._field, (down, across), (0, 1))


class Renderer:
    """Draws the frames of one loop."""

    def __init__(
        self, deformation: Deformation, scanner: Scanner, grid: SectorGrid, key: tuple[int, ...]
    ) -> None:
        self.deformation, self.scanner, self.grid = deformation, scanner, grid
        self._rng = np.random.default_rng(key)
        amplitude = 10 ** (reflectivity_db(deformation, scanner, self._rng) / 20)
        self._amplitude = amplitude.astype(np.float32)
        sigma = max(0.7, 0.55 * grid.radius_step_mm) / TEXTURE_MM
        self._tissue = Speckle(self._rng, (amplitude.shape[0], amplitude.shape[1]), sigma)

    def echoes(self, times_s: Floats, contraction: Floats, opened: Floats) -> Complex:
        """Return what the beams receive, before blur and noise: (frames, samples, beams)."""
        out = np.empty((len(times_s), *self.grid.x_mm.shape), np.complex64)
        valve = noise(self._rng, self.grid.x_mm.shape, 1.0) * 10 ** (VALVE_DB / 20)
        row = np.searchsorted(self.deformation.levels, self.deformation.annulus_mm + 0.5)
        for k, time in enumerate(times_s):
            pose = self.scanner.pose(float(time))
            across, depth = to_heart(self.grid.x_mm, self.grid.y_mm, pose)
            c = float(contraction[k])
            rest, level = self.deformation.to_rest(across, depth, c)
            place = float(time) / self.scanner.speckle_s + self.scanner.decorrelation * c
            at = np.stack([level - DEPTH_MM[0], rest - ACROSS_MM[0]]) / np.float32(TEXTURE_MM)
            texture = self._amplitude * self._tissue.at(place)
            frame = ndimage.map_coordinates(
                texture, at, order=1, mode="reflect", prefilter=False
            )
            knots = self.deformation.knots(c)
            hinges = (-float(knots[0, row, 0]), float(knots[1, row, 0]))
            annulus = self.deformation.axis(c, self.deformation.thickening(c))[2]
            out[k] = frame + valve * leaflets(across, depth, hinges, annulus, float(opened[k]))
        return out

    def attenuation_db(self) -> Floats:
        """Return gain, depth gain and shadows for each sample of each beam."""
        radius = self.grid.radii_mm[:, None]
        share = radius / self.scanner.depth_mm
        gain = self.scanner.gain_db + self.scanner.tgc_db * (share - 0.5) - 3.0 * share
        gain = gain - 7.0 * (np.abs(self.grid.angles) / np.abs(self.grid.angles[0])) ** 4
        for shadow in self.scanner.shadows:
            away = (np.rad2deg(self.grid.angles) - shadow.angle_deg) / shadow.width_deg
            start = np.clip((radius - shadow.from_mm) / 12.0, 0.0, 1.0)
            gain = gain - shadow.loss_db * start * np.exp(-0.5 * away**4)
        return np.asarray(gain)

    def _still_amplitude(self) -> NDArray[np.float32]:
        """Return how strong near-field clutter and haze are, which do not beat."""
        radius = self.grid.radii_mm[:, None]
        near = self.scanner.clutter_db - 0.5 * np.maximum(radius - 4.0, 0.0)
        near = near + 6.0 * np.cos(radius * 2 * np.pi / 9.0) * np.exp(-radius / 15.0)
        haze = self.scanner.haze_db - 0.08 * radius
        return np.asarray(10 ** (near / 20) + 10 ** (haze / 20), dtype=np.float32)

    def _received(self, echo: Complex, gain: Floats, hiss: Floats) -> NDArray[np.float32]:
        """Return the power of one frame in decibels: beam, gain, noise, detection."""
        lateral = np.deg2rad(self.scanner.lateral_deg) / self.grid.angle_step
        axial = self.scanner.axial_mm / self.grid.radius_step_mm
        parts = np.ascontiguousarray(echo).view(np.float32).reshape(*echo.shape, 2)
        blurred = ndimage.gaussian_filter(parts, (axial, lateral, 0), truncate=2.5)
        grain = self._rng.standard_normal(blurred.shape, dtype=np.float32)
        signal = blurred * gain[..., None] + grain * hiss[..., None]
        power = ndimage.gaussian_filter((signal**2).sum(-1), COMPOUNDING, truncate=2.0)
        return np.asarray(10.0 * np.log10(power + 1e-12), dtype=np.float32)

    def frames(self, times_s: Floats, contraction: Floats, opened: Floats) -> NDArray[np.uint8]:
        """Return the grey pictures, black outside the sector."""
        echoes = self.echoes(times_s, contraction, opened)
        shape = (len(self.grid.radii_mm), len(self.grid.angles))
        clutter, strength = Speckle(self._rng, shape, 0.8), self._still_amplitude()
        gain = 10 ** (self.attenuation_db() / 20)
        share = self.grid.radii_mm[:, None] / self.scanner.depth_mm
        hiss = 10 ** ((self.scanner.noise_db + 10.0 * (share - 1.0)) / 20)
        flicker = np.float32(self.scanner.flicker / np.sqrt(2))
        beams = np.empty(echoes.shape, np.float32)
        for k, echo in enumerate(echoes):
            fresh = self._rng.standard_normal((*echo.shape, 2), dtype=np.float32)
            echo *= 1.0 + flicker * fresh.view(np.complex64)[..., 0]
            echo += strength * clutter.at(float(times_s[k]) / self.scanner.speckle_s)
            beams[k] = self._received(echo, gain, hiss)
        reach = self.scanner.dynamic_range_db
        grey = np.clip((beams + reach) / reach, 0.0, 1.0) ** 1.25 * 255.0
        return np.round(self.grid.convert(grey.astype(np.float32))).astype(np.uint8)

    def masks(self, times_s: Floats, contraction: Floats) -> NDArray[np.uint8]:
        """Return the structures in each frame, where the sector shows them."""
        grid, sector = self.grid, self.grid.sector
        x, y = np.meshgrid(grid.pixel_x_mm, grid.pixel_y_mm)
        x, y = x[sector].astype(np.float32), y[sector].astype(np.float32)
        out = np.zeros((len(times_s), grid.height, grid.width), np.uint8)
        for k, time in enumerate(times_s):
            across, depth = to_heart(x, y, self.scanner.pose(float(time)))
            rest, level = self.deformation.to_rest(across, depth, float(contraction[k]))
            out[k, sector] = self.deformation.labels(rest, level)
        return out
