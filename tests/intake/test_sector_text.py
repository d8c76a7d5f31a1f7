"""Whatever is written over the scan is cut out; what only looks like it is left."""

import io
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from made_streams import through_jpeg
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from echocli.intake.loop import CineLoop
from echocli.intake.read import read_loop
from echocli.intake.reasons import Refused
from echocli.intake.sector import find_sector
from echocli.intake.strokes import strokes, unlit_strokes
from echocli.phantoms.dicom import DicomOptions, write_loop
from echocli.phantoms.patient import PhantomConfig, draw_patient
from echocli.phantoms.screen import draw_screen

SHARED = Path(__file__).parents[2].parent / "shared/data/real"
NAME = "DOE JOHN 12.03.1970"
TISSUE_BELOW = 25
"""Grey levels by which a glyph must differ from the tissue under it to be seen."""


@dataclass(frozen=True)
class Written:
    """How a text is drawn."""

    size: int = 12
    value: int = 235
    opacity: float = 1.0
    text: str = NAME
    shown: tuple[float, float] = (0.0, 1.0)
    ground: bool = False


@cache
def phantom() -> tuple[CineLoop, NDArray[np.bool_]]:
    """A phantom's loop in the middle of a scanner's screen, and its sector."""
    config = PhantomConfig(seconds=(0.6, 0.7), frame_rates_hz=(36.0, 40.0))
    screen = draw_screen(draw_patient(9, 4, config), height=300, width=400)
    grey = screen.frames @ np.array([0.299, 0.587, 0.114])
    chroma = (screen.frames.max(-1) - screen.frames.min(-1)).max(0)
    truth = screen.place(screen.loop.sector[None].astype(np.uint8))[0] > 0
    return loop_of(np.rint(grey).astype(np.uint8), chroma), truth


def loop_of(frames: NDArray[np.uint8], chroma: NDArray[np.uint8] | None = None) -> CineLoop:
    return CineLoop(
        frames=frames,
        chroma=np.zeros(frames.shape[1:], np.uint8) if chroma is None else chroma,
        times_s=None,
        time_source="unknown",
        spacing_mm=None,
        spacing_source="unknown",
        region=None,
        patient_key="",
        study_key="",
        sha256="",
    )


def write(
    loop: CineLoop, at: tuple[int, int], how: Written
) -> tuple[CineLoop, NDArray[np.bool_]]:
    """Draw a text into a loop; return it with the glyph pixels that can be seen."""
    frames = loop.frames.copy()
    seen = np.zeros(frames.shape[1:], bool)
    count = len(frames)
    for index in range(int(how.shown[0] * count), int(np.ceil(how.shown[1] * count))):
        text = how.text.format(index, count)
        stencil = Image.new("L", (frames.shape[2], frames.shape[1]))
        font = ImageFont.load_default(how.size)
        ImageDraw.Draw(stencil).text(at, text, 255, font)
        ink = np.asarray(stencil, np.float32) / 255
        under = frames[index].astype(np.float32)
        if how.ground:
            under[ndimage.find_objects((ink > 0).astype(int))[0]] = 4
        alpha = ink * how.opacity
        frames[index] = np.rint(under * (1 - alpha) + how.value * alpha).astype(np.uint8)
        seen |= (ink > 0.4) & (np.abs(frames[index] - under) >= TISSUE_BELOW)
    return replace(loop, frames=frames), seen


def expect_cut_out(
    loop: CineLoop, truth: NDArray[np.bool_], shown: slice, text: Written
) -> None:
    """Write a text into some frames; the sector loses it, and little else."""
    part = replace(loop, frames=loop.frames[shown])
    written, seen = write(part, (150, 150), text)
    changed = loop.frames.copy()
    changed[shown] = through_jpeg(written.frames)
    found = find_sector(replace(loop, frames=changed)).mask
    assert (seen & truth).sum() > 60
    assert (found & seen & truth).sum() <= 0.1 * (seen & truth).sum()
    assert (find_sector(loop).mask & ~found).sum() < 0.15 * truth.sum()


