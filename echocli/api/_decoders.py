"""Decodes one small picture in each DICOM transfer syntax, for ``echocli doctor``."""

from __future__ import annotations

import base64
import io
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder

from echocli.intake.decode import decode, missing_decoder
from echocli.intake.dicom import NATIVE, read_header
from echocli.intake.reasons import Refused

SIDE = 16
RAMP: NDArray[np.uint8] = (8 * np.add.outer(np.arange(SIDE), np.arange(SIDE))).astype(np.uint8)
"""The picture: brighter towards the lower right corner."""

JPEG = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQ"
    "DQ4RDgsLEBYQERMUFRUVDA8XGBYUGBIUFRT/wAALCAAQABABAREA/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAEC"
    "AwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAk"
    "M2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJ"
    "ipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3"
    "+Pn6/9oACAEBAAA/APj/AOGvw2/1X7r07V9V/DX4bf6r916dqPhr8Nv9V+69O1fVXw1+G3+q/denav/Z"
)
JPEG_PROGRESSIVE = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJ"
    "BwYGCAsICQoKCgoKBggLDAsKDAkKCgr/wgALCAAQABABAREA/8QAFQABAQAAAAAAAAAAAAAAAAAACAD/2gAIAQEA"
    "AAABN6AkB//EABUQAQEAAAAAAAAAAAAAAAAAAAYA/9oACAEBAAEFAjZuNm42bjZu/8QAFhAAAwAAAAAAAAAAAAAA"
    "AAAAAAIi/9oACAEBAAY/AlgWBYFg/8QAFRABAQAAAAAAAAAAAAAAAAAAAPH/2gAIAQEAAT8hmpqamv/aAAgBAQAA"
    "ABAP/8QAFRABAQAAAAAAAAAAAAAAAAAAAKH/2gAIAQEAAT8QgkEgkE//2Q=="
)
JPEG_LOSSLESS = (
    "/9j/xAAWAAEBAQAAAAAAAAAAAAAAAAADBAj/wwALCAAQABABABEA/9oACAEAAAYAAM/0UUUUUUUUUUUUUUUI"
    "iIiIiIiIiUIiIiIiIiIiUIiIiIiIiIiUIiIiIiIiIiUIiIiIiIiIiUIiIiIiIiIiUIiIiIiIiIiUIiIiIiIi"
    "IiUIiIiIiIiIiUIiIiIiIiIiUIiIiIiIiIiUIiIiIiIiIiUIiIiIiIiIiUIiIiIiIiIiUIiIiIiIiIiA/9k="
)
JPEG_LS = (
    "/9j/9wALCAAQABABAREA/9oACAEBAAAAAIcdo7Vp/d27uwgRzFI7MzK2wTbbaSSSU6qqqqplVVV9X/9o/3/v"
    "/3z/f8//fP9/z/96/3/f/3v/f3//YP/Z"
)
JPEG_2000 = (
    "/0//UQApAAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABBwEB/1IADAAAAAEAAQQEAAH/XAAH"
    "QEBISFD/ZAAlAAFDcmVhdGVkIGJ5IE9wZW5KUEVHIHZlcnNpb24gMi41LjT/kAAKAAAAAABIAAH/k9+BQBIr"
    "ZtcPYOVS50caTTXEVAr4h8HKTkL66L3RYpFzW3D+XEE0LBXTYD/A+QJA+QIANqGZzz2mNF//2Q=="
)
HTJ2K = (
    "/0//UQApQAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABBwEB/1AACAACAAAAAv9SAAwAAgAB"
    "AAIEBEAB/1wACiBIUFBQSEhI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAFcAAf+TwC1Q/z+/"
    "/3+vkX/th0AiSf4AvtQQBzcAwBUQBUhCCPGqcAJ1AKIQ4sAAAey2AMAq4BVgtm3b58Cnp6dCeABu27b9knv2"
    "Sey4AP/Z"
)
JPEG_XL = "/wpDQFDcCAgEAQB8AEsoJdahJBRMgHGV+ZcwTmKdIAAAAAAAAAAAAAAAAAA="
JPEG_XL_OF_JPEG = (
    "AAAADEpYTCANCocKAAAAFGZ0eXBqeGwgAAAAAGp4bCAAAAATanhscAAAAAD/CkNAUNwIAAABBGpicmTBDSAILQMC"
    "AISAkKtKAABAyFHZgqE4/yeIjBHKOKcUtB8hQ5ilDjLMQOkONVgfMpx8zIBDDiosctCwA9tHDf37I8scdtyBhqL7"
    "X4xxxiSXbPLJKKc8M80123wzzjkLPTTRRRt9NNJJSz011VVbfTXWWYs9Ntllm3022mnLPTfdddt9N955Cz444YUb"
    "fjjiiUcu+eSUV2755ZhnHrroo5Neuumno5567LLPTnvttt+Oe+7BCz888cUbfzzyyUcv/fTUV2/99dhnD3744o9P"
    "fvnmn49++vDHL//89Ndv//345/8P8AMAAAALCIDgABBKRklGAAEBAAABAAEAAAMAAADNanhscIAAAAHgWwAQAOgC"
    "DGQMZAxk/v8OAAAYAAgAAQAAAAAAgIAliSLj2Alp7jAAIQUWhAiLCDk2Ksbg9XgMCT0GQBDB77UQ+RRMwIMmWQHQ"
    "KAAT4AQQ8+FiCMA4eGQ56iHr7ZzbPMF9b/gbD60jLKv5hJSeexPVHOnS87UztsDYgP2rCHEoGk6dzPsR1kmpAQaQ"
    "AZTx4/VhEFkOMUeeCqoPAAAAAACgJJGYMa5hBgDgPn5iDARCHz8xBgKhj58YA4HQx0+MgUAA"
)
"""The picture in each coding, as base64."""

