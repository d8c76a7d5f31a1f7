"""The sector is found, what is drawn in it or beside it is not, and doubt ends in refusal."""

from pathlib import Path

import numpy as np
import pytest
from made_streams import through_jpeg
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from echocli.intake.loop import CineLoop, Region
from echocli.intake.overlays import blot_out, coloured_pixels
from echocli.intake.read import read_loop
from echocli.intake.reasons import Reason, Refused
from echocli.intake.sector import find_sector
from echocli.intake.strokes import Strokes

SHARED = Path(__file__).parents[2].parent / "shared/data/real"
ROWS, COLUMNS = 240, 320


def loop_of(
    frames: NDArray[np.uint8],
    chroma: NDArray[np.uint8] | None = None,
    region: Region | None = None,
    known: NDArray[np.bool_] | None = None,
) -> CineLoop:
    return CineLoop(
        frames=frames,
        chroma=np.zeros(frames.shape[1:], np.uint8) if chroma is None else chroma,
        times_s=None,
        time_source="unknown",
        spacing_mm=None,
        spacing_source="unknown",
        region=region,
        patient_key="",
        study_key="",
        sha256="",
        sector_known=known,
    )


def fan(half_angle: float = 0.75, tilt: float = 0.0) -> NDArray[np.bool_]:
    """A sector with its apex at the top."""
    y, x = np.mgrid[:ROWS, :COLUMNS].astype(float)
    y, x = y - 12, x - COLUMNS / 2
    angle = np.arctan2(x, y) - tilt
    inside = (np.hypot(x, y) < 210) & (np.abs(angle) < half_angle) & (y > 0)
    return np.asarray(inside)


