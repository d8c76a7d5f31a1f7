"""Write phantom loops as multi-frame ultrasound DICOM files, with all a hospital puts in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless

from echocli.files import atomic_path
from echocli.phantoms.ecg import Box
from echocli.phantoms.patient import Patient
from echocli.phantoms.screen import Screen

ULTRASOUND_MULTIFRAME = "1.2.840.10008.5.1.4.1.1.3.1"
ULTRASOUND_IMAGE = "1.2.840.10008.5.1.4.1.1.6.1"
NONE, CENTIMETRES, SECONDS = 0, 3, 4
IMAGE_2D, M_MODE, SPECTRAL, WAVE_FORM = 1, 2, 3, 4
TISSUE, COLOUR_FLOW, PW, ECG = 1, 2, 3, 0xA

Coding = Literal["jpeg", "rle", "rgb", "grey"]


@dataclass(frozen=True, kw_only=True)
class DicomOptions:
    """Which of the shapes that are met in hospitals a file takes."""

    coding: Coding = "jpeg"
    """JPEG baseline YBR_FULL_422, RLE of RGB, native RGB, or native MONOCHROME2."""
    offset_table: bool = True
    """Whether the encapsulated frames' offsets are told."""
    time_vector: bool = False
    """Tell the time of each frame (FrameTimeVector) instead of one FrameTime."""
    box_first: bool = False
    """Put a region without data before the scan's, as some scanners do."""
    quality: int = 92


def header(patient: Patient, number: int, sop_class: str) -> FileDataset:
    """Return a file without pixels, full of identifiers."""
    who = patient.identity
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = f"{who.instance_uid}.{number}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "", "0001"]
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, f"{who.instance_uid}.{number}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = who.study_uid, who.series_uid
    ds.FrameOfReferenceUID = f"{who.series_uid}.9"
    for word in ("StudyDate", "SeriesDate", "ContentDate", "AcquisitionDate"):
        setattr(ds, word, who.study_date)
    for word in ("StudyTime", "SeriesTime", "ContentTime", "AcquisitionTime"):
        setattr(ds, word, who.study_time)
    ds.AcquisitionDateTime = who.study_date + who.study_time
    ds.AccessionNumber, ds.StudyID = who.accession, who.accession[-8:]
    ds.Modality, ds.Manufacturer = "US", "Phantom Imaging"
    ds.ManufacturerModelName, ds.SoftwareVersions = "Sector One", "1.0"
    ds.InstitutionName, ds.InstitutionAddress = who.institution, f"1 {who.institution} Road"
    ds.InstitutionalDepartmentName = "Echo Laboratory"
    ds.ReferringPhysicianName = ds.PerformingPhysicianName = who.physician
    ds.NameOfPhysiciansReadingStudy, ds.OperatorsName = who.physician, who.operator
    ds.StationName, ds.DeviceSerialNumber = who.station, who.serial
    ds.StudyDescription = f"Echo of {who.given} {who.family}"
    ds.SeriesDescription = f"Apical, room {who.station}"
    ds.ProtocolName = "Adult heart"
    ds.PatientName, ds.PatientID = who.name, who.patient_id
    ds.IssuerOfPatientID, ds.OtherPatientNames = who.institution, f"{who.family}^Old"
    ds.PatientBirthDate, ds.PatientSex = who.birth_date, patient.sex
    ds.PatientAge, ds.PatientComments = f"{patient.age_years:03d}Y", f"Call {who.given} back"
    ds.SeriesNumber, ds.InstanceNumber, ds.PatientOrientation = 1, number, ""
    request = Dataset()
    request.RequestedProcedureID, request.ScheduledProcedureStepID = who.accession, "1"
    request.RequestingPhysician = who.physician
    ds.RequestAttributesSequence = Sequence([request])
    private = ds.private_block(0x0029, "PHANTOM SCANNER 1.0", create=True)
    private.add_new(0x01, "LO", f"{who.family} {who.given}")
    private.add_new(0x02, "LO", who.patient_id)
    private.add_new(0x03, "OB", f"{who.name} {who.birth_date} {who.serial} ".encode("ascii"))
    private.add_new(0x04, "UN", who.accession.encode("ascii") + b" ")
    return ds


def region(
    box: Box,
    spatial_format: int,
    data_type: int,
    units: tuple[int, int] = (NONE, NONE),
    deltas: tuple[float, float] = (1.0, 1.0),
    reference: tuple[int, int] = (0, 0),
) -> Dataset:
    """Return an ultrasound region; units, deltas and reference are given as (x, y).

    Source:
        DICOM PS3.3 C.8.5.5, US Region Calibration Module.
    """
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType = spatial_format, data_type
    item.RegionFlags = 2
    item.RegionLocationMinX0, item.RegionLocationMinY0 = box.x0, box.y0
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = box.x1, box.y1
    item.PhysicalUnitsXDirection, item.PhysicalUnitsYDirection = units
    item.PhysicalDeltaX, item.PhysicalDeltaY = deltas
    item.ReferencePixelX0, item.ReferencePixelY0 = reference
    item.ReferencePixelPhysicalValueX = item.ReferencePixelPhysicalValueY = 0.0
    return item


