"""Ultrasound DICOM files made for a test."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from pydicom import Dataset, FileMetaDataset, dcmwrite
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.3.1"
MakeDicom = Callable[..., Path]


def moving_scan(frames: int = 10, rows: int = 48, columns: int = 64) -> NDArray[np.uint8]:
    """Grey bars that wander, on a smooth background, so that JPEG keeps them well."""
    x = np.arange(columns)[None, None, :]
    y = np.arange(rows)[None, :, None]
    t = np.arange(frames)[:, None, None]
    wave = 90 * np.sin(x / 5 + t) * np.cos(y / 7) + 110
    return wave.clip(0, 255).astype(np.uint8)


def write_dicom(data: Dataset, to: Path | BinaryIO) -> None:
    """Write a dataset as a file, even in a transfer syntax that pydicom does not know."""
    if UID(data.file_meta.TransferSyntaxUID).is_transfer_syntax:
        data.save_as(to, enforce_file_format=True)
    else:
        data.preamble = b"\0" * 128
        dcmwrite(to, data, implicit_vr=False, little_endian=True, force_encoding=True)


def region(**changes: Any) -> Dataset:
    item = Dataset()
    item.RegionSpatialFormat = 1
    item.RegionDataType = 1
    item.RegionFlags = 0
    item.RegionLocationMinX0 = 4
    item.RegionLocationMinY0 = 2
    item.RegionLocationMaxX1 = 59
    item.RegionLocationMaxY1 = 45
    item.PhysicalUnitsXDirection = 3
    item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaX = 0.2
    item.PhysicalDeltaY = 0.25
    for keyword, value in changes.items():
        setattr(item, keyword, value)
    return item


def ultrasound(pixels: NDArray[Any], syntax: str = ExplicitVRLittleEndian) -> Dataset:
    """A multi-frame dataset of ``(frames, rows, columns[, 3])`` with native pixels."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = MULTI_FRAME
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = Dataset()
    data.file_meta = meta
    data.SOPClassUID = MULTI_FRAME
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    data.Modality = "US"
    data.PatientID = "INVENTED-7"
    data.PatientName = "Invented^Person"
    data.StudyInstanceUID = "1.2.3.4"
    data.NumberOfFrames = pixels.shape[0]
    data.Rows, data.Columns = pixels.shape[1:3]
    colour = pixels.ndim == 4
    data.SamplesPerPixel = 3 if colour else 1
    data.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        data.PlanarConfiguration = 0
    bits = pixels.dtype.itemsize * 8
    data.BitsAllocated = data.BitsStored = bits
    data.HighBit = bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.FrameTime = "25.0"
    data.SequenceOfUltrasoundRegions = Sequence([region()])
    data.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    data["PixelData"].VR = "OB" if bits == 8 else "OW"
    return data


def jpeg_frames(pixels: NDArray[np.uint8]) -> list[bytes]:
    colour = pixels.ndim == 4
    return [
        simplejpeg.encode_jpeg(
            np.ascontiguousarray(frame if colour else frame[..., None]),
            quality=95,
            colorspace="RGB" if colour else "GRAY",
            colorsubsampling="422" if colour else "Gray",
        )
        for frame in pixels
    ]


def jpeg_ultrasound(pixels: NDArray[np.uint8], *, fragments: int = 1) -> Dataset:
    """The same as JPEG baseline, with an empty offset table if in several fragments."""
    data = ultrasound(pixels, JPEGBaseline8Bit)
    if pixels.ndim == 4:
        data.PhotometricInterpretation = "YBR_FULL_422"
    encoded = jpeg_frames(pixels)
    data.PixelData = encapsulate(encoded, fragments_per_frame=fragments, has_bot=fragments == 1)
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    return data
