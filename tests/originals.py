"""Whole files of every kind that the intake reads, small, to be damaged by tests."""

from __future__ import annotations

import gzip
import io
import struct
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import UID

from echocli.datasets.phantom import PhantomConfig, draw_patient
from echocli.phantoms.dicom import (
    ULTRASOUND_MULTIFRAME,
    DicomOptions,
    header,
    scan_regions,
    set_timing,
)
from echocli.phantoms.screen import Screen, draw_screen

FRAMES, HEIGHT, WIDTH = 12, 150, 200
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
BIG_ENDIAN, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
JPEG, LOSSLESS = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70"
JPEG_LS, JPEG_2000 = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"
HTJ2K, JPEG_XL = "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.110"
MPEG_2, H_264, HEVC = (f"1.2.840.10008.1.2.4.{number}" for number in (100, 102, 107))
RLE = "1.2.840.10008.1.2.5"
SYNTAXES = (
    IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED, JPEG, LOSSLESS, JPEG_LS, JPEG_2000, HTJ2K,
    JPEG_XL, MPEG_2, H_264, HEVC, RLE,
)  # fmt: skip


@dataclass(frozen=True)
class Original:
    """A whole file. MHD has a second one, which is left as it is."""

    name: str
    suffix: str
    content: bytes
    beside: tuple[str, bytes] | None = None

    @property
    def is_dicom(self) -> bool:
        return self.suffix == ".dcm"

    def write(self, folder: Path, content: bytes | None = None) -> Path:
        """Write the file, or damaged bytes in its place, into a folder of its own."""
        folder.mkdir(parents=True)
        path = folder / f"x{self.suffix}"
        path.write_bytes(self.content if content is None else content)
        if self.beside:
            (folder / self.beside[0]).write_bytes(self.beside[1])
        return path


@cache
def screen() -> Screen:
    """A phantom's screen: RGB frames with a sector and a green ECG.

    Without its texts, which would lie over the scan in so small a picture.
    """
    patient = draw_patient(5, 1, PhantomConfig())
    drawn = draw_screen(patient, height=HEIGHT, width=WIDTH)
    loop = replace(drawn.loop, times_s=drawn.loop.times_s[:FRAMES])
    shown = drawn.place(drawn.loop.sector[None].astype(np.uint8))[0].astype(bool)
    shown[drawn.trace.y0 : drawn.trace.y1 + 1, drawn.trace.x0 : drawn.trace.x1 + 1] = True
    return replace(drawn, frames=drawn.frames[:FRAMES] * shown[..., None], loop=loop)


def grey_frames() -> NDArray[np.uint8]:
    return np.round(screen().frames @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)


def dataset(pixels: NDArray[Any], syntax: str = EXPLICIT, photometric: str = "") -> Dataset:
    """The phantom's header around ``(frames, rows, columns[, 3])``, native pixels."""
    patient = draw_patient(5, 1, PhantomConfig())
    data = header(patient, 1, ULTRASOUND_MULTIFRAME)
    data.SequenceOfUltrasoundRegions = scan_regions(screen(), DicomOptions())
    set_timing(data, screen().loop.times_s, DicomOptions())
    data.file_meta.TransferSyntaxUID = UID(syntax)
    data.NumberOfFrames, data.Rows, data.Columns = pixels.shape[:3]
    colour = pixels.ndim == 4
    data.SamplesPerPixel = 3 if colour else 1
    if colour:
        data.PlanarConfiguration = 0
    data.PhotometricInterpretation = photometric or ("RGB" if colour else "MONOCHROME2")
    data.BitsAllocated = data.BitsStored = 8 * pixels.dtype.itemsize
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, 0
    data.PixelData = pixels.tobytes()
    data["PixelData"].VR = "OB" if pixels.dtype == np.uint8 else "OW"
    return data


def saved(data: Dataset) -> bytes:
    file = io.BytesIO()
    plain = Dataset(dict(data.items()))  # free of the byte order that the header was made in
    plain.file_meta = data.file_meta
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # big endian is retired, and pydicom says so
        plain.save_as(file, enforce_file_format=True)
    return file.getvalue()


