"""Real files against what a person saw in them."""

import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from echocli.intake.read import describe, read_loop
from echocli.intake.reasons import Refused

SHARED = Path(__file__).parents[2] / "../shared/data/real"
USE = "use"

SEEN = {  # looked at one by one: picture, colour, motion
    "dcm4che/US-PAL-8-10x-echo": "colour_doppler",  # apical, colour box, palette RLE
    "dcm4che/US-RGB-8-esopecho": "still",  # transoesophageal, coloured, one frame
    "dcm4che/YBR_422.dcm": "still",  # a muscle
    "dcm4che/jpeg-ls-Palette.dcm": "colour_doppler",  # the first one as JPEG-LS
    "dicomParser/IM00001.fragmented_no_bot_jpeg_baseline.50.dcm": "colour_doppler",
    "dicomParser/IM00001.implicit_little_endian.dcm": "colour_doppler",
    "echotracker/input1.mp4": USE,  # apical, slightly blue
    "go-dicom/I_000001.dcm": USE,  # parasternal long axis, a child
    "go-dicom/I_000002.dcm": USE,
    "go-dicom/I_000003.dcm": "colour_doppler",
    "go-dicom/I_000005.dcm": "colour_doppler",
    "go-dicom/I_000007.dcm": USE,  # stress echo, blue tint
    "go-dicom/I_000008.dcm": USE,
    "go-dicom/I_000009.dcm": USE,
    "go-dicom/I_000013.dcm": USE,
    "go-dicom/I_000021.dcm": USE,
    "go-dicom/I_000031.dcm": USE,  # parasternal, green ECG sweeps through the region
    "go-dicom/I_000034.dcm": "m_mode",
}
SEEN_IN_PACKAGES = {
    "color3d_jpeg_baseline.dcm": USE,  # apical four-chamber, 120 frames
    "examples_ybr_color.dcm": USE,  # the same at half the size
    "examples_palette.dcm": "still",
    "examples_rgb_color.dcm": "still",
    "examples_jpeg2k.dcm": "still",
    "examples_overlay.dcm": "not_ultrasound",
    "gdcm-US-ALOKA-16.dcm": "still",
    "OBXXXX1A_rle_2frame.dcm": "too_few_frames",
    "test-SR.dcm": "structured_report",
    "DICOMDIR-empty.dcm": "dicomdir",
    "CT_small.dcm": "not_ultrasound",
}
SCALES_MM = {  # row, column; checked against the depth rulers in the pictures
    "go-dicom/I_000001.dcm": (0.22857, 0.28571),
    "go-dicom/I_000007.dcm": (0.36281, 0.36281),
    "go-dicom/I_000031.dcm": (0.32407, 0.32407),
}

needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="../shared/data/real is not beside this checkout"
)


def verdict(path: Path) -> str:
    try:
        loop = read_loop(path)
    except Refused as refused:
        return str(refused.reason)
    assert loop.frames.shape[1:] == loop.chroma.shape
    assert loop.times_s is not None
    assert len(loop.times_s) == len(loop.frames)
    return USE


@needs_shared
def test_every_file_has_been_looked_at() -> None:
    found = {
        path.relative_to(SHARED).as_posix()
        for path in SHARED.rglob("*")
        if path.is_file() and path.name != "README.md"
    }
    assert found == set(SEEN)


@needs_shared
@pytest.mark.parametrize(("name", "seen"), SEEN.items())
def test_shared_files_are_what_a_person_saw(name: str, seen: str) -> None:
    path = SHARED / name
    assert verdict(path) == seen
    said = describe(path)
    # The header may not know of colour; it must never refuse what the pixels allow.
    if seen == USE or said.reason is not None:
        assert (said.reason or USE) == seen


@pytest.mark.parametrize(("name", "seen"), SEEN_IN_PACKAGES.items())
def test_files_of_pip_packages_are_what_a_person_saw(name: str, seen: str) -> None:
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"{name} comes with pydicom-data, which is not installed")
    assert verdict(Path(str(path))) == seen


@needs_shared
@pytest.mark.parametrize(("name", "spacing"), SCALES_MM.items())
def test_scales_agree_with_the_rulers(name: str, spacing: tuple[float, float]) -> None:
    loop = read_loop(SHARED / name)
    assert loop.spacing_source == "region"
    assert loop.spacing_mm == pytest.approx(spacing, rel=1e-4)


@needs_shared
def test_uneven_steps_of_a_stress_echo() -> None:
    loop = read_loop(SHARED / "go-dicom/I_000013.dcm")
    assert loop.time_source == "frame_time_vector"
    assert loop.times_s is not None
    told = pydicom.dcmread(SHARED / "go-dicom/I_000013.dcm", stop_before_pixels=True)
    vector = [float(step) for step in told.FrameTimeVector]
    assert vector[0] != 0  # against the standard; it belongs to no pair of frames
    np.testing.assert_allclose(np.diff(loop.times_s) * 1000, vector[1:])


def test_the_half_size_copy_has_the_same_heart() -> None:
    whole = get_testdata_file("color3d_jpeg_baseline.dcm", download=False)
    half = get_testdata_file("examples_ybr_color.dcm", download=False)
    if whole is None or half is None:
        pytest.skip("pydicom-data is not installed")
    large, small = (read_loop(Path(str(path))) for path in (whole, half))
    assert small.spacing_source == "region_rescaled"
    assert large.spacing_mm is not None
    assert small.spacing_mm == pytest.approx([2 * mm for mm in large.spacing_mm])


@needs_shared
@pytest.mark.parametrize("name", ["go-dicom/I_000001.dcm", "go-dicom/I_000008.dcm"])
def test_grey_is_the_luma_of_pydicoms_rgb(name: str) -> None:
    loop = read_loop(SHARED / name)
    rgb = pydicom.dcmread(SHARED / name).pixel_array.astype(np.float64)
    luma = rgb @ np.array([0.299, 0.587, 0.114])
    assert np.abs(loop.frames - luma).mean() < 0.6


@needs_shared
def test_a_real_file_cut_short_is_refused(tmp_path: Path) -> None:
    data = (SHARED / "go-dicom/I_000007.dcm").read_bytes()
    path = tmp_path / "x"
    for percent in range(0, 100, 10):
        path.write_bytes(data[: len(data) * percent // 100])
        with pytest.raises(Refused):
            read_loop(path)


@needs_shared
@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="needs Linux's /proc")
def test_describing_does_not_read_the_pixels() -> None:
    path = SHARED / "go-dicom/I_000031.dcm"
    describe(path)  # imports are done
    before = _bytes_read()
    describe(path)
    assert _bytes_read() - before < 0.05 * os.path.getsize(path)


def _bytes_read() -> int:
    text = Path("/proc/self/io").read_text()
    return int(text.split("rchar:")[1].split()[0])