WRAPPED, DEFLATED_FRAME = "1.2.840.10008.1.2.1.98", "1.2.840.10008.1.2.8.1"
STREAMS = {"mpeg2video": "mpeg2video", "libx264": "h264", "libx265": "hevc"}
"""FFmpeg's name of the bare stream of each encoder."""
PIXELS = {"mjpeg": "yuvj420p", "gif": "gray"}
"""What else than the usual an encoder of FFmpeg's takes."""
NATIVE_FAULT = "pip install --force-reinstall pydicom"
IMAGECODECS = "pip install --force-reinstall imagecodecs"


@dataclass(frozen=True, kw_only=True)
class Syntax:
    """One way in which a DICOM file may store its pixels."""

    name: str
    uid: str
    stream: str = ""
    """The picture as base64; empty if it is coded here."""
    encoder: str = ""
    """FFmpeg's encoder of the loop, where a loop is one stream."""
    tolerance: int = 0
    """Largest difference of a grey value that a lossy coding may make."""
    remedy: str = NATIVE_FAULT


def _coded(
    name: str, number: int, stream: str, package: str = "imagecodecs", tolerance: int = 0
) -> Syntax:
    return Syntax(
        name=name,
        uid=f"1.2.840.10008.1.2.4.{number}",
        stream=stream,
        tolerance=tolerance,
        remedy=f"pip install --force-reinstall {package}",
    )


def _video(name: str, number: int, encoder: str) -> Syntax:
    return Syntax(
        name=name,
        uid=f"1.2.840.10008.1.2.4.{number}",
        encoder=encoder,
        tolerance=24,
        remedy="pip install --force-reinstall av",
    )


SYNTAXES = (
    Syntax(name="Implicit VR Little Endian", uid="1.2.840.10008.1.2"),
    Syntax(name="Explicit VR Little Endian", uid="1.2.840.10008.1.2.1"),
    Syntax(name="Explicit VR Big Endian", uid="1.2.840.10008.1.2.2"),
    Syntax(name="Deflated", uid="1.2.840.10008.1.2.1.99"),
    Syntax(name="RLE Lossless", uid="1.2.840.10008.1.2.5", remedy=IMAGECODECS),
    _coded("JPEG Baseline", 50, JPEG, "simplejpeg", tolerance=4),
    _coded("JPEG Extended", 51, JPEG, "simplejpeg", tolerance=4),
    _coded("JPEG Spectral Selection", 53, JPEG_PROGRESSIVE, "simplejpeg", tolerance=4),
    _coded("JPEG Full Progression", 55, JPEG_PROGRESSIVE, "simplejpeg", tolerance=4),
    _coded("JPEG Lossless", 57, JPEG_LOSSLESS, "simplejpeg"),
    _coded("JPEG Lossless, first order", 70, JPEG_LOSSLESS, "simplejpeg"),
    _coded("JPEG-LS Lossless", 80, JPEG_LS),
    _coded("JPEG-LS Near-Lossless", 81, JPEG_LS),
    _coded("JPEG 2000 Lossless", 90, JPEG_2000),
    _coded("JPEG 2000", 91, JPEG_2000),
    _coded("HTJ2K Lossless", 201, HTJ2K),
    _coded("HTJ2K Lossless RPCL", 202, HTJ2K),
    _coded("HTJ2K", 203, HTJ2K),
    _coded("JPEG XL Lossless", 110, JPEG_XL),
    _coded("JPEG XL of JPEG", 111, JPEG_XL_OF_JPEG, tolerance=4),
    _coded("JPEG XL", 112, JPEG_XL),
    Syntax(name="Encapsulated Uncompressed", uid=WRAPPED),
    Syntax(name="Deflated Image Frame", uid=DEFLATED_FRAME),
    _video("MPEG-2 Main Profile", 100, "mpeg2video"),
    _video("MPEG-2 High Profile", 101, "mpeg2video"),
    _video("MPEG-4 AVC High Profile", 102, "libx264"),
    _video("MPEG-4 AVC, Blu-ray", 103, "libx264"),
    _video("MPEG-4 AVC 4.2, 2D", 104, "libx264"),
    _video("MPEG-4 AVC 4.2, 3D", 105, "libx264"),
    _video("MPEG-4 AVC 4.2, stereo", 106, "libx264"),
    _video("HEVC Main Profile", 107, "libx265"),
    _video("HEVC Main 10 Profile", 108, "libx265"),
)
"""Every compression that ``preprocess`` reads."""


