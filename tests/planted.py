"""A hospital folder with a token of its own in every place where a file can hide a name."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import nibabel
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset
from pydicom.datadict import DicomDictionary, keyword_for_tag
from pydicom.dataset import FileDataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from echocli.phantoms.dicom import DicomOptions, header, scan_regions, set_pixels, set_timing
from echocli.phantoms.patient import PhantomConfig, draw_patient, identifiers
from echocli.phantoms.screen import draw_screen

TEXT_VRS = ("LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "AE", "CS")
BYTE_VRS = ("OB", "OD", "OF", "OL", "OV", "OW", "UN")
BINARY_VRS = {
    "FD": "<d", "FL": "<2f", "SL": "<2i", "UL": "<2I", "SS": "<4h", "US": "<4H", "SV": "<q",
    "UV": "<Q", "AT": "<4H",
}  # fmt: skip
"""Numbers of eight bytes together, which spell a token."""
QUIET_GROUPS = (0x0014, 0x0040, 0x0054, 0x0072, 0x300A, 0x0018, 0x0022)
"""Groups of elements that no reader of pictures looks at."""
TAKEN = {"ContrastBolusAgent", "FrameTime", "FrameTimeVector", "CineRate", "HeartRate"}
BURNED = ("QUILLONIUS", "ZEPHYRINE")
"""Burned in outside the sector, and over it."""


@dataclass
class Hospital:
    """A folder, and everything in it that must not come out."""

    root: Path
    folder: Path
    burned: Path = field(default=Path(), init=False)
    """The DICOM file with a text over the sector, too."""
    tokens: dict[str, str] = field(default_factory=dict)
    """Where it was planted, and what."""

    def token(self, where: str) -> str:
        """Invent a word of eight letters and digits for one place."""
        digits = hashlib.sha256(f"planted {where}".encode()).hexdigest()
        letters = digits.translate(str.maketrans("0123456789abcdef", "qxzjkvwpqxzjQXZJ"))
        return self.note(where, f"{letters[:5]}{int(digits[:8], 16) % 1000:03d}")

    def digits(self, where: str, length: int) -> str:
        """Invent a number for one place."""
        number = int(hashlib.sha256(f"number {where}".encode()).hexdigest(), 16)
        return self.note(where, str(number)[:length])

    def note(self, where: str, text: str) -> str:
        """Remember what was planted where."""
        self.tokens[where] = text
        return text

    def planted(self) -> list[str]:
        """Return all that must not be found."""
        return sorted({*self.tokens.values(), *BURNED})


def build_hospital(root: Path) -> Hospital:
    """Write a folder of DICOM, video and volume files, and a table of labels."""
    hospital = Hospital(root, root)
    hospital.folder = root / f"{hospital.token('folder')} {hospital.token('subfolder')}"
    hospital.folder.mkdir(parents=True)
    with pydicom.config.disable_value_validation():  # hospitals write what they like
        for kind in ("native", "jpeg", "burned"):
            _write_dicom(hospital, kind)
    _write_video(hospital)
    _write_nifti(hospital)
    _write_mhd(hospital)
    _write_labels(hospital)
    return hospital


def _write_dicom(hospital: Hospital, kind: str) -> None:
    number = ("native", "jpeg", "burned").index(kind)
    patient = draw_patient(23, number, PhantomConfig(seconds=(0.45, 0.45)))
    for index, text in enumerate(identifiers(patient)):
        hospital.note(f"{kind} identity {index}", text)
    screen = draw_screen(patient, height=180, width=240)
    burn(screen.frames, (4, 152), BURNED[0])
    if kind == "burned":
        burn(screen.frames, (70, 80), BURNED[1])
    options = DicomOptions(coding="jpeg" if kind == "jpeg" else "rgb")
    ds = header(patient, 1, "1.2.840.10008.5.1.4.1.1.3.1")
    ds.SequenceOfUltrasoundRegions = scan_regions(screen, options)
    set_timing(ds, screen.loop.times_s, options)
    set_pixels(ds, screen.frames, options)
    plant(ds, hospital, kind)
    name = f"{hospital.token(kind + ' file')}_{hospital.digits(kind + ' file', 9)}.dcm"
    path = hospital.folder / name
    hospital.burned = path  # the last
    ds.save_as(path, enforce_file_format=True)
    _plant_around(path, hospital, kind)


def burn(frames: NDArray[np.uint8], place: tuple[int, int], text: str) -> None:
    """Draw a text into all frames, large enough for an OCR engine."""
    height, width = frames.shape[1:3]
    image = Image.new("L", (width, height))
    ImageDraw.Draw(image).text(place, text, 255, ImageFont.load_default(22))
    drawn = np.asarray(image)[None, :, :, None]
    np.maximum(frames, drawn, out=frames)


def plant(ds: FileDataset, hospital: Hospital, kind: str) -> None:
    """Put a token into every VR, private element, sequence, overlay, icon and curve."""

    def token(where: str) -> str:
        return hospital.token(f"{kind} {where}")

    _plant_every_vr(ds, token, "top", hospital, kind)
    _plant_private(ds, token, "top")
    _plant_kept_elements(ds, token, hospital, kind)
    for group in (0x6000, 0x6002):
        where = f"overlay {group:x}"
        block = {0x10: ("US", 8), 0x11: ("US", 8), 0x40: ("CS", "G"), 0x50: ("SS", [1, 1])}
        block |= {0x100: ("US", 1), 0x102: ("US", 0), 0x22: ("LO", token(f"{where} text"))}
        block |= {
            0x1500: ("LO", token(f"{where} label")),
            0x4000: ("LT", token(f"{where} note")),
        }
        block[0x3000] = ("OW", token(f"{where} bits").encode())
        for element, (vr, value) in block.items():
            ds.add_new(Tag(group, element), vr, value)
    ds.add_new(0x50000022, "LO", token("curve"))
    ds.add_new(0x50003000, "OW", token("curve data").encode())
    icon = Dataset()
    icon.Rows, icon.Columns, icon.BitsAllocated = 2, 4, 8
    icon.add_new("PixelData", "OB", token("icon").encode())
    ds.IconImageSequence = Sequence([icon])
    ds.EncapsulatedDocument = token("document").encode()
    ds.DocumentTitle = token("document title")
    ds.add_new(0xFFFCFFFC, "OB", token("padding element").encode() * 3)
    deepest = ds
    for depth in range(1, 6):
        item = Dataset()
        _plant_every_vr(item, token, f"depth {depth}", hospital, kind)
        _plant_private(item, token, f"depth {depth}")
        deepest.RequestAttributesSequence = Sequence([item])
        deepest = item


def _plant_every_vr(ds: Dataset, token: Any, where: str, hospital: Hospital, kind: str) -> None:
    for vr in TEXT_VRS:
        ds.add_new(_tag_of(vr), vr, token(f"{where} {vr}"))
    for vr in BYTE_VRS:
        ds.add_new(
            _tag_of(vr) if vr != "UN" else 0x00142001, vr, token(f"{where} {vr}").encode()
        )
    for vr, layout in BINARY_VRS.items():
        raw = token(f"{where} {vr}").encode()
        values = struct.unpack(layout, raw)
        if vr == "AT":
            values = tuple(a << 16 | b for a, b in zip(values[::2], values[1::2], strict=True))
        ds.add_new(_tag_of(vr), vr, list(values) if len(values) > 1 else values[0])
    number = f"{kind} {where}"
    day = hospital.digits(f"{number} day", 2)
    ds.add_new(_tag_of("DA"), "DA", hospital.note(f"{number} DA", f"1937{day[0]:0>2}1{day[1]}"))
    ds.add_new(_tag_of("DT"), "DT", hospital.note(f"{number} DT", f"193711{day[0]:0>2}11{day}"))
    ds.add_new(_tag_of("IS"), "IS", hospital.digits(f"{number} IS", 9))
    ds.add_new(_tag_of("DS"), "DS", hospital.digits(f"{number} DS", 11))
    ds.add_new(_tag_of("UI"), "UI", f"1.2.3.{hospital.digits(f'{number} UI', 14)}")


def _tag_of(vr: str) -> int:
    """Return an element of a VR that nobody reads, the same each time."""
    return next(
        tag
        for group in QUIET_GROUPS
        for tag, entry in DicomDictionary.items()
        if tag >> 16 == group and entry[0] == vr and keyword_for_tag(tag) not in TAKEN
    )


def _plant_private(ds: Dataset, token: Any, where: str) -> None:
    block = ds.private_block(0x0029, token(f"{where} creator"), create=True)
    for offset, vr in enumerate((*TEXT_VRS, *BYTE_VRS)):
        value = token(f"{where} private {vr}")
        block.add_new(offset, vr, value if vr in TEXT_VRS else value.encode())
    inside = Dataset()
    inside.PatientComments = token(f"{where} private sequence")
    block.add_new(0x40, "SQ", Sequence([inside]))


def _plant_kept_elements(ds: Dataset, token: Any, hospital: Hospital, kind: str) -> None:
    """Put tokens where a copy takes something over, which are the likeliest to leak."""
    ds.Manufacturer = f"Philips {token('maker')}"
    ds.PatientSex = token("sex")
    ds.PatientAge = "097Y"
    ds.ImageType = ["ORIGINAL", token("type 2").upper(), token("type 3").upper(), "0001"]
    ds.SeriesNumber = hospital.digits(f"{kind} series", 7)
    ds.InstanceNumber = hospital.digits(f"{kind} instance", 7)
    ds.HeartRate = hospital.digits(f"{kind} heart", 7)
    ds.LossyImageCompression = "01"
    ds.LossyImageCompressionMethod = token("method").upper()
    ds.FrameOfReferenceUID = f"1.2.3.{hospital.digits(f'{kind} frame of reference', 14)}"
    reference = Dataset()
    reference.ReferencedSOPClassUID = f"1.2.3.{hospital.digits(f'{kind} class', 14)}"
    reference.ReferencedSOPInstanceUID = f"1.2.3.{hospital.digits(f'{kind} instance uid', 14)}"
    reference.PurposeOfReferenceCodeSequence = Sequence([Dataset()])
    reference.PurposeOfReferenceCodeSequence[0].CodeMeaning = token("purpose")
    ds.ReferencedImageSequence = Sequence([reference])
    for region in ds.SequenceOfUltrasoundRegions:
        region.PixelComponentOrganization = 0
        region.add_new(0x00104000, "LT", token("region"))
        _plant_private(region, token, "region")
    meta = ds.file_meta
    meta.ImplementationVersionName = token("version")
    meta.SourceApplicationEntityTitle = token("source ae")
    meta.SendingApplicationEntityTitle = token("sending ae")
    meta.PrivateInformationCreatorUID = f"1.2.3.{hospital.digits(f'{kind} creator', 14)}"
    meta.PrivateInformation = token("private information").encode()


def _plant_around(path: Path, hospital: Hospital, kind: str) -> None:
    content = bytearray(path.read_bytes())
    content[:128] = (hospital.token(f"{kind} preamble").encode() * 16)[:128]
    content += hospital.token(f"{kind} tail").encode() * 2 if kind == "native" else b""
    path.write_bytes(content)


def _write_video(hospital: Hospital) -> None:
    frames = draw_screen(
        draw_patient(23, 7, PhantomConfig(seconds=(0.45, 0.45))), height=180, width=240
    ).frames
    path = hospital.folder / f"{hospital.token('video file')}.mp4"
    with av.open(str(path), "w") as container:
        for key in ("title", "comment", "artist", "description"):
            container.metadata[key] = hospital.token(f"video {key}")
        stream = container.add_stream("mpeg4", rate=Fraction(25))
        stream.width, stream.height, stream.bit_rate = (
            frames.shape[2],
            frames.shape[1],
            4_000_000,
        )
        stream.metadata["handler_name"] = hospital.token("video stream")
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())


def _scan() -> NDArray[np.uint8]:
    """Return a bare scan, ``(frames, height, width)``."""
    loop = draw_screen(
        draw_patient(23, 8, PhantomConfig(seconds=(0.35, 0.35))),
        height=120,
        width=160,
        ecg="none",
    ).loop
    return (loop.frames * loop.sector).astype(np.uint8)


def _write_nifti(hospital: Hospital) -> None:
    volume = np.ascontiguousarray(_scan().transpose(2, 1, 0))
    image = nibabel.Nifti1Image(volume, np.diag([0.5, 0.5, 1.0, 1.0]))
    image.header["descrip"] = hospital.token("nifti descrip").encode()
    image.header["aux_file"] = hospital.token("nifti aux").encode()
    image.header["intent_name"] = hospital.token("nifti intent").encode()
    image.header["db_name"] = hospital.token("nifti db").encode()
    note = nibabel.nifti1.Nifti1Extension(6, hospital.token("nifti extension").encode())
    image.header.extensions.append(note)
    nibabel.save(image, hospital.folder / f"{hospital.token('nifti file')}.nii.gz")


def _write_mhd(hospital: Hospital) -> None:
    scan = _scan()
    stem = hospital.token("mhd file")
    lines = [
        "ObjectType = Image",
        "NDims = 3",
        f"Comment = {hospital.token('mhd comment')}",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "CompressedData = False",
        f"DimSize = {scan.shape[2]} {scan.shape[1]} {scan.shape[0]}",
        "ElementSpacing = 0.5 0.5 1",
        "ElementType = MET_UCHAR",
        f"ElementDataFile = {stem}.raw",
    ]
    (hospital.folder / f"{stem}.mhd").write_text("\n".join(lines) + "\n")
    (hospital.folder / f"{stem}.raw").write_bytes(scan.tobytes())


def _write_labels(hospital: Hospital) -> None:
    files = sorted(path.name for path in hospital.folder.glob("*.dcm"))
    rows = [f"file,ef_percent,view,{hospital.token('label column')},surname"]
    for index, name in enumerate(files):
        free = hospital.token(f"label {index}")
        rows.append(f"{name},{50 + index},A4C,{free},{hospital.token(f'surname {index}')}")
    (hospital.root / "labels.csv").write_text("\n".join(rows) + "\n")
