"""Draw a patient, and take a loop of the heart.

In the hard setting nothing but the motion tells the ejection fraction: the heart's size, the
window, the hand and the machine are drawn apart from it. In the easy setting the size gives it
away and nothing else varies.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from echocli.phantoms.anatomy import Akinesia, Deformation, Heart, View, contracting
from echocli.phantoms.cycle import Rhythm, fullness, opening, r_peaks_s
from echocli.phantoms.identity import Identity, draw_identity
from echocli.phantoms.image import Renderer
from echocli.phantoms.scanner import Scanner, SectorGrid
from echocli.phantoms.window import draw_scanner

Abnormality = Literal["none", "low_ef", "akinesia", "dilation"]
KINDS: tuple[Abnormality, ...] = ("low_ef", "akinesia", "dilation")


@dataclass(frozen=True, kw_only=True)
class PhantomConfig:
    """Which patients there are."""

    difficulty: Literal["hard", "easy"] = "hard"
    """``hard`` varies everything; ``easy`` ties the heart's size to the EF, varies no more."""
    normal_share: float = 0.5
    """Share of patients without an abnormality."""
    size: int = 112
    """Side of the square pictures that ``phantom_clips`` yields, in pixels."""
    views: tuple[View, ...] = ("A4C",)
    """Views from which each patient's first is drawn."""
    seconds: tuple[float, float] = (1.0, 3.0)
    """Shortest and longest loop; a loop holds at least one beat whatever this says."""
    frame_rates_hz: tuple[float, float] = (20.0, 80.0)
    """Lowest and highest frame rate in the hard setting."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.normal_share <= 1.0:
            raise ValueError(f"normal_share is {self.normal_share}; it must lie in 0 to 1.")
        if not 0.0 < self.seconds[0] <= self.seconds[1]:
            raise ValueError(f"seconds is {self.seconds}; it must be a rising pair above 0.")
        if not 0.0 < self.frame_rates_hz[0] <= self.frame_rates_hz[1]:
            raise ValueError(
                f"frame_rates_hz is {self.frame_rates_hz}; it must be a rising pair above 0."
            )


@dataclass(frozen=True, kw_only=True)
class Patient:
    """An invented person with a heart, a rhythm and one scan of it."""

    seed: int
    index: int
    heart: Heart
    rhythm: Rhythm
    scanner: Scanner
    view: View
    abnormality: Abnormality
    sex: Literal["F", "M"]
    age_years: int
    identity: Identity

    @property
    def normal(self) -> bool:
        """Whether the patient has no abnormality."""
        return self.abnormality == "none"


@dataclass(frozen=True, kw_only=True)
class PhantomLoop:
    """A loop with everything that is known about it."""

    frames: NDArray[np.uint8]
    """Grey, ``(frames, height, width)``, black outside the sector."""
    sector: NDArray[np.bool_]
    times_s: NDArray[np.float64]
    masks: NDArray[np.uint8]
    """0 background, 1 cavity, 2 myocardium, 3 left atrium: ``(masks, height, width)``."""
    mask_frames: tuple[int, ...]
    """Which frame each mask belongs to."""
    contraction: NDArray[np.float64]
    """Of every frame: 0 at end diastole, 1 at end systole."""
    volumes_ml: NDArray[np.float64]
    """The cavity's volume in every frame."""
    spacing_mm: tuple[float, float]
    r_peaks_s: NDArray[np.float64]
    ef_percent: float
    edv_ml: float
    esv_ml: float
    ed_frame: int
    es_frame: int
    view: View
    normal: bool
    abnormality: Abnormality

    def labels(self) -> dict[str, str | float | int | bool | None]:
        """Return the truth as label columns."""
        return {
            "ef_percent": round(self.ef_percent, 4),
            "edv_ml": round(self.edv_ml, 4),
            "esv_ml": round(self.esv_ml, 4),
            "normal": self.normal,
            "abnormality": self.abnormality,
            "view": self.view,
            "ed_frame": self.ed_frame,
            "es_frame": self.es_frame,
            "dataset": "phantom",
        }


def draw_patient(seed: int, index: int, config: PhantomConfig | None = None) -> Patient:
    """Draw a patient; the same seed, index and settings give the same patient.

    Args:
        seed: The population.
        index: The patient in it, from 0.
        config: Which patients there are.
    """
    config = config or PhantomConfig()
    rng = np.random.default_rng([seed, index])
    kind: Abnormality = "none"
    if rng.random() >= config.normal_share:
        kind = KINDS[rng.integers(len(KINDS))]
    view = config.views[rng.integers(len(config.views))]
    hard = config.difficulty == "hard"
    heart = _hard_heart(rng, kind, view) if hard else _easy_heart(rng, kind, view)
    rhythm = _rhythm(rng, (seed, index, 7)) if hard else Rhythm(irregularity=0.0)
    beat_s = 60.0 / rhythm.rate_bpm
    seconds = max(float(rng.uniform(*config.seconds)), 1.15 * beat_s)
    scanner = draw_scanner(rng, heart, config.frame_rates_hz) if hard else Scanner()
    age = int(rng.integers(19, 90))
    return Patient(
        seed=seed,
        index=index,
        heart=heart,
        rhythm=rhythm,
        scanner=replace(scanner, seconds=seconds),
        view=view,
        abnormality=kind,
        sex="F" if rng.random() < 0.5 else "M",
        age_years=age,
        identity=draw_identity(seed, index, age),
    )