def fault_of(syntax: Syntax, folder: Path) -> str | None:
    """Return why the picture does not come back from a transfer syntax, ``None`` if it does.

    The file goes the same way as a user's, through ``intake``.

    Args:
        syntax: How the pixels are stored.
        folder: Where the file may lie for a moment.
    """
    if missing_decoder(syntax.uid):
        return "no decoder"
    path = folder / f"{syntax.uid}.dcm"
    path.write_bytes(dicom_bytes(syntax))
    try:
        grey = decode(path, read_header(path), None).frames[0]
    except Refused as refused:
        return str(refused.reason).replace("_", " ")
    if np.abs(grey.astype(int) - RAMP).max() > syntax.tolerance:
        return "the picture comes back changed"
    return None


def faults() -> dict[str, str | None]:
    """Return the fault of each transfer syntax by its UID, ``None`` if it is read well.

    Those that nothing here can encode are left out, unless their decoder is missing too.
    """
    tried = [s for s in SYNTAXES if can_encode(s.encoder) or missing_decoder(s.uid)]
    with tempfile.TemporaryDirectory() as folder:
        return {syntax.uid: fault_of(syntax, Path(folder)) for syntax in tried}


def can_encode(encoder: str) -> bool:
    """Return whether this FFmpeg has an encoder: builds without GPL parts lack some."""
    return encoder == "" or encoder in av.codecs_available


def dicom_bytes(syntax: Syntax) -> bytes:
    """Return a whole DICOM file that holds the picture."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax.uid)
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.6.1"  # Ultrasound Image Storage
    dataset.SOPInstanceUID = "2.25.1"
    dataset.Modality = "US"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = dataset.Columns = SIDE
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = _pixel_data(syntax, dataset)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = syntax.uid not in NATIVE
    buffer = io.BytesIO()
    if pydicom.uid.UID(syntax.uid).is_transfer_syntax:
        dataset.save_as(buffer, enforce_file_format=True)
    else:  # newer than pydicom
        dataset.preamble = b"\0" * 128
        pydicom.dcmwrite(
            buffer, dataset, implicit_vr=False, little_endian=True, force_encoding=True
        )
    return buffer.getvalue()


def _pixel_data(syntax: Syntax, dataset: pydicom.Dataset) -> bytes:
    if syntax.stream:
        return _encapsulated(base64.b64decode(syntax.stream))
    if syntax.encoder:
        ramp = np.repeat(RAMP[..., None], 3, axis=-1)
        return _encapsulated(encode_video(ramp, syntax.encoder, STREAMS[syntax.encoder], 1))
    if syntax.uid == WRAPPED:
        return _encapsulated(RAMP.tobytes())
    if syntax.uid == DEFLATED_FRAME:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return _encapsulated(packer.compress(RAMP.tobytes()) + packer.flush())
    if dataset.file_meta.TransferSyntaxUID == pydicom.uid.RLELossless:
        plain = RLELosslessEncoder.encode(
            RAMP,
            rows=SIDE,
            columns=SIDE,
            samples_per_pixel=1,
            bits_allocated=8,
            bits_stored=8,
            pixel_representation=0,
            number_of_frames=1,
            photometric_interpretation="MONOCHROME2",
            encoding_plugin="pydicom",
        )
        return _encapsulated(plain)
    return RAMP.tobytes()


def encode_video(
    picture: NDArray[np.uint8], encoder: str, container: str, frames: int
) -> bytes:
    """Return a video that shows an RGB picture again and again."""
    options = {"crf": "4", "x265-params": "crf=4:log-level=none", "qscale": "1", "qmin": "1"}
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as video:
        stream = video.add_stream(encoder, rate=30, options=options)
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = PIXELS.get(encoder, "yuv420p")
        for _ in range(frames):
            video.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        video.mux(stream.encode(None))
    return buffer.getvalue()


def _encapsulated(frame: bytes) -> bytes:
    items: bytes = encapsulate([frame])
    return items