def texts() -> Iterator[tuple[str, Written]]:
    yield "small", Written(size=7)
    yield "large", Written(size=22, text="DOE 1970")
    yield "grey", Written(value=170)
    yield "half transparent", Written(value=255, opacity=0.4)
    yield "frame counter", Written(text="{:03d}/{:03d}", value=255)
    yield "counter on its own ground", Written(text="HR {:03d} bpm", ground=True)
    yield (
        "measurement in a few frames",
        Written(text="LVIDd 4.25 cm", value=255, shown=(0.4, 0.7), ground=True),
    )


@pytest.mark.parametrize("at", [(150, 90), (190, 150), (160, 215)])
@pytest.mark.parametrize("how", [how for _, how in texts()], ids=[name for name, _ in texts()])
def test_no_glyph_that_can_be_seen_is_left(how: Written, at: tuple[int, int]) -> None:
    loop, truth = phantom()
    clean = find_sector(loop).mask
    written, seen = write(loop, at, how)
    found = find_sector(written).mask
    assert (seen & truth).sum() > 20
    assert not (found & seen).any()
    assert (clean & ~found).sum() < 0.12 * truth.sum(), "the blot is larger than the text"


def test_much_that_is_cut_out_is_told() -> None:
    loop, truth = phantom()
    assert find_sector(loop).notes == ()
    little, _ = write(loop, (150, 90), Written(size=7, text="LVIDd"))
    much, _ = write(loop, (150, 90), Written(size=12))
    clean = find_sector(loop).mask
    for written, notes in ((little, ()), (much, ("much_drawn_over",))):
        found = find_sector(written)
        assert ((clean & ~found.mask).sum() > 0.02 * truth.sum()) == bool(notes)
        assert found.notes == notes