def speckle(inside: NDArray[np.bool_], frames: int = 16, seed: int = 0) -> NDArray[np.uint8]:
    """Tissue that is new in each frame, on black."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(frames, ROWS, COLUMNS)), (0.7, 1.5, 2.5))
    grey = np.clip(90 + noise / noise.std() * 30, 0, 255)
    return np.where(inside, grey, 0).astype(np.uint8)


def write(
    frames: NDArray[np.uint8], at: tuple[int, int], text: str, value: int = 220, size: int = 12
) -> NDArray[np.bool_]:
    """Burn a text into every frame and return its pixels."""
    font = ImageFont.load_default(size)
    stencil = Image.new("L", (COLUMNS, ROWS))
    ImageDraw.Draw(stencil).text(at, text, 255, font)
    ink = np.array(stencil, float) / 255
    frames[:] = np.rint(frames * (1 - ink) + value * ink).astype(np.uint8)
    return np.asarray(ink > 0.5)


@pytest.mark.parametrize("tilt", [-0.15, 0.0, 0.15])
@pytest.mark.parametrize("half_angle", [0.4, 0.75])
def test_the_fan_is_found_to_a_few_per_cent(half_angle: float, tilt: float) -> None:
    truth = fan(half_angle, tilt)
    found = find_sector(loop_of(speckle(truth))).mask
    assert (found & truth).sum() > 0.96 * truth.sum()
    assert (found & ~truth).sum() < 0.035 * truth.sum()


def test_an_upside_down_sector_and_a_rectangle_are_found() -> None:
    box = np.zeros((ROWS, COLUMNS), bool)
    box[30:200, 60:280] = True
    for truth in (fan()[::-1], box):
        found = find_sector(loop_of(speckle(truth))).mask
        assert (found & truth).sum() > 0.96 * truth.sum()


def test_text_beside_the_fan_is_gone_wherever_it_stands() -> None:
    truth = fan()
    frames = speckle(truth)
    ink = np.zeros_like(truth)
    for at in ((4, 4), (230, 4), (4, 120), (270, 130), (4, 222), (88, 40), (205, 40)):
        ink |= write(frames, at, "INVENTED 1970")
    found = find_sector(loop_of(through_jpeg(frames))).mask
    assert not (found & ink & ~truth).any()
    assert (found & truth).sum() > 0.9 * truth.sum()


@pytest.mark.parametrize("value", [130, 180, 255])
@pytest.mark.parametrize("at", [(130, 60), (95, 120), (190, 150)])
def test_text_inside_the_fan_is_cut_out_as_one_blot(at: tuple[int, int], value: int) -> None:
    truth = fan()
    frames = speckle(truth)
    ink = write(frames, at, "DOE 1970", value) & truth
    found = find_sector(loop_of(through_jpeg(frames))).mask
    assert (found & ink).sum() <= 0.08 * ink.sum()
    box = ndimage.find_objects(ink.astype(int))[0]
    assert (~found[box]).mean() > 0.9, "letters can be read in what is left"
    assert (found & truth).sum() > 0.85 * truth.sum()


def test_a_counter_that_changes_inside_the_fan_is_cut_out() -> None:
    truth = fan()
    frames = speckle(truth, frames=24)
    ink = np.zeros_like(truth)
    for index in range(len(frames)):
        ink |= write(frames[index : index + 1], (95, 120), f"{index * 7 % 24:02d}/24", 255)
    found = find_sector(loop_of(through_jpeg(frames))).mask
    assert (found & ink & truth).sum() <= 0.1 * ink.sum()


def test_a_clock_and_a_trace_beside_the_fan_are_no_scan() -> None:
    truth = fan()
    frames = speckle(truth, frames=24)
    for index, frame in enumerate(frames):
        write(frame[None], (4, 4), f"12:00:{index:02d}")
        column = 10 + index * 12
        frame[225:236, column : column + 12] = 200
    found = find_sector(loop_of(frames)).mask
    assert not found[:20, :70].any()
    assert not found[224:].any()


def test_a_coloured_trace_over_the_scan_is_cut_out_but_a_tint_is_not() -> None:
    truth = fan()
    frames = speckle(truth)
    trace = np.zeros_like(truth)
    trace[180:183] = True
    frames[:, trace] = 150
    tint = (frames.max(0) * 0.5).astype(np.uint8)
    found = find_sector(loop_of(frames, np.where(trace, 250, tint).astype(np.uint8))).mask
    assert not (found & trace).any()
    assert (found & truth).sum() > 0.9 * truth.sum()
    assert not coloured_pixels(tint, frames.max(0), truth).any()


def test_a_known_sector_is_used_as_given() -> None:
    known = np.zeros((ROWS, COLUMNS), bool)
    known[5:9] = True
    assert find_sector(loop_of(speckle(fan()), known=known)).mask is known


def test_nothing_outside_the_region_is_kept() -> None:
    truth = fan()
    region = Region(20, 215, 20, 300)
    found = find_sector(loop_of(speckle(truth), region=region)).mask
    assert not found[:20].any()
    assert not found[215:].any()
    assert (found & truth).sum() > 0.95 * truth[20:215, 20:300].sum()


@pytest.mark.parametrize(
    "region",
    [Region(0, ROWS, 0, COLUMNS // 2), Region(0, 110, 0, COLUMNS), Region(6, 110, 60, 230)],
)
def test_a_region_that_the_scan_leaves_is_stale(region: Region) -> None:
    with pytest.raises(Refused) as refused:
        find_sector(loop_of(speckle(fan()), region=region))
    assert refused.value.reason is Reason.STALE_REGION


@pytest.mark.parametrize("rows", [1, 2])
def test_scans_beside_each_other_are_refused(rows: int) -> None:
    one = fan()[::2, ::2]
    picture = np.zeros((ROWS, COLUMNS), bool)
    picture[: 120 * rows] = np.tile(one, (rows, 2))
    with pytest.raises(Refused) as refused:
        find_sector(loop_of(speckle(picture)))
    assert refused.value.reason is Reason.DUAL_SCREEN


def bad_pictures() -> dict[str, NDArray[np.uint8]]:
    frozen = np.repeat(speckle(fan(), frames=1), 12, axis=0)
    bars = np.zeros((ROWS, COLUMNS), bool)
    bars[20:25, 20:300] = bars[200:203, 20:300] = True
    corner = np.zeros((ROWS, COLUMNS), bool)
    corner[:30, :40] = True
    ring = fan() & ~ndimage.binary_erosion(fan(), iterations=6)
    cross = np.zeros((ROWS, COLUMNS), bool)
    cross[110:130] = cross[:, 150:170] = True
    return {
        "black": np.zeros((12, ROWS, COLUMNS), np.uint8),
        "frozen": frozen,
        "thin bars": speckle(bars),
        "a corner": speckle(corner),
        "a ring": speckle(ring),
        "a cross": speckle(cross),
    }


@pytest.mark.parametrize("name", bad_pictures())
def test_what_is_no_sector_is_refused(name: str) -> None:
    with pytest.raises(Refused) as refused:
        find_sector(loop_of(bad_pictures()[name]))
    assert refused.value.reason is Reason.NO_SECTOR


def test_a_scan_full_of_graphics_is_refused() -> None:
    truth = fan()
    frames = speckle(truth)
    for row in range(30, 230, 13):
        write(frames, (0, row), "INVENTED PERSON 1970-01-01 " * 3, 255)
    with pytest.raises(Refused) as refused:
        find_sector(loop_of(frames))
    assert refused.value.reason in (Reason.BURNED_IN_TEXT, Reason.NO_SECTOR)


def test_blots_hold_all_that_is_surely_drawn_but_specks_amid_the_scan() -> None:
    rng = np.random.default_rng(3)
    specks = np.zeros((60, 80), bool)
    specks[10:50:20, 10:70:20] = True
    marks = ndimage.binary_dilation(rng.random((60, 80)) > 0.99, np.ones((2, 2)))
    amid, nowhere = np.ones_like(marks), np.zeros_like(marks)
    assert (blot_out(Strokes(nowhere, nowhere, nowhere, marks), 4, nowhere) >= marks).all()
    assert not blot_out(Strokes(nowhere, nowhere, nowhere, specks), 4, nowhere).any()
    beside_tissue = Strokes(amid, nowhere, nowhere, marks)
    assert not blot_out(beside_tissue, 4, nowhere).any()
    lone = np.zeros_like(marks)
    lone[30:33, 40:43] = True
    assert blot_out(Strokes(nowhere, nowhere, nowhere, lone), 4, nowhere).any()
    assert not blot_out(Strokes(nowhere, nowhere, nowhere, lone), 4, amid).any()
    lone[30:33, 46:49] = True  # two marks as high as letters make a word
    assert not blot_out(Strokes(nowhere, nowhere, nowhere, lone), 4, amid).any()
    lone[33:35] = lone[32]
    assert blot_out(Strokes(nowhere, nowhere, nowhere, lone), 4, amid)[31, 40:49].all()


@pytest.mark.parametrize(("length", "written"), [(9, True), (40, False)])
def test_two_calm_letters_make_a_word_and_two_shadows_along_beams_do_not(
    length: int, written: bool
) -> None:
    marks = np.zeros((60, 80), bool)
    marks[10 : 10 + length, 40:43] = marks[10 : 10 + length, 46:49] = True
    nowhere, amid = np.zeros_like(marks), np.ones_like(marks)
    blots = blot_out(Strokes(nowhere, marks, nowhere, marks), 4, amid)
    assert blots[marks].all() if written else not blots.any()


@pytest.mark.parametrize(("width", "written"), [(3, True), (8, False)])
def test_a_line_that_breaks_into_pieces_is_no_word(width: int, written: bool) -> None:
    marks = np.zeros((60, 80), bool)
    for start in (20, 32, 44):
        marks[30:36, start : start + width] = True
    nowhere = np.zeros_like(marks)
    blots = blot_out(Strokes(marks, nowhere, nowhere, nowhere), 5, ~nowhere)
    assert blots[marks].all() if written else not blots.any()


@pytest.mark.parametrize("dark", [False, True])
def test_letters_make_a_word_and_a_line_does_not(dark: bool) -> None:
    letters = np.zeros((60, 80), bool)
    letters[30:37, 20:40:4] = True
    line = np.zeros_like(letters)
    line[30:33, 20:60] = True
    nowhere, amid = np.zeros_like(letters), np.ones_like(letters)

    def blots(marks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        bright = nowhere if dark else marks
        return blot_out(Strokes(bright, marks & ~bright, nowhere, nowhere), 4, amid)

    assert blots(letters)[30:37, 20:37].all()
    assert not blots(line).any()


REAL = {
    # file: share of the picture that is kept, boxes (rows, columns) of graphics found by eye
    "go-dicom/I_000001.dcm": (0.33, 0.41, [
        ((4, 18), (247, 270)), ((70, 83), (110, 120)), ((156, 161), (113, 119)),
        ((181, 188), (393, 398)), ((360, 430), (0, 480)), ((0, 430), (455, 480)),
    ]),
    "go-dicom/I_000007.dcm": (0.80, 0.92, [
        ((280, 283), (0, 84)), ((280, 283), (300, 384)), ((17, 20), (302, 384)),
        ((90, 102), (15, 28)), ((25, 31), (107, 114)),
    ]),
    "go-dicom/I_000021.dcm": (0.68, 0.80, [
        ((0, 10), (248, 272)), ((280, 283), (0, 84)), ((88, 95), (70, 77)),
        ((89, 94), (317, 322)), ((17, 20), (0, 84)),
    ]),
    "go-dicom/I_000031.dcm": (0.24, 0.32, [
        ((0, 60), (0, 800)), ((80, 97), (444, 462)), ((360, 430), (40, 100)),
        ((460, 533), (75, 210)), ((480, 500), (345, 351)), ((515, 600), (0, 800)),
    ]),
    "echotracker/input1.mp4": (0.52, 0.62, [
        ((200, 224), (135, 152)), ((420, 440), (12, 42)), ((0, 12), (392, 405)),
    ]),
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_loops_keep_their_tissue_and_lose_their_text(name: str) -> None:
    path = SHARED / name
    if not path.is_file():
        pytest.skip("the real files lie beside the project, in ../shared/data/real")
    least, most, boxes = REAL[name]
    loop = read_loop(path)
    found = find_sector(loop).mask
    assert least < found.mean() < most
    for rows, columns in boxes:
        assert not found[slice(*rows), slice(*columns)].any(), (rows, columns)
    moving = ndimage.uniform_filter(np.abs(np.diff(loop.frames, axis=0)).mean(0), 15) > 100
    assert (moving & found).sum() > 0.9 * moving.sum() or not moving.any()
