"""Every element that a de-identified DICOM file may have, and what its values may look like.

The list is the whole policy: what is not on it is not written, and what does not look like this
fails the audit. It is narrower than the Basic Application Level Confidentiality Profile of
PS3.15 Annex E asks for, because nothing here is kept for being harmless as far as one knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydicom.datadict import keyword_for_tag
from pydicom.multival import MultiValue

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.3.1"
"""Ultrasound Multi-frame Image Storage."""
JPEG_LS_LOSSLESS = "1.2.840.10008.1.2.4.80"

VENDORS = {
    "philips": "Philips", "agilent": "Agilent", "hewlett": "Hewlett-Packard", "atl": "ATL",
    "ge": "GE", "vingmed": "GE Vingmed", "siemens": "Siemens", "acuson": "Acuson",
    "toshiba": "Toshiba", "canon": "Canon", "hitachi": "Hitachi", "aloka": "Aloka",
    "fujifilm": "Fujifilm", "sonosite": "SonoSite", "samsung": "Samsung",
    "medison": "Medison", "esaote": "Esaote", "mindray": "Mindray", "butterfly": "Butterfly",
    "terason": "Terason", "zonare": "Zonare", "medistim": "Medistim",
}  # fmt: skip
"""First word of Manufacturer, in lower case, and the word that is written instead."""
SCAN_ROUTES = ("TTE", "TEE", "EPICARDIAC", "INTRACARDIAC", "PEDIATRIC")
"""Third values of Image Type that are kept, PS3.3 C.8.5.6.1.1."""
METHODS = (
    "PS3.15 Basic Profile by allow-list",
    "Clean Pixel Data: black outside the sector",
    "Dates removed",
    "Dates moved by one secret shift a patient",
    "Pixels opened again and compared",
)
CODES = {
    "113100": "Basic Application Confidentiality Profile",
    "113101": "Clean Pixel Data Option",
    "113107": "Retain Longitudinal Temporal Information Modified Dates Option",
    "113108": "Retain Patient Characteristics Option",
}
"""De-identification methods of PS3.16 CID 7050."""
DERIVATION = (
    "De-identified: grey values of ITU-R BT.601; 0 outside the ultrasound sector, at least 1 "
    "inside; nothing else was changed."
)
LOSSY_METHODS = {
    "1.2.840.10008.1.2.4.50": "ISO_10918_1",
    "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
    "1.2.840.10008.1.2.4.91": "ISO_15444_1",
    "1.2.840.10008.1.2.4.93": "ISO_15444_2",
    "1.2.840.10008.1.2.4.100": "ISO_13818_2",
    "1.2.840.10008.1.2.4.100.1": "ISO_13818_2",
    "1.2.840.10008.1.2.4.101": "ISO_13818_2",
    "1.2.840.10008.1.2.4.101.1": "ISO_13818_2",
    "1.2.840.10008.1.2.4.102": "ISO_14496_10",
    "1.2.840.10008.1.2.4.102.1": "ISO_14496_10",
    "1.2.840.10008.1.2.4.103": "ISO_14496_10",
    "1.2.840.10008.1.2.4.103.1": "ISO_14496_10",
    "1.2.840.10008.1.2.4.104": "ISO_14496_10",
    "1.2.840.10008.1.2.4.104.1": "ISO_14496_10",
    "1.2.840.10008.1.2.4.105": "ISO_14496_10",
    "1.2.840.10008.1.2.4.105.1": "ISO_14496_10",
    "1.2.840.10008.1.2.4.106": "ISO_14496_10",
    "1.2.840.10008.1.2.4.106.1": "ISO_14496_10",
    "1.2.840.10008.1.2.4.107": "ISO_23008_2",
    "1.2.840.10008.1.2.4.108": "ISO_23008_2",
    "1.2.840.10008.1.2.4.111": "ISO_10918_1",
    "1.2.840.10008.1.2.4.112": "ISO_18181_1",
    "1.2.840.10008.1.2.4.203": "ISO_15444_15",
}
"""Transfer syntaxes that lose something, and the term for it of PS3.3 C.7.6.1.1.5.2."""


def _one_of(*words: str) -> str:
    return "|".join(re.escape(word) for word in words)


NUMBER = r"-?\d{1,8}(\.\d{1,20})?(e[+-]?\d{1,2})?"
_WHOLE = r"-?\d{1,5}"
_UID = r"2\.25\.\d{1,39}"
_PATIENT = r"p[0-9a-f]{16}"
_DATE = r"\d{8}"

FORMS: dict[str, str] = {
    # Patient, PS3.3 C.7.1.1
    "PatientName": _PATIENT,
    "PatientID": _PATIENT,
    "PatientBirthDate": "",
    "PatientSex": "[MFO]",
    "PatientAge": r"\d{3}[DWMY]",
    "PatientIdentityRemoved": "YES",
    "DeidentificationMethod": _one_of(*METHODS),
    "DeidentificationMethodCodeSequence": "",
    "CodeValue": _one_of(*CODES),
    "CodingSchemeDesignator": "DCM",
    "CodeMeaning": _one_of(*CODES.values()),
    "LongitudinalTemporalInformationModified": "MODIFIED|REMOVED",
    # Study, series, equipment, C.7.2.1, C.7.3.1, C.7.5.1
    "StudyInstanceUID": _UID,
    "StudyDate": _DATE,
    "StudyTime": "",
    "ReferringPhysicianName": "",
    "StudyID": "",
    "AccessionNumber": "",
    "Modality": "US",
    "SeriesInstanceUID": _UID,
    "SeriesNumber": r"\d{1,4}",
    "SeriesDate": _DATE,
    "FrameOfReferenceUID": _UID,
    "PositionReferenceIndicator": "",
    "Manufacturer": _one_of(*VENDORS.values()),
    "PixelPaddingValue": "0",
    # Image, C.7.6.1, C.7.6.3, C.8.5.6
    "InstanceNumber": r"\d{1,4}",
    "PatientOrientation": "",
    "ContentDate": _DATE,
    "ContentTime": "",
    "AcquisitionDate": _DATE,
    "ImageType": _one_of("DERIVED", "PRIMARY", "0001", *SCAN_ROUTES),
    "ImageComments": r"clip c[0-9a-f]{16}",
    "DerivationDescription": re.escape(DERIVATION),
    "BurnedInAnnotation": "NO",
    "LossyImageCompression": "00|01",
    "LossyImageCompressionRatio": NUMBER,
    "LossyImageCompressionMethod": _one_of(*set(LOSSY_METHODS.values())),
    "ReferencedImageSequence": "",
    "ReferencedSOPClassUID": r"1\.2\.840\.10008\.5\.1\.4\.1\.1(\.\d{1,4}){1,4}",
    "ReferencedSOPInstanceUID": _UID,
    "SamplesPerPixel": "1",
    "PhotometricInterpretation": "MONOCHROME2",
    "Rows": _WHOLE,
    "Columns": _WHOLE,
    "BitsAllocated": "8",
    "BitsStored": "8",
    "HighBit": "7",
    "PixelRepresentation": "0",
    "PixelSpacing": NUMBER,
    "PixelData": "",
    # Cine and multi-frame, C.7.6.5, C.7.6.6
    "NumberOfFrames": _WHOLE,
    "FrameIncrementPointer": r"\(0018,(1063|1065|2001)\)",
    "FrameTime": NUMBER,
    "FrameTimeVector": NUMBER,
    "PageNumberVector": _WHOLE,
    "CineRate": r"\d{1,4}",
    "RecommendedDisplayFrameRate": r"\d{1,4}",
    "HeartRate": r"\d{1,3}",
    "RWaveTimeVector": NUMBER,
    # Ultrasound regions, C.8.5.5
    "SequenceOfUltrasoundRegions": "",
    "RegionSpatialFormat": "1",
    "RegionDataType": "[12]",
    "RegionFlags": "0",
    "RegionLocationMinX0": _WHOLE,
    "RegionLocationMinY0": _WHOLE,
    "RegionLocationMaxX1": _WHOLE,
    "RegionLocationMaxY1": _WHOLE,
    "ReferencePixelX0": _WHOLE,
    "ReferencePixelY0": _WHOLE,
    "PhysicalUnitsXDirection": "[03]",
    "PhysicalUnitsYDirection": "[03]",
    "PhysicalDeltaX": NUMBER,
    "PhysicalDeltaY": NUMBER,
    "TransducerFrequency": r"\d{1,6}",
    # General
    "SOPClassUID": re.escape(SOP_CLASS),
    "SOPInstanceUID": _UID,
}
"""Keyword, and the pattern of each of its values; an empty value is always right."""
META_FORMS: dict[str, str] = {
    "FileMetaInformationGroupLength": r"\d{1,4}",
    "FileMetaInformationVersion": r"b'\\x00\\x01'",
    "MediaStorageSOPClassUID": re.escape(SOP_CLASS),
    "MediaStorageSOPInstanceUID": _UID,
    "TransferSyntaxUID": re.escape(JPEG_LS_LOSSLESS),
    "ImplementationClassUID": r"1\.2\.826\.0\.1\.3680043\.8\.498\.1",
    "ImplementationVersionName": r"PYDICOM [\d.a-z]{1,12}",
}
"""The same for the file meta information."""


def foreign_elements(dataset: Any, forms: dict[str, str] = FORMS) -> Iterator[str]:  # noqa: ANN401
    """Yield the keyword, or the tag, of each element that is not as the list says.

    Sequences are followed to any depth.

    Args:
        dataset: A pydicom data set.
        forms: ``FORMS`` or ``META_FORMS``.
    """
    for element in dataset:
        keyword = keyword_for_tag(element.tag)
        form = forms.get(keyword)
        if form is None or element.tag.is_private:
            yield keyword or "a private or unknown element"
        elif element.VR == "SQ":
            for item in element.value:
                yield from foreign_elements(item, forms)
        elif keyword != "PixelData" and not _fits(element.value, form):
            yield keyword


def _fits(value: Any, form: str) -> bool:  # noqa: ANN401
    if value is None:
        return True
    texts = (str(one) for one in (value if isinstance(value, MultiValue | list) else [value]))
    return all(not text or re.fullmatch(form, text, re.ASCII) for text in texts)