@pytest.mark.parametrize("at", [(150, 150), (120, 200), (200, 130)])
@pytest.mark.parametrize(("size", "value"), [(7, 0), (9, 10), (12, 20), (16, 0), (24, 10)])
def test_dark_text_on_bright_tissue_is_cut_out(
    size: int, value: int, at: tuple[int, int]
) -> None:
    loop, truth = phantom()
    loop = replace(loop, frames=np.where(truth, 90 + loop.frames // 3, loop.frames))
    clean = find_sector(loop).mask
    written, seen = write(loop, at, Written(size=size, value=value))
    found = find_sector(replace(written, frames=through_jpeg(written.frames))).mask
    assert (seen & truth).sum() > 100
    assert not (found & seen & truth).any()
    assert (clean & ~found).sum() < 0.2 * truth.sum(), "the blot is larger than the text"


@pytest.mark.parametrize(
    ("size", "value", "at"),
    [(9, 10, (150, 150)), (12, 20, (200, 130)), (12, 20, (110, 110)), (16, 0, (120, 200))],
)
def test_dark_text_that_dark_tissue_interrupts_is_cut_out(
    size: int, value: int, at: tuple[int, int]
) -> None:
    loop, truth = phantom()
    written, seen = write(loop, at, Written(size=size, value=value))
    found = find_sector(replace(written, frames=through_jpeg(written.frames, 75))).mask
    assert (seen & truth).sum() > 100
    assert not (found & seen & truth).any()


@pytest.mark.parametrize(
    ("value", "width", "dark", "weak"),
    [(10, 3, True, True), (80, 3, False, True), (112, 3, False, False), (10, 12, False, False)],
)
def test_ink_is_thin_and_no_frame_lights_it(
    value: int, width: int, dark: bool, weak: bool
) -> None:
    brightest = np.full((40, 60), 120, np.uint8)
    brightest[10:30, 20 : 20 + width] = value
    stroke = brightest != 120
    found = unlit_strokes(brightest, np.ones_like(stroke))
    assert found.dark[stroke].all() if dark else not found.dark.any()
    assert found.weak[stroke].all() if weak else not found.weak.any()
    assert not (found.weak & ~stroke).any()


def test_black_text_over_dim_tissue_is_cut_out() -> None:
    loop, truth = phantom()
    dim = replace(loop, frames=np.where(truth, 4 + loop.frames // 5, loop.frames))
    clean = find_sector(dim).mask
    ink = write(dim, (150, 150), Written(size=16, value=255))[1] & truth
    frames = np.where(ink, 2, dim.frames).astype(np.uint8)
    found = find_sector(replace(dim, frames=through_jpeg(frames))).mask
    assert ink.sum() > 100
    assert (found & ink).sum() <= 0.1 * ink.sum()
    assert (clean & ~found).sum() < 0.12 * truth.sum()


@pytest.mark.parametrize(("level", "black"), [(2, True), (12, False)])
def test_ink_over_dim_tissue_is_black_and_calm(level: int, black: bool) -> None:
    rng = np.random.default_rng(2)
    noise = ndimage.gaussian_filter(rng.normal(size=(24, 64, 96)), (0, 1, 1))
    frames = np.clip(18 + 9 * noise / noise.std(), 0, 255).astype(np.uint8)
    ink = np.zeros((64, 96), bool)
    ink[24:36, 20:70:8] = ink[24:36, 21:70:8] = True
    frames[:, ink] = level
    found = strokes(frames, np.ones_like(ink))[1].dark
    assert found[ink].mean() > 0.8 if black else not found.any()
    assert not found[~ink].any()


@pytest.mark.parametrize("side", ["left", "right"])
def test_text_that_hugs_the_edge_is_cut_out(side: str) -> None:
    loop, truth = phantom()
    columns = np.flatnonzero(truth[170])
    at = (int(columns[0]) - 40, 164) if side == "left" else (int(columns[-1]) - 30, 164)
    written, seen = write(loop, at, Written(value=200))
    found = find_sector(written).mask
    assert not (found & seen).any()
    assert (found & truth).sum() > 0.9 * truth.sum()


def test_text_outside_changes_the_mask_by_less_than_a_hundredth() -> None:
    loop, truth = phantom()
    clean = find_sector(loop).mask
    for at in ((4, 60), (290, 60), (4, 240), (330, 180)):
        written, seen = write(loop, at, Written(size=14, text="INVENTED {:03d}"))
        assert not (seen & truth).any()
        assert (find_sector(written).mask ^ clean).sum() < 0.01 * truth.sum()


def test_a_tint_is_no_colour_and_a_trace_is() -> None:
    loop, truth = phantom()
    sepia = np.where(truth, loop.frames.max(0) // 2, 0).astype(np.uint8)
    assert (find_sector(replace(loop, chroma=sepia)).mask & truth).sum() > 0.97 * truth.sum()
    trace = np.zeros_like(truth)
    trace[200:202] = True
    frames = loop.frames.copy()
    frames[:, trace] = 150
    found = find_sector(replace(loop, frames=frames, chroma=np.where(trace, 200, sepia))).mask
    assert not (found & trace).any()


def test_bubbles_and_calcium_are_no_text() -> None:
    loop, truth = phantom()
    rng = np.random.default_rng(5)
    frames = loop.frames.astype(np.float32)
    cavity = np.hypot(*(np.indices(truth.shape) - np.array([[[130]], [[200]]]))) < 30
    for frame in frames:
        spots = (rng.random(truth.shape) > 0.985) & cavity
        frame += 900 * ndimage.gaussian_filter(spots.astype(np.float32), 1.2)
    calcium = ndimage.gaussian_filter(np.eye(40, dtype=np.float32) * 400, 2.5)
    frames[:, 180:220, 170:210] += calcium
    found = find_sector(replace(loop, frames=np.clip(frames, 0, 255).astype(np.uint8))).mask
    assert (found & cavity).sum() > 0.95 * cavity.sum()
    assert (found & truth).sum() > 0.96 * truth.sum()


def test_a_white_margin_is_not_kept() -> None:
    loop, truth = phantom()
    frames = np.pad(loop.frames, ((0, 0), (30, 30), (40, 40)), constant_values=255)
    found = find_sector(loop_of(frames)).mask
    inside = np.pad(truth, ((30, 30), (40, 40)))
    assert (found & ~inside).sum() < 0.02 * truth.sum()
    assert (found & inside).sum() > 0.95 * truth.sum()


def test_a_frozen_scan_under_a_sweeping_trace_is_refused() -> None:
    loop, truth = phantom()
    frames = loop.frames.copy()
    frames[:, truth] = frames[0, truth]
    with pytest.raises(Refused):
        find_sector(loop_of(frames))


needs_tesseract = pytest.mark.skipif(
    shutil.which("tesseract") is None, reason="the OCR engine tesseract is not installed"
)


def read_words(picture: NDArray[np.uint8]) -> set[str]:
    """Return the confident words that an OCR engine reads at two magnifications alike."""
    read: list[set[str]] = []
    for scale in (2, 3):
        image = Image.fromarray(picture)
        image = image.resize(
            (image.width * scale, image.height * scale), Image.Resampling.BICUBIC
        )
        table = subprocess.run(
            ["tesseract", "-", "-", "--psm", "11", "tsv"],
            input=_png(image),
            capture_output=True,
            check=True,
            env={**os.environ, "OMP_THREAD_LIMIT": "1"},
        ).stdout.decode()
        rows = [line.split("\t") for line in table.splitlines()[1:]]
        words = {row[11] for row in rows if len(row) == 12 and float(row[10]) >= 60}
        read.append({word for word in words if sum(map(str.isalnum, word)) >= 3})
    return read[0] & read[1]


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def projections(loop: CineLoop, sector: NDArray[np.bool_]) -> list[NDArray[np.uint8]]:
    masked = loop.frames * sector
    return [masked[len(masked) // 2], masked.max(0), masked.min(0)]


@needs_tesseract
def test_an_ocr_engine_reads_names_before_and_none_after() -> None:
    loop, truth = phantom()
    how = Written(size=18, value=255, ground=True, text="JOHN DOE 1970")
    written, _ = write(loop, (120, 190), how)
    before = read_words(written.frames[0] * truth)
    assert "JOHN" in before, "else the engine would miss what is left, too"
    for picture in projections(written, find_sector(written).mask):
        assert not read_words(picture)


@needs_tesseract
@pytest.mark.parametrize("name", ["go-dicom/I_000021.dcm", "go-dicom/I_000031.dcm"])
def test_an_ocr_engine_reads_nothing_in_real_loops(name: str) -> None:
    if not (SHARED / name).is_file():
        pytest.skip("the real files lie beside the project, in ../shared/data/real")
    loop = read_loop(SHARED / name)
    for picture in projections(loop, find_sector(loop).mask):
        assert not read_words(picture)


@pytest.mark.parametrize(
    ("index", "height", "width", "quality"),
    [(1, 240, 320, 60), (2, 300, 400, 75), (3, 430, 600, 85), (8, 480, 640, 95)],
)
@pytest.mark.parametrize("view", ["A4C", "A2C"])
def test_the_sector_of_phantoms_is_true_to_two_hundredths(
    tmp_path: Path, index: int, height: int, width: int, quality: int, view: str
) -> None:
    config = PhantomConfig(seconds=(0.6, 0.7), frame_rates_hz=(25.0, 30.0))
    patient = draw_patient(5, index, config)
    screen = draw_screen(patient, view=view, height=height, width=width)
    write_loop(tmp_path / "x.dcm", patient, screen, DicomOptions(quality=quality))
    truth = screen.place(screen.loop.sector[None].astype(np.uint8))[0] > 0
    found = find_sector(read_loop(tmp_path / "x.dcm")).mask
    assert abs(int(found.sum()) - int(truth.sum())) < 0.02 * truth.sum()
    assert (found & truth).sum() > 0.98 * truth.sum()