def render(
    patient: Patient,
    *,
    view: View | None = None,
    height: int = 256,
    width: int = 256,
    every_mask: bool = True,
) -> PhantomLoop:
    """Take the loop.

    Args:
        patient: Who is scanned.
        view: A4C or A2C; the patient's own by default.
        height: Rows of the picture.
        width: Columns of the picture; the sector is fitted into them.
        every_mask: Draw the masks of all frames, not only of ED and ES.
    """
    view = view or patient.view
    times = patient.scanner.times_s()
    full = fullness(patient.rhythm, times)
    contraction = patient.heart.contraction(full)
    grid = SectorGrid(patient.scanner, height, width)
    key = (patient.seed, patient.index, 11 if view == "A4C" else 12)
    renderer = Renderer(Deformation(patient.heart, view), patient.scanner, grid, key)
    volumes = patient.heart.volume_ml(contraction)
    ed, es = int(volumes.argmax()), int(volumes.argmin())
    marked = list(range(len(times)) if every_mask else sorted({ed, es}))
    return PhantomLoop(
        frames=renderer.frames(times, contraction, opening(patient.rhythm, times)),
        sector=grid.sector,
        times_s=times,
        masks=renderer.masks(times[marked], contraction[marked]),
        mask_frames=tuple(marked),
        contraction=contraction,
        volumes_ml=volumes,
        spacing_mm=(grid.spacing_mm, grid.spacing_mm),
        r_peaks_s=r_peaks_s(patient.rhythm, float(times[-1])),
        ef_percent=patient.heart.ef_percent,
        edv_ml=patient.heart.edv_ml,
        esv_ml=patient.heart.esv_ml,
        ed_frame=ed,
        es_frame=es,
        view=view,
        normal=patient.normal,
        abnormality=patient.abnormality,
    )


def identifiers(patient: Patient) -> list[str]:
    """Return every name, number, date and place planted in the patient's files."""
    return patient.identity.strings()


def _ef(rng: np.random.Generator, kind: Abnormality) -> float:
    low, high = {
        "none": (54.0, 72.0),
        "low_ef": (14.0, 44.0),
        "akinesia": (30.0, 46.0),
        "dilation": (35.0, 66.0),
    }[kind]
    return float(rng.uniform(low, high))


def _akinesia(rng: np.random.Generator, kind: Abnormality, view: View) -> Akinesia | None:
    if kind != "akinesia":
        return None
    return Akinesia(
        view=view,
        side="left" if rng.random() < 0.5 else "right",
        level=float(rng.uniform(0.25, 0.7)),
        extent=float(rng.uniform(0.18, 0.28)),
    )


def _hard_heart(rng: np.random.Generator, kind: Abnormality, view: View) -> Heart:
    """Draw a heart whose size says nothing about its function."""
    ef = _ef(rng, kind)
    scale = float(rng.uniform(0.88, 1.14)) * (
        float(rng.uniform(1.2, 1.4)) if kind == "dilation" else 1.0
    )
    heart = Heart(
        length_mm=82.0 * scale**0.6 * float(rng.uniform(0.93, 1.07)),
        radius_mm=23.5 * scale,
        equator=float(rng.uniform(0.6, 0.76)),
        wall_mm=float(rng.uniform(7.5, 11.5)),
        apex_wall_mm=float(rng.uniform(5.5, 8.5)),
        long_shortening=ef / 100.0 * float(rng.uniform(0.18, 0.3)),
        akinesia=_akinesia(rng, kind, view),
        atrium_length_mm=float(rng.uniform(36.0, 52.0)),
        atrium_radius_mm=float(rng.uniform(17.0, 24.0)),
        atrium_swing=float(rng.uniform(0.05, 0.2)),
        right_mm=float(rng.uniform(22.0, 38.0)),
        right_shortening=float(rng.uniform(0.12, 0.32)),
    )
    return contracting(heart, ef)


def _easy_heart(rng: np.random.Generator, kind: Abnormality, view: View) -> Heart:
    """Draw a heart that is the larger the worse it works."""
    ef = _ef(rng, kind)
    scale = 1.35 - 0.006 * ef
    heart = Heart(
        radius_mm=24.0 * scale,
        long_shortening=0.25 * ef / 100.0,
        akinesia=_akinesia(rng, kind, view),
    )
    return contracting(heart, ef)


def _rhythm(rng: np.random.Generator, key: tuple[int, ...]) -> Rhythm:
    return Rhythm(
        rate_bpm=float(rng.uniform(45.0, 110.0)),
        start=float(rng.uniform(0.0, 1.0)),
        irregularity=float(rng.uniform(0.0, 0.05)),
        early_share=float(rng.uniform(0.5, 0.85)),
        seed=key,
    )