def scan_regions(screen: Screen, options: DicomOptions, data_type: int = TISSUE) -> Sequence:
    """Return the regions of a screen: the scan in centimetres, and the ECG strip."""
    row_mm, column_mm = screen.loop.spacing_mm
    middle = ((screen.scan.x1 - screen.scan.x0) // 2, 2)
    deltas = (column_mm / 10, row_mm / 10)
    units = (CENTIMETRES, CENTIMETRES)
    items = [region(screen.scan, IMAGE_2D, data_type, units, deltas, middle)]
    if screen.trace_seconds:
        step = screen.trace_seconds / (screen.trace.x1 - screen.trace.x0)
        items.append(region(screen.trace, WAVE_FORM, ECG, (SECONDS, NONE), (step, 1.0)))
    if options.box_first:
        height, width = screen.frames.shape[1:3]
        items.insert(0, region(Box(x0=0, y0=0, x1=width - 1, y1=height - 1), NONE, NONE))
    return Sequence(items)


def set_timing(ds: Dataset, times_s: NDArray[np.float64], options: DicomOptions) -> None:
    """Tell when each frame was taken, and the playback rate that scanners add."""
    steps_ms = np.diff(times_s, prepend=times_s[0]) * 1000
    if options.time_vector:
        ds.FrameTimeVector = [f"{step:.6f}" for step in steps_ms]
        ds.FrameIncrementPointer = 0x00181065
    else:
        ds.FrameTime = f"{steps_ms[1:].mean():.6f}"
        ds.FrameIncrementPointer = 0x00181063
    ds.CineRate = ds.RecommendedDisplayFrameRate = round(1000 / steps_ms[1:].mean())


def set_pixels(ds: FileDataset, frames: NDArray[np.uint8], options: DicomOptions) -> None:
    """Put RGB frames ``(frames, height, width, 3)`` into the file."""
    count, ds.Rows, ds.Columns = frames.shape[:3]
    if count > 1:
        ds.NumberOfFrames = count
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    if options.coding == "grey":
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        luma = frames @ np.array([0.299, 0.587, 0.114])
        ds.PixelData = _even(np.round(luma).astype(np.uint8).tobytes())
        return
    ds.SamplesPerPixel, ds.PlanarConfiguration = 3, 0
    if options.coding == "jpeg":
        ds.PhotometricInterpretation = "YBR_FULL_422"
        ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        ds.LossyImageCompression, ds.LossyImageCompressionMethod = "01", "ISO_10918_1"
        parts = [
            simplejpeg.encode_jpeg(
                np.ascontiguousarray(frame), options.quality, colorsubsampling="422"
            )
            for frame in frames
        ]
        ds.PixelData = encapsulate(parts, has_bot=options.offset_table)
        ds["PixelData"].VR = "OB"
        return
    ds.PhotometricInterpretation = "RGB"
    ds.PixelData = _even(frames.tobytes())
    if options.coding == "rle":
        ds.compress(RLELossless, generate_instance_uid=False)
        if not options.offset_table:
            ds.PixelData = encapsulate(_fragments(ds), has_bot=False)


def write_loop(
    path: Path, patient: Patient, screen: Screen, options: DicomOptions, number: int = 1
) -> None:
    """Write one loop as a file.

    Args:
        path: The file.
        patient: Whose identifiers it carries.
        screen: What the scanner shows.
        options: Which coding and header.
        number: Instance number in the examination.
    """
    ds = header(patient, number, ULTRASOUND_MULTIFRAME)
    ds.HeartRate = round(patient.rhythm.rate_bpm)
    ds.SequenceOfUltrasoundRegions = scan_regions(screen, options)
    ds.UltrasoundColorDataPresent = 0
    ds.NumberOfStages = ds.StageNumber = ds.NumberOfViewsInStage = ds.ViewNumber = 1
    set_timing(ds, screen.loop.times_s, options)
    set_pixels(ds, screen.frames, options)
    save(ds, path)


def save(ds: FileDataset, path: Path) -> None:
    """Write the file, whole or not at all."""
    with atomic_path(path) as temporary:
        ds.save_as(temporary, enforce_file_format=True)


def _even(data: bytes) -> bytes:
    return data + b"\0" * (len(data) % 2)


def _fragments(ds: FileDataset) -> list[bytes]:
    from pydicom.encaps import generate_frames

    return list(generate_frames(ds.PixelData, number_of_frames=int(ds.NumberOfFrames)))
