"""Draw how a patient is scanned: a window, a hand and a machine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from echocli.phantoms.anatomy import Heart, profile
from echocli.phantoms.scanner import Scanner, Shadow

TRIES = 40
EDGE_DEG = 1.0
"""The cavity's border stays this far inside the sector."""


def draw_scanner(
    rng: np.random.Generator, heart: Heart, frame_rates_hz: tuple[float, float]
) -> Scanner:
    """Draw a window, a hand and a machine; the cavity lies inside the sector."""
    half_angle = float(rng.uniform(34.0, 44.0))
    apex = float(rng.uniform(16.0, 34.0))
    needed = apex + heart.apex_wall_mm + heart.length_mm + 0.4 * heart.atrium_length_mm
    shadows = []
    if rng.random() < 0.45:  # a rib at the edge
        side = 1.0 if rng.random() < 0.6 else -1.0
        angle = side * half_angle * float(rng.uniform(0.75, 1.0))
        shadows.append(_shadow(rng, angle, (5.0, 11.0), (12.0, 30.0)))
    if rng.random() < 0.4:  # a narrow dropout anywhere
        angle = half_angle * float(rng.uniform(-0.8, 0.8))
        shadows.append(_shadow(rng, angle, (2.0, 5.0), (6.0, 16.0)))
    scanner = Scanner(
        depth_mm=needed * float(rng.uniform(1.0, 1.3)),
        half_angle_deg=half_angle,
        frame_rate_hz=float(rng.uniform(*frame_rates_hz)),
        gain_db=float(rng.uniform(-8.0, 5.0)),
        dynamic_range_db=float(rng.uniform(50.0, 66.0)),
        tgc_db=float(rng.uniform(-8.0, 8.0)),
        axial_mm=float(rng.uniform(0.5, 0.9)),
        lateral_deg=float(rng.uniform(0.55, 1.1)),
        noise_db=float(rng.uniform(-62.0, -44.0)),
        clutter_db=float(rng.uniform(-32.0, -14.0)),
        haze_db=float(rng.uniform(-54.0, -34.0)),
        decorrelation=float(rng.uniform(0.2, 0.7)),
        speckle_s=float(rng.uniform(0.15, 0.5)),
        flicker=float(rng.uniform(0.4, 1.0)),
        shadows=tuple(shadows),
        apex_mm=(float(rng.uniform(-4.0, 12.0)), apex),
        tilt_deg=float(rng.uniform(-16.0, 10.0)),
        sway_mm=float(rng.uniform(0.0, 4.0)),
        sway_deg=float(rng.uniform(0.0, 3.0)),
        breathing_s=float(rng.uniform(2.5, 5.0)),
        breathing_start=float(rng.uniform(0.0, 1.0)),
        drift_mm_s=(float(rng.normal(0.0, 1.2)), float(rng.normal(0.0, 0.8))),
    )
    for _ in range(TRIES):
        if reach_deg(heart, scanner) <= half_angle - EDGE_DEG:
            break
        scanner = replace(
            scanner,
            apex_mm=(float(rng.uniform(-4.0, 12.0)), apex),
            tilt_deg=float(rng.uniform(-16.0, 10.0)),
        )
    else:
        scanner = replace(scanner, apex_mm=(2.0, apex), tilt_deg=0.0)
    return scanner


def reach_deg(heart: Heart, scanner: Scanner) -> float:
    """Return the largest angle to the middle beam at which the first frame shows cavity."""
    s = np.linspace(0.0, 1.0, 40)
    depth = heart.apex_wall_mm + heart.length_mm * s
    width = heart.radius_mm * profile(s, heart.equator)
    x0, y0, tilt = scanner.pose(0.0)
    angles = []
    for across in (-width, width):
        x = x0 + across * np.cos(tilt) - depth * np.sin(tilt)
        y = y0 + across * np.sin(tilt) + depth * np.cos(tilt)
        angles.append(np.abs(np.rad2deg(np.arctan2(x, y))).max())
    return float(max(angles))


def _shadow(
    rng: np.random.Generator,
    angle: float,
    width: tuple[float, float],
    loss: tuple[float, float],
) -> Shadow:
    return Shadow(
        angle_deg=angle,
        width_deg=float(rng.uniform(*width)),
        loss_db=float(rng.uniform(*loss)),
        from_mm=float(rng.uniform(4.0, 30.0)),
    )
