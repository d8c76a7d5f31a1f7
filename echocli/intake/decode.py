"""Decodes the pixels of a DICOM file frame by frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import imagecodecs

from echocli.intake.decode_deflated import open_dicom
from echocli.intake.decode_fragments import Fragments
from echocli.intake.decode_jpeg import is_in_step, read_jpeg
from echocli.intake.decode_native import Layout, native_frames
from echocli.intake.decode_palette import colour_table
from echocli.intake.decode_samples import Developer, Samples
from echocli.intake.decode_streams import (
    read_deflated,
    read_jpeg_2000,
    read_jpeg_ls,
    read_jpeg_xl,
    read_rle,
    read_wrapped,
)
from echocli.intake.decode_video import decode_stream
from echocli.intake.dicom import NATIVE, Header
from echocli.intake.extent import pixel_extent
from echocli.intake.guard import check_size, foreign
from echocli.intake.loop import Region
from echocli.intake.pixels import Gatherer, Picture
from echocli.intake.reasons import Reason, Refused

ROOT = "1.2.840.10008.1.2"
JPEG = frozenset(f"{ROOT}.4.{number}" for number in (50, 51, 53, 55, 57, 70))
"""Baseline, extended, the retired spectral and full progression, lossless."""
RLE = f"{ROOT}.5"
JPEG_LS = [f"{ROOT}.4.{number}" for number in (80, 81)]
JPEG_2000 = [f"{ROOT}.4.{number}" for number in (90, 91, 201, 202, 203)]
JPEG_XL = [f"{ROOT}.4.{number}" for number in (110, 111, 112)]
READERS: dict[str, Callable[[bytes, Header], Samples]] = {
    f"{ROOT}.1.98": read_wrapped,
    f"{ROOT}.8.1": read_deflated,
    RLE: read_rle,
    **dict.fromkeys(JPEG_LS, read_jpeg_ls),
    **dict.fromkeys(JPEG_2000, read_jpeg_2000),
    **dict.fromkeys(JPEG_XL, read_jpeg_xl),
}
"""What decodes one frame of each other compression of single frames."""
NEEDED = {
    RLE: "PACKBITS",
    **dict.fromkeys(JPEG_LS, "JPEGLS"),
    **dict.fromkeys(JPEG_2000, "JPEG2K"),
    **dict.fromkeys(JPEG_XL, "JPEGXL"),
}
"""The codec that this takes, as imagecodecs calls it; a build may lack some."""
VIDEO = {
    **{f"{ROOT}.4.{number}": "mpeg2video" for number in (100, 101)},
    **{f"{ROOT}.4.{number}": "h264" for number in (102, 103, 104, 105, 106)},
    **{f"{ROOT}.4.{number}": "hevc" for number in (107, 108)},
}
"""FFmpeg's decoder of each compression of whole loops."""


def decode(path: Path, header: Header, region: Region | None) -> Gatherer:
    """Decode all frames of a DICOM file.

    Args:
        path: The file.
        header: What ``read_header`` found in it.
        region: Where colour Doppler is looked for.

    Raises:
        Refused: If a frame is missing, broken or of another size than declared.
    """
    syntax = header.transfer_syntax
    if not can_decode(syntax):
        raise Refused(Reason.NO_DECODER)
    check_size(header.frames, header.rows, header.columns)
    with foreign(Reason.UNREADABLE):
        file = open_dicom(path)
    with file:
        if not header.is_compressed:
            gathered = Gatherer(header.frames, header.rows, header.columns, region)
            developer = Developer(header)
            for samples in native_frames(file, header):
                gathered.add(developer.picture(samples, gathered.next_colour))
            return gathered
        extent = pixel_extent(file, header)
        fragments = Fragments(file.fileno(), extent, path.stat().st_size)
        if syntax in VIDEO:
            gathered = Gatherer(header.frames, header.rows, header.columns, region)
            decode_stream(fragments, header, gathered)
        else:
            gathered = _decode_frames(fragments, header, region)
            if fragments.contradicts_table(header.frames):
                gathered.notes += ("offset_table_wrong",)
    if gathered.count < header.frames:
        raise Refused(Reason.TRUNCATED, f"{gathered.count} of {header.frames} frames are there")
    return gathered


def _decode_frames(fragments: Fragments, header: Header, region: Region | None) -> Gatherer:
    frames = fragments.frames(header)  # before anything of the declared size is allocated
    gathered = Gatherer(header.frames, header.rows, header.columns, region)
    developer = Developer(header)
    in_step: list[bool] = []
    for number, parts in enumerate(frames, start=1):
        frame = fragments.join(parts)
        try:
            gathered.add(_picture(frame, header, developer, gathered))
        except Refused as refused:
            detail = f"frame {number} of {header.frames}: {refused.detail}"
            raise Refused(refused.reason, detail) from None
        if header.transfer_syntax in JPEG:
            in_step.append(is_in_step(frame))
    if any(in_step) and not all(in_step):
        gathered.notes = ("damaged_frame",)
    return gathered


def _picture(frame: bytes, header: Header, developer: Developer, gathered: Gatherer) -> Picture:
    if header.transfer_syntax in JPEG:
        found = read_jpeg(frame, header, gathered.next_grey, gathered.next_colour)
        if isinstance(found, Picture):
            return found
    else:
        found = READERS[header.transfer_syntax](frame, header)
    return developer.picture(found, gathered.next_colour)


def check_layout(header: Header) -> None:
    """Check, without looking at pixels, that what they mean is known.

    Raises:
        Refused: If they are stored in an unknown way, or their palette is broken.
    """
    if not header.is_compressed:
        Layout(header)
    tells_itself = header.transfer_syntax in JPEG or header.transfer_syntax in VIDEO
    if header.photometric == "PALETTE COLOR" and header.samples == 1 and not tells_itself:
        colour_table(header)


def can_decode(syntax: str) -> bool:
    """Return whether this machine can decode a transfer syntax."""
    known = syntax in NATIVE or syntax in JPEG or syntax in READERS or syntax in VIDEO
    return known and not missing_decoder(syntax)


def missing_decoder(syntax: str) -> str:
    """Return the package to install so that a transfer syntax can be decoded.

    It is empty if nothing is missing, or if no package can help.
    """
    if syntax in VIDEO:
        return "" if VIDEO[syntax] in av.codecs_available else "av"
    codec = NEEDED.get(syntax)
    return "" if codec is None or getattr(imagecodecs, codec).available else "imagecodecs"
