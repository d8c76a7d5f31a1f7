"""Faults of an acquisition, in graded strength, to see how much of them a model bears.

Grey values are taken for decibels, as scanners show them: what halves the echo subtracts. All
functions change pixels of the sector only, leave a clip as it is at strength 0, and change more
the greater the strength, if the generator begins alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from .scan_lines import Fan, scan_lines

Frames: TypeAlias = UInt8[Tensor, "frames height width"]
"""One clip as it is stored, grey."""
Perturbation: TypeAlias = Callable[[Frames, Fan, float, torch.Generator], Frames]

LEVELS_A_DB = 255 / 60
"""Grey levels a decibel: scanners usually show a range of about 60 dB."""
ATTENUATION_DB = 32.0
"""Lost at the deepest place at strength 1: what 10 cm more of tissue take at 3 MHz, with 0.5 dB
a centimetre and a megahertz, there and back."""
TOO_LOW_DB, TOO_HIGH_DB = 20.0, 20.0
"""Change of the gain at strength 1."""
NOISE, NOISE_BELOW = 0.6, 40.0
"""How much of a raised gain is noise where all was black, and by how many grey levels above
black it fades to a third."""
SHADOW_DB = 36.0
SHADOW_HALF_WIDTH = 0.4
"""Of a sector that is 2 wide, at strength 1: two fifths of it lie in the shadow."""
SHADOW_EDGE = 0.16
SHADOW_BEGINS = (0.04, 0.15)
"""Depths between which the rib, or the edge of the lung, lies."""
SPECKLE = 1.4
"""Factor on fully developed speckle's 5.6 dB at strength 1."""
GRAINS = (48, 28)
"""Grains of speckle along and across the scan lines: across, they widen with depth."""
KEPT = 0.9
"""Share of the speckle's field that a frame has from the one before."""
MOST_FRAMES_AS_ONE = 9
"""At strength 1, one frame in so many stays: 50 a second become under 6."""
NARROWER_BY = 0.6
"""Share of the angle that is lost at strength 1."""


def depth_attenuation(
    frames: Frames, sector: Fan, strength: float, generator: torch.Generator
) -> Frames:
    """Darken with depth, as without depth gain or through a thick chest wall."""
    loss = strength * ATTENUATION_DB * scan_lines(sector).depth
    return _shown(frames, sector, frames - LEVELS_A_DB * loss)


def shadow(frames: Frames, sector: Fan, strength: float, generator: torch.Generator) -> Frames:
    """Darken a wedge from near the probe on, as a rib or the lung does; wider if stronger."""
    lines = scan_lines(sector)
    middle, begins = torch.rand(2, generator=generator).tolist()
    first, last = SHADOW_BEGINS
    beside = (lines.side - (1.2 * middle - 0.6)).abs()
    across = ((strength * SHADOW_HALF_WIDTH - beside) / SHADOW_EDGE).clamp(0, 1)
    along = ((lines.depth - first - begins * (last - first)) / 0.03).clamp(0, 1)
    return _shown(frames, sector, frames - LEVELS_A_DB * SHADOW_DB * across * along)


def low_gain(
    frames: Frames, sector: Fan, strength: float, generator: torch.Generator
) -> Frames:
    """Darken all: weak echoes disappear."""
    return _shown(frames, sector, frames - LEVELS_A_DB * TOO_LOW_DB * strength)


def high_gain(
    frames: Frames, sector: Fan, strength: float, generator: torch.Generator
) -> Frames:
    """Brighten all: strong echoes saturate, and noise fills the cavities."""
    raised = LEVELS_A_DB * TOO_HIGH_DB * strength
    noise = 2 * torch.rand(frames.shape, generator=generator) - 1
    share = NOISE * (frames / -NOISE_BELOW).exp() * noise
    return _shown(frames, sector, frames + raised * (1 + share))


def speckle(frames: Frames, sector: Fan, strength: float, generator: torch.Generator) -> Frames:
    """Add speckle whose grains lie along the scan lines and last a few frames.

    Source:
        Fully developed speckle is the amplitude of a complex normal field: Goodman 1975,
        Statistical properties of laser speckle patterns; Burckhardt 1978, Speckle in ultrasound
        B-mode scans, IEEE Trans. Sonics Ultrason. 25(1).
    """
    lines = scan_lines(sector)
    places = torch.stack([lines.side, 2 * lines.depth - 1], dim=-1)
    between = ((places + 1) / 2 * (torch.tensor(GRAINS[::-1]) - 1)).frac()
    # Between two grains their mean would be fainter than either.
    power = (between**2 + (1 - between) ** 2).prod(dim=-1)
    field = torch.zeros(1, 2, *GRAINS)
    change = torch.empty_like(frames, dtype=torch.float32)
    for time in range(len(frames)):
        fresh = torch.randn(field.shape, generator=generator)
        share = KEPT if time else 0.0
        field = share * field + math.sqrt(1 - share**2) * fresh
        seen = F.grid_sample(field, places[None], padding_mode="border", align_corners=True)
        echo = seen[0].square().sum(dim=0) / (2 * power)
        change[time] = 10 * echo.clamp(min=1e-3).log10()
    change *= LEVELS_A_DB * SPECKLE * strength
    return _shown(frames, sector & (frames > 0), frames + change)


def frame_rate_loss(
    frames: Frames, sector: Fan, strength: float, generator: torch.Generator
) -> Frames:
    """Show one frame for several, as a slower scan does; duration and times stay."""
    begins = torch.rand(1, generator=generator)
    as_one = 1 + round(strength * (MOST_FRAMES_AS_ONE - 1))
    kept = torch.arange(int(begins * min(as_one, len(frames))), len(frames), as_one)
    gaps = (torch.arange(len(frames))[:, None] - kept).abs()
    return torch.where(sector, frames[kept[gaps.argmin(dim=1)]], frames)


def narrow_sector(
    frames: Frames, sector: Fan, strength: float, generator: torch.Generator
) -> Frames:
    """Blacken both sides, as a narrower scan leaves them."""
    return torch.where(sector & ~narrowed(sector, strength), frames.new_zeros(()), frames)


def narrowed(sector: Fan, strength: float) -> Fan:
    """Return the sector that ``narrow_sector`` leaves."""
    return sector & (scan_lines(sector).side.abs() <= 1 - NARROWER_BY * strength)


PERTURBATIONS: dict[str, Perturbation] = {
    "attenuation": depth_attenuation,
    "shadow": shadow,
    "low_gain": low_gain,
    "high_gain": high_gain,
    "speckle": speckle,
    "frame_rate": frame_rate_loss,
    "narrow": narrow_sector,
}


def _shown(
    frames: Frames, changed: Tensor, levels: Float[Tensor, "frames height width"]
) -> Frames:
    """Return levels as a screen shows them, where they are changed."""
    return torch.where(changed, levels.clamp(0, 255).round().to(torch.uint8), frames)