def compressed(
    pixels: NDArray[np.uint8],
    syntax: str,
    encode: Callable[[NDArray[np.uint8]], bytes],
    photometric: str = "",
    *,
    fragments: int = 1,
    has_bot: bool = True,
) -> bytes:
    """A file whose frames were encoded one by one."""
    data = dataset(pixels, syntax, photometric)
    parts = [encode(np.ascontiguousarray(frame)) for frame in pixels]
    data.PixelData = encapsulate(parts, fragments_per_frame=fragments, has_bot=has_bot)
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    return saved(data)


def _jpeg_grey(frame: NDArray[np.uint8]) -> bytes:
    grey = np.ascontiguousarray(frame[..., None])
    return bytes(simplejpeg.encode_jpeg(grey, 90, "GRAY", "Gray"))


def _jpeg_colour(frame: NDArray[np.uint8]) -> bytes:
    return bytes(simplejpeg.encode_jpeg(frame, 90, "RGB", "422"))


def _rle(frame: NDArray[np.uint8]) -> bytes:
    return RLELosslessEncoder.encode(
        frame.tobytes(), rows=frame.shape[0], columns=frame.shape[1], number_of_frames=1,
        samples_per_pixel=1 if frame.ndim == 2 else 3, bits_allocated=8, bits_stored=8,
        pixel_representation=0, photometric_interpretation="MONOCHROME2",
        planar_configuration=0,
    )  # fmt: skip


def dicom_originals() -> Iterator[Original]:
    """DICOM files of every transfer syntax and colour that the installed encoders can make."""
    colour, grey = screen().frames, grey_frames()
    made: dict[str, bytes] = {
        "native grey": saved(dataset(grey)),
        "native RGB": saved(dataset(colour)),
        "native planar": saved(_planar(colour)),
        "implicit": saved(dataset(grey, IMPLICIT)),
        "deflated": saved(dataset(grey, DEFLATED)),
        "big endian": saved(dataset(grey, BIG_ENDIAN)),
        "16 bit": saved(_twelve_bit(grey)),
        "inverted": saved(dataset(255 - grey, EXPLICIT, "MONOCHROME1")),
        "RLE": compressed(grey, RLE, _rle),
        "JPEG grey": compressed(grey, JPEG, _jpeg_grey),
        "JPEG colour": compressed(colour, JPEG, _jpeg_colour, "YBR_FULL_422"),
        "JPEG fragments": compressed(
            colour, JPEG, _jpeg_colour, "YBR_FULL_422", fragments=3, has_bot=False
        ),
    }
    made |= _by_imagecodecs(grey)
    for name, syntax, codec in (
        ("MPEG-2", MPEG_2, "mpeg2video"), ("H.264", H_264, "libx264"),
        ("HEVC", HEVC, "libx265"),
    ):  # fmt: skip
        made[name] = _encapsulated_film(colour, syntax, codec)
    for name, content in made.items():
        yield Original(name, ".dcm", content)


def _planar(colour: NDArray[np.uint8]) -> Dataset:
    data = dataset(colour)
    data.PlanarConfiguration = 1
    data.PixelData = colour.transpose(0, 3, 1, 2).tobytes()
    return data


def _twelve_bit(grey: NDArray[np.uint8]) -> Dataset:
    data = dataset(grey.astype("<u2") * 16)
    data.BitsStored, data.HighBit = 12, 11
    return data


def _by_imagecodecs(grey: NDArray[np.uint8]) -> dict[str, bytes]:
    try:
        import imagecodecs as codecs
    except ModuleNotFoundError:
        return {}
    coders: dict[str, tuple[str, Callable[[NDArray[np.uint8]], bytes]]] = {
        "JPEG lossless": (LOSSLESS, codecs.ljpeg_encode),
        "JPEG-LS": (JPEG_LS, lambda frame: codecs.jpegls_encode(frame)),
        "JPEG 2000": (JPEG_2000, lambda f: codecs.jpeg2k_encode(f, codecformat="j2k", level=0)),
        "HTJ2K": (HTJ2K, lambda frame: codecs.htj2k_encode(frame)),
        "JPEG XL": (HTJ2K, lambda frame: codecs.jpegxl_encode(frame, lossless=True)),
    }
    made = {name: compressed(grey, *coder) for name, coder in coders.items()}
    # pydicom refuses to write what it cannot read; both UIDs have the same length.
    made["JPEG XL"] = made["JPEG XL"].replace(HTJ2K.encode(), JPEG_XL.encode())
    return made


