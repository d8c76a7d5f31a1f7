"""Encoders of single frames and loops, for files made in tests."""

import io
import zlib
from typing import Any

import av
import imagecodecs
import numpy as np
import simplejpeg
from made_dicom import ultrasound
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import ExplicitVRBigEndian

LUMA = np.array([0.299, 0.587, 0.114])


def luma(rgb: NDArray[Any]) -> NDArray[np.float64]:
    """ITU-R BT.601 by its definition."""
    return rgb.astype(np.float64) @ LUMA


def to_ybr(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """JFIF's YCbCr, rounded."""
    red, _, blue = np.moveaxis(rgb.astype(float), -1, 0)
    grey = luma(rgb)
    planes = [grey, 128 + (blue - grey) / 1.772, 128 + (red - grey) / 1.402]
    return np.clip(np.rint(np.stack(planes, axis=-1)), 0, 255).astype(np.uint8)


def wrapped(pixels: NDArray[Any], syntax: str, streams: list[bytes], **changes: Any) -> Dataset:
    """A dataset whose frames are these streams."""
    data = ultrasound(pixels, syntax)
    data.PixelData = encapsulate(streams)
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    for keyword, value in changes.items():
        setattr(data, keyword, value)
    return data


def native(pixels: NDArray[Any], syntax: str, **changes: Any) -> Dataset:
    big = syntax == ExplicitVRBigEndian
    data = ultrasound(pixels.astype(pixels.dtype.newbyteorder(">" if big else "<")), syntax)
    for keyword, value in changes.items():
        setattr(data, keyword, value)
    return data


def packed_422(rgb: NDArray[np.uint8], *, limited: bool = False) -> tuple[bytes, NDArray[Any]]:
    """Y1 Y2 Cb Cr for each pair, and the luma it holds."""
    ybr = to_ybr(rgb).astype(float)
    if limited:
        ybr = np.rint(
            (ybr - [0, 128, 128]) * [219 / 255, 224 / 255, 224 / 255] + [16, 128, 128]
        )
    quads = np.stack(
        [ybr[..., ::2, 0], ybr[..., 1::2, 0], ybr[..., ::2, 1], ybr[..., ::2, 2]], axis=-1
    )
    grey = (ybr[..., 0] - 16) * 255 / 219 if limited else ybr[..., 0]
    return quads.astype(np.uint8).tobytes(), grey


def palette(
    data: Dataset, table: NDArray[np.uint8], *, bits: int = 16, big: bool = False
) -> Dataset:
    """Give a dataset of indices a palette ``(entries, 3)``."""
    data.PhotometricInterpretation = "PALETTE COLOR"
    data.SamplesPerPixel = 1
    for channel, name in enumerate(("Red", "Green", "Blue")):
        values = table[:, channel]
        stored = values.astype(">u2" if big else "<u2") << 8 if bits == 16 else values
        if bits == 8 and big:  # bytes lie in words, and words are swapped
            stored = np.ascontiguousarray(values).view(">u2").astype("<u2")
        setattr(data, f"{name}PaletteColorLookupTableDescriptor", [len(table), 0, bits])
        setattr(data, f"{name}PaletteColorLookupTableData", stored.tobytes())
    return data


def rle(pixels: NDArray[Any]) -> list[bytes]:
    return [
        RLELosslessEncoder.encode(
            np.ascontiguousarray(frame),
            rows=frame.shape[0],
            columns=frame.shape[1],
            samples_per_pixel=3 if frame.ndim == 3 else 1,
            bits_allocated=8 * frame.itemsize,
            bits_stored=8 * frame.itemsize,
            pixel_representation=0,
            number_of_frames=1,
            planar_configuration=0,
            photometric_interpretation="RGB" if frame.ndim == 3 else "MONOCHROME2",
            encoding_plugin="pydicom",
        )
        for frame in pixels
    ]


def without_labels(stream: bytes) -> bytes:
    """Drop JFIF's and Adobe's segments: some scanners write neither."""
    position, kept = 2, [stream[:2]]
    while stream[position + 1] in (0xE0, 0xEE):
        position += 2 + int.from_bytes(stream[position + 2 : position + 4], "big")
    return b"".join((*kept, stream[position:]))


def jpeg(frame: NDArray[Any], **options: Any) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(frame), 95, **options))


def raw_jpeg(frame: NDArray[Any], **options: Any) -> bytes:
    """Three components that are left as they are, labelled so by Adobe's segment."""
    return jpeg(frame, colorspace="RGB", outcolorspace="RGB", subsampling="444", **options)


def ybr_jpeg(frame: NDArray[Any], subsampling: str) -> bytes:
    return simplejpeg.encode_jpeg(frame, 95, "RGB", subsampling)


def lossless_jpeg(frame: NDArray[Any], predictor: int = 1, bits: int = 8) -> bytes:
    stream = imagecodecs.jpeg8_encode(
        np.ascontiguousarray(frame), lossless=True, predictor=predictor, bitspersample=bits
    )
    return bytes(stream)


def jpeg_ls(frame: NDArray[Any], near: int = 0) -> bytes:
    return bytes(imagecodecs.jpegls_encode(np.ascontiguousarray(frame), near))


def jpeg_2000(frame: NDArray[Any], *, level: int = 0, mct: bool = True, bits: int = 8) -> bytes:
    stream = imagecodecs.jpeg2k_encode(
        frame, level, codecformat="j2k", reversible=level == 0, mct=mct, bitspersample=bits
    )
    return bytes(stream)


def htj2k(frame: NDArray[Any], *, reversible: bool = True) -> bytes:
    level = None if reversible else 0.002
    return bytes(imagecodecs.htj2k_encode(frame, level, reversible=reversible))


def jpeg_xl(frame: NDArray[Any], *, lossless: bool = True) -> bytes:
    if lossless:
        return bytes(imagecodecs.jpegxl_encode(frame, lossless=True))
    return bytes(imagecodecs.jpegxl_encode(frame, distance=0.5))


def rejpeg_xl(stream: bytes) -> bytes:
    """Recompress a JPEG, so that it can be given back bit by bit."""
    return bytes(imagecodecs.jpegxl_encode_jpeg(stream))


def deflate(frame: NDArray[Any]) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(frame.tobytes()) + packer.flush()


def video_stream(
    frames: NDArray[np.uint8], codec: str, container: str, pixel_format: str = "yuv420p"
) -> bytes:
    """Encode RGB or grey frames with little loss; luma in limited range."""
    options = {
        "mpeg2video": {"qscale": "1", "qmin": "1"},
        "libx264": {"crf": "4"},
        "libx265": {"x265-params": "crf=4:log-level=none"},
    }[codec]
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream = file.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixel_format
        for frame in frames:
            rgb = frame if frame.ndim == 3 else np.repeat(frame[..., None], 3, axis=-1)
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
            file.mux(stream.encode(picture))
        file.mux(stream.encode())
    return out.getvalue()


def through_jpeg(frames: NDArray[np.uint8], quality: int = 85) -> NDArray[np.uint8]:
    """Return grey frames as a lossy file would give them back."""
    out = np.empty_like(frames)
    for index, frame in enumerate(frames):
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=quality)
        out[index] = np.array(Image.open(buffer))
    return out
