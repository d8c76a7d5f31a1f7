"""Independent decoders that say what a file's grey frames are, or refuse it."""

from __future__ import annotations

import gzip
import io
import logging
import re
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import generate_fragments, generate_frames
from pydicom.pixels import get_decoder, pixel_array
from pydicom.pixels.common import PhotometricInterpretation
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import UID

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")  # little-endian
DEFLATED = "1.2.840.10008.1.2.1.99"
JPEG_XL = "1.2.840.10008.1.2.4.11"  # .110 to .112
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
FILMS = ("1.2.840.10008.1.2.4.10",)  # .100 to .108: MPEG-2, MPEG-4, HEVC
OTHER_PLUGINS = {
    JPEG_BASELINE: "pylibjpeg",  # ours: simplejpeg, or Pillow
    "1.2.840.10008.1.2.4.90": "pillow",  # ours: OpenJPEG by pylibjpeg
    "1.2.840.10008.1.2.5": "pydicom",
}
"""A decoder that shares no code with the one that the intake prefers, where there is one."""
KNOWN = {str(each.value) for each in PhotometricInterpretation}
STRICT = {"err_detect": "explode+crccheck+bitstream+buffer"}


class UnreadableError(Exception):
    """The judge cannot decode the file."""


def is_in_session(syntax: str) -> bool:
    """Return whether this machine has an independent decoder of a transfer syntax.

    The only one of lossless JPEG, pylibjpeg-libjpeg, is GPL and not among our requirements.
    """
    if syntax.startswith((*FILMS, JPEG_XL)):
        return True
    return bool(get_decoder(syntax).is_available)


def judge(path: Path, plugin: str = "") -> NDArray[np.uint8]:
    """Return the grey frames of a file, ``(frames, rows, columns)``.

    Args:
        path: The file.
        plugin: pydicom's decoder, if another one than usual is asked.

    Raises:
        UnreadableError: If an independent decoder fails, or finds damage.
    """
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _frames(path, plugin)
    except UnreadableError:
        raise
    # A judge may fail in any way: its verdict is then that the file cannot be read.
    except Exception as error:
        raise UnreadableError(type(error).__name__) from None


def _frames(path: Path, plugin: str) -> NDArray[np.uint8]:
    if path.suffix == ".dcm":
        return _dicom(path, plugin)
    if path.suffix == ".mhd":
        return _mhd(path)
    if path.name.endswith((".nii", ".nii.gz")):
        content = path.read_bytes()
        return _nifti(gzip.decompress(content) if path.suffix == ".gz" else content)
    return _film(path)


def _dicom(path: Path, plugin: str) -> NDArray[np.uint8]:
    # Nothing after the pixels is read, as in any viewer.
    head = pydicom.dcmread(path, stop_before_pixels=True)
    named = "TransferSyntaxUID" in head.file_meta
    syntax = str(head.file_meta.TransferSyntaxUID) if named else _guessed(head)
    if syntax.startswith(FILMS):
        stream = b"".join(generate_fragments(pydicom.dcmread(path).PixelData))
        return _film(io.BytesIO(stream), "mpegvideo" if stream[3:4] == b"\xb3" else None)
    if syntax.startswith(JPEG_XL):
        return _grey(_jpeg_xl(pydicom.dcmread(path)), head)
    source = path
    if syntax == DEFLATED or not named or _is_mended(head, syntax):
        source = pydicom.dcmread(path)
        _is_mended(source, syntax)
        source.file_meta.TransferSyntaxUID = UID(syntax)
    # A value that the standard does not know says nothing: the pixels are unsigned then.
    signed = int(head.PixelRepresentation == 1)
    other = OTHER_PLUGINS.get(syntax, "")
    if other not in get_decoder(syntax).available_plugins:
        other = ""  # whoever there is
    wishes = {"decoding_plugin": plugin or other}
    wishes |= {"pixel_representation": signed}
    if str(head.PhotometricInterpretation).startswith("YBR_FULL"):
        # The stored luma: broken chroma would be clipped on the way to RGB and back.
        return np.asarray(pixel_array(source, raw=True, **wishes)[..., 0])
    if syntax in NATIVE and head.HighBit >= head.BitsStored and head.SamplesPerPixel == 1:
        return _grey(_words(pydicom.dcmread(path)), head)
    return _grey(pixel_array(source, **wishes), head)


def _is_mended(head: pydicom.Dataset, syntax: str) -> bool:
    """Put what the pixels say, or the standard, where the header says what cannot be."""
    words = ("BitsAllocated", "HighBit", "PixelRepresentation", "PhotometricInterpretation")
    before = [head.get(word) for word in words]
    possible = (8, 16, head.get("BitsAllocated")) if syntax in NATIVE else (8, 16)
    if "BitsAllocated" not in head or head.BitsAllocated not in possible:
        head.BitsAllocated = 8  # compressed samples say themselves how many they have
    if head.get("HighBit", 0) >= 64:
        head.HighBit = head.BitsStored - 1
    head.setdefault("PixelRepresentation", 0)
    if head.get("PhotometricInterpretation") not in KNOWN:
        coloured = syntax == JPEG_BASELINE and head.SamplesPerPixel == 3
        head.PhotometricInterpretation = "YBR_FULL_422" if coloured else "MONOCHROME2"
    return before != [head.get(word) for word in words]


