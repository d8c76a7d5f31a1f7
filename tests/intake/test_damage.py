"""A frame that lost a bit is noticed by what stands around it; what hearts do is not damage."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import simplejpeg
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, generate_frames
from scipy import ndimage

from echocli.intake.damage import find_damage
from echocli.intake.decode import decode
from echocli.intake.decode_jpeg import is_in_step
from echocli.intake.dicom import read_header
from echocli.intake.read import read_loop
from echocli.intake.reasons import Reason, Refused
from echocli.phantoms.dicom import DicomOptions, write_loop
from echocli.phantoms.patient import PhantomConfig, draw_patient
from echocli.phantoms.screen import draw_screen

SHARED = Path(__file__).parents[2].parent / "shared/data/real"
FLIPS = 150
FAR = 1.0
"""Mean difference in grey levels from which a frame is plainly wrong."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = PhantomConfig(seconds=(0.4, 0.5), frame_rates_hz=(30.0, 36.0))
    patient = draw_patient(3, 2, config)
    path = tmp_path_factory.mktemp("whole") / "x.dcm"
    screen = draw_screen(patient, height=240, width=320)
    write_loop(path, patient, screen, DicomOptions(quality=85))
    return path


def flipped(frame: bytes, rng: np.random.Generator) -> tuple[bytes, NDArray[np.uint8]] | None:
    """Flip a bit of the scan; nothing if the decoder notices."""
    scan = frame.rfind(b"\xff\xda")
    scan += 2 + int.from_bytes(frame[scan + 2 : scan + 4])
    changed = bytearray(frame)
    changed[int(rng.integers(scan, len(frame) - 4))] ^= 1 << int(rng.integers(8))
    try:
        grey = simplejpeg.decode_jpeg(bytes(changed), colorspace="GRAY")[..., 0]
    except ValueError:
        return None
    return bytes(changed), np.asarray(grey)


def test_plainly_wrong_frames_are_found_and_whole_loops_are_not(
    whole: Path, tmp_path: Path
) -> None:
    frames = read_loop(whole).frames  # not refused
    data = pydicom.dcmread(whole)
    parts = list(generate_frames(data.PixelData, number_of_frames=len(frames)))
    rng = np.random.default_rng(1)
    found = []
    for _ in range(FLIPS):
        place = int(rng.integers(1, len(frames) - 1))
        damaged = flipped(parts[place], rng)
        if damaged is None:
            continue
        if np.abs(damaged[1].astype(int) - frames[place]).mean() < FAR:
            continue
        stack = frames.copy()
        stack[place] = damaged[1]
        damage = find_damage(stack)
        found.append(damage is not None)
        assert damage is None or damage.frame == place
        last = [*parts[:place], damaged[0], *parts[place + 1 :]], damage
    assert len(found) >= 12
    assert np.mean(found) > 0.9
    streams, damage = last
    assert damage is not None
    assert damage.surroundings
    data.PixelData = encapsulate(streams)
    data.save_as(tmp_path / "damaged.dcm")
    with pytest.raises(Refused) as refused:
        read_loop(tmp_path / "damaged.dcm")
    assert refused.value.reason is Reason.UNDECODABLE


def out_of_step(frame: bytes) -> bytes:
    """Put a piece of the scan elsewhere until only FFmpeg notices."""
    rng = np.random.default_rng(5)
    scan = frame.rfind(b"\xff\xda") + 14
    for _ in range(300):
        start, other = rng.integers(scan, len(frame) - 40, 2)
        spliced = frame[:start] + frame[other : other + 20] + frame[start + 20 :]
        try:
            simplejpeg.decode_jpeg(spliced, colorspace="GRAY")
        except ValueError:
            continue
        if not is_in_step(spliced):
            return spliced
    raise AssertionError("no splice that libjpeg-turbo is silent about")


@pytest.mark.parametrize("place", [0, 5, -1])
def test_a_frame_that_is_out_of_step_is_noted(whole: Path, tmp_path: Path, place: int) -> None:
    data = pydicom.dcmread(whole)
    parts = list(generate_frames(data.PixelData, number_of_frames=int(data.NumberOfFrames)))
    assert all(is_in_step(part) for part in parts)
    parts[place] = out_of_step(parts[place])
    data.PixelData = encapsulate(parts)
    data.save_as(tmp_path / "spliced.dcm")
    header = read_header(tmp_path / "spliced.dcm")
    assert decode(tmp_path / "spliced.dcm", header, None).notes == ("damaged_frame",)


def speckle(frames: int = 20) -> NDArray[np.uint8]:
    """Tissue that fills the picture and moves smoothly."""
    rng = np.random.default_rng(2)
    noise = ndimage.gaussian_filter(rng.normal(size=(frames, 120, 160)), (1.5, 2, 2))
    return np.clip(100 + noise / noise.std() * 25, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("place", [7, 0, 19])
def test_a_jump_of_tissue_alone_is_only_noted(place: int) -> None:
    frames = speckle()
    assert find_damage(frames) is None
    frames[place, 48:] = np.roll(frames[place, 48:], 24, axis=1)
    damage = find_damage(frames)
    assert damage is not None
    assert (damage.frame, damage.surroundings) == (place, False)


@pytest.mark.parametrize("place", [0, 19])
def test_a_step_twice_as_large_at_an_end_is_no_damage(place: int) -> None:
    frames = ndimage.gaussian_filter1d(speckle(21), 2, axis=0)
    chosen = [*range(1, 19), 20] if place else [0, *range(2, 20)]
    assert find_damage(frames[chosen]) is None


def test_a_new_gain_a_clock_and_a_sweeping_beam_are_no_damage() -> None:
    frames = speckle()
    frames[9:] = np.minimum(frames[9:].astype(int) + 40, 255)  # the gain is turned up
    frames[:, :30] = 0
    frames[12:, 4:20, 8:40] = 220  # a clock's digit changes
    for index, frame in enumerate(frames):
        frame[100:118, 6 * index : 6 * index + 4] = 255  # an ECG's beam
    assert find_damage(frames) is None


@pytest.mark.parametrize("count", [1, 2])
def test_loops_too_short_to_compare_are_let_be(count: int) -> None:
    assert find_damage(speckle()[:count]) is None


def test_no_real_loop_is_called_damaged() -> None:
    files = sorted(SHARED.glob("go-dicom/I_0000*.dcm"))
    if not files:
        pytest.skip("the real files lie beside the project, in ../shared/data/real")
    assert not {path.name for path in files if is_called_damaged(path)}


def is_called_damaged(path: Path) -> bool:
    try:
        return "damaged_frame" in read_loop(path).notes
    except Refused as refused:
        return refused.reason is Reason.UNDECODABLE