def _encapsulated_film(colour: NDArray[np.uint8], syntax: str, codec: str) -> bytes:
    """A film as one fragment, as PS3.5 A.4.5 and A.4.6 ask."""
    form = {"mpeg2video": "mpeg2video", "libx264": "h264", "libx265": "hevc"}[codec]
    stream = film(colour, form, codec)
    data = dataset(colour, syntax, "YBR_PARTIAL_420")
    data.PixelData = encapsulate([stream], has_bot=False)
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    return saved(data)


def film(
    frames: NDArray[np.uint8], form: str, codec: str, pixels: str = "yuv420p", **muxer: str
) -> bytes:
    """RGB frames as a film of 25 frames a second."""
    options = {"libx265": {"x265-params": "log-level=none:bframes=0:pools=none"}}.get(codec, {})
    with tempfile.NamedTemporaryFile() as place:
        _write_film(place.name, frames, (form, codec, pixels), options, muxer)
        return Path(place.name).read_bytes()


def _write_film(
    name: str,
    frames: NDArray[np.uint8],
    kind: tuple[str, str, str],
    options: dict[str, str],
    muxer: dict[str, str],
) -> None:
    form, codec, pixels = kind
    with av.open(name, "w", format=form, container_options=muxer) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], pixels
        stream.codec_context.thread_count = 1
        stream.codec_context.bit_rate = 4_000_000
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def file_originals() -> Iterator[Original]:
    """Videos and volumes."""
    colour, grey = screen().frames, grey_frames()
    yield Original("AVI", ".avi", film(colour, "avi", "mjpeg", "yuvj420p"))
    yield Original("MP4", ".mp4", film(colour, "mp4", "libx264"))
    yield Original("MKV", ".mkv", film(colour, "matroska", "ffv1"))
    yield Original("GIF", ".gif", _gif(grey))
    yield Original("NIfTI", ".nii", nifti(grey))
    yield Original("NIfTI gz", ".nii.gz", gzip.compress(nifti(grey), mtime=0))
    head = (
        f"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        f"ElementSpacing = 0.3 0.3 1\nDimSize = {WIDTH} {HEIGHT} {FRAMES}\n"
        "ElementType = MET_UCHAR\nElementDataFile = x.raw\n"
    )
    yield Original("MHD", ".mhd", head.encode(), ("x.raw", grey.tobytes()))


def _gif(grey: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    first, *rest = (Image.fromarray(frame) for frame in grey)
    first.save(file, "GIF", save_all=True, append_images=rest, duration=40)
    return file.getvalue()


def nifti(frames: NDArray[np.uint8]) -> bytes:
    """A NIfTI-1 file of ``(x, y, frames)``, written by hand.

    Source:
        nifti1.h, https://nifti.nimh.nih.gov.
    """
    head = bytearray(352)
    count, height, width = frames.shape
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, 3, width, height, count, 1, 1, 1, 1)
    struct.pack_into("<hh", head, 70, 2, 8)  # DT_UINT8, 8 bits
    struct.pack_into("<8f", head, 76, 1, 0.3, 0.3, 1, 1, 1, 1, 1)
    struct.pack_into("<fff", head, 108, 352, 1, 0)  # vox_offset, scl_slope, scl_inter
    head[123] = 2  # millimetres
    head[344:348] = b"n+1\0"
    return bytes(head) + frames.tobytes()


@cache
def originals() -> tuple[Original, ...]:
    """Every file, DICOM first."""
    return (*dicom_originals(), *file_originals())