def _guessed(head: pydicom.Dataset) -> str:
    """Return the native syntax by which pydicom read a file that names none."""
    is_implicit, is_little = head.original_encoding
    if not is_little:
        raise UnreadableError("big endian, and no syntax")
    return NATIVE[0] if is_implicit else NATIVE[1]


def _words(data: pydicom.Dataset) -> NDArray[Any]:
    """Return samples with all their bits; pydicom drops those above the lowest ones."""
    shape = (int(data.NumberOfFrames), data.Rows, data.Columns)
    kind = f"<u{data.BitsAllocated // 8}"
    return np.frombuffer(data.PixelData, kind, count=int(np.prod(shape))).reshape(shape)


def _jpeg_xl(data: pydicom.Dataset) -> NDArray[Any]:
    import imagecodecs

    count = int(data.NumberOfFrames)
    parts = generate_frames(data.PixelData, number_of_frames=count)
    return np.stack([imagecodecs.jpegxl_decode(part) for part in parts])


def _grey(frames: NDArray[Any], data: pydicom.Dataset) -> NDArray[np.uint8]:
    """Return what a viewer shows, without any window."""
    photometric = str(data.PhotometricInterpretation)
    if photometric == "PALETTE COLOR":
        frames = apply_color_lut(frames, data)
        frames = (frames >> (8 * (frames.dtype.itemsize - 1))).astype(np.uint8)
    stored = 8 if photometric == "PALETTE COLOR" else int(data.BitsStored)
    above = int(data.HighBit) + 1 - stored  # unused bits below the sample, PS3.5 8.1.1
    if above > 0 and photometric.startswith("MONO"):
        frames = (frames >> above) & ((1 << stored) - 1)
    if int(data.get("PixelRepresentation", 0)) and photometric.startswith("MONO"):
        frames = frames.astype(np.int64) + (1 << (stored - 1))
    colour = frames.shape[-1] == 3 and int(data.SamplesPerPixel) == 3
    frames = frames.reshape(-1, *frames.shape[-3:] if colour else frames.shape[-2:])
    frames = frames.astype(np.float64) * 255 / ((1 << stored) - 1)
    grey = frames @ LUMA if colour else frames
    if photometric == "MONOCHROME1":
        grey = 255 - grey
    return np.round(grey.clip(0, 255)).astype(np.uint8)


def _film(source: Path | io.BytesIO, form: str | None = None) -> NDArray[np.uint8]:
    name = str(source) if isinstance(source, Path) else source
    with av.open(name, format=form) as container:
        stream = container.streams.video[0]
        stream.codec_context.options = STRICT
        pictures = []
        for frame in _decoded(container, stream):
            if frame.is_corrupt:
                raise UnreadableError("a frame is marked corrupt")
            pictures.append(_luma(frame))
    return np.stack(pictures)


def _luma(frame: Any) -> NDArray[np.uint8]:
    """Return what FFmpeg's scaler makes of a frame; for YCbCr, of its luma in full range."""
    if frame.format.name.startswith("yuv"):
        full = frame.format.name.startswith("yuvj") or frame.color_range == 2
        plane = frame.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        luma = rows[: frame.height, : frame.width].astype(np.float64)
        values = luma if full else (luma - 16) * 255 / 219
    else:
        values = frame.to_ndarray(format="rgb24") @ LUMA
    return np.round(values.clip(0, 255)).astype(np.uint8)


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise UnreadableError("a packet is marked corrupt")
        yield from packet.decode()


def _nifti(content: bytes) -> NDArray[np.uint8]:
    order = "<" if struct.unpack_from("<i", content)[0] == 348 else ">"
    if struct.unpack_from(f"{order}i", content)[0] != 348:
        raise UnreadableError("no header")
    rank, width, height, *counts = struct.unpack_from(f"{order}8h", content, 40)
    kind = struct.unpack_from(f"{order}h", content, 70)[0]
    kinds = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}
    start = int(struct.unpack_from(f"{order}f", content, 108)[0])
    slope, shift = struct.unpack_from(f"{order}ff", content, 112)
    count = int(np.prod([max(n, 1) for n in counts[: rank - 2]]))
    values = np.frombuffer(
        content, np.dtype(kinds[kind]).newbyteorder(order), width * height * count, start
    ).astype(np.float64)
    if slope:
        values = values * slope + shift
    return values.reshape(count, height, width).clip(0, 255).round().astype(np.uint8)


def _mhd(path: Path) -> NDArray[np.uint8]:
    lines = re.findall(r"^(\w+) *= *(.*?) *$", path.read_text(encoding="ascii"), re.M)
    head = dict(lines)
    if head["ElementType"] != "MET_UCHAR":
        raise UnreadableError("another type")
    width, height, count = (int(word) for word in head["DimSize"].split())
    values = np.fromfile(path.with_name("x.raw"), np.uint8)
    if values.size != width * height * count or head["ElementDataFile"] != "x.raw":
        raise UnreadableError("another size")
    return values.reshape(count, height, width)
