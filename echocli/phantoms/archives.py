"""Write phantom patients as the public data sets EchoNet-Dynamic and CAMUS lay out theirs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import nibabel
import numpy as np
from numpy.typing import NDArray

from echocli.files import atomic_path, write_text
from echocli.phantoms.anatomy import View
from echocli.phantoms.layouts import split_of, table
from echocli.phantoms.patient import Patient, PhantomLoop, render
from echocli.phantoms.tracing import chords

ECHONET_FILES = [
    *("FileName", "EF", "ESV", "EDV", "FrameHeight", "FrameWidth"),
    *("FPS", "NumberOfFrames", "Split"),
]
ECHONET_TRACINGS = ["FileName", "X1", "Y1", "X2", "Y2", "Frame"]
CAMUS_VIEWS: dict[str, View] = {"2CH": "A2C", "4CH": "A4C"}
CAMUS_SPLITS = {"train": "training", "val": "validation", "test": "testing"}


def write_echonet_dynamic(folder: Path, patients: Iterable[Patient]) -> list[Path]:
    """Write 112 x 112 videos, ``FileList.csv`` and ``VolumeTracings.csv``.

    Returns:
        The videos, in the patients' order.
    """
    files, tracings = [], []
    videos = []
    for patient in patients:
        loop = render(patient, view="A4C", height=112, width=112, every_mask=False)
        key = f"echonet {patient.seed} {patient.index}"
        name = f"0X{hashlib.sha256(key.encode()).hexdigest()[:16].upper()}"
        rate = Fraction(1.0 / float(loop.times_s[1])).limit_denominator(1000)
        videos.append(folder / "Videos" / f"{name}.avi")
        write_video(videos[-1], loop.frames, rate)
        facts: list[object] = [name, loop.ef_percent, loop.esv_ml, loop.edv_ml, 112, 112]
        files.append([*facts, float(rate), len(loop.frames), split_of(patient.index).upper()])
        for frame in sorted((loop.ed_frame, loop.es_frame)):
            for row in chords(patient, loop, frame):
                tracings.append([f"{name}.avi", *(round(float(v), 4) for v in row), frame])
    write_text(folder / "FileList.csv", table(ECHONET_FILES, files))
    write_text(folder / "VolumeTracings.csv", table(ECHONET_TRACINGS, tracings))
    return videos


def write_video(path: Path, frames: NDArray[np.uint8], rate: Fraction) -> None:
    """Write grey frames as a Motion-JPEG AVI of full-range YUV."""
    with atomic_path(path) as temporary, av.open(str(temporary), "w", format="avi") as file:
        stream = file.add_stream("mjpeg", rate=rate)
        stream.height, stream.width = frames.shape[1:]
        stream.pix_fmt = "yuvj420p"
        stream.codec_context.qmin, stream.codec_context.qmax = 2, 3
        stream.bit_rate = 30_000_000
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="gray")
            file.mux(stream.encode(picture.reformat(format="yuvj420p")))
        file.mux(stream.encode(None))


def write_camus(
    folder: Path, patients: Iterable[Patient], *, height: int = 192, width: int = 160
) -> list[Path]:
    """Write both views of each patient as half sequences, with masks, facts and the split.

    Columns are twice as wide as rows are high; every third patient runs from ES to ED.

    Args:
        folder: Gets ``database_nifti`` and ``database_split``.
        patients: Who.
        height: Rows of each picture.
        width: Columns of each picture before neighbours are joined; even.

    Returns:
        The patients' folders.
    """
    folders = []
    parts: dict[str, list[str]] = {name: [] for name in CAMUS_SPLITS.values()}
    for number, patient in enumerate(patients, 1):
        name = f"patient{number:04d}"
        folders.append(folder / "database_nifti" / name)
        parts[CAMUS_SPLITS[split_of(patient.index)]].append(name)
        steady = replace(
            patient,
            rhythm=replace(patient.rhythm, start=0.97),
            scanner=replace(
                patient.scanner,
                seconds=45.0 / patient.rhythm.rate_bpm,
                frame_rate_hz=max(45.0, patient.scanner.frame_rate_hz),
            ),
        )
        for view in CAMUS_VIEWS:
            loop = render(steady, view=CAMUS_VIEWS[view], height=height, width=width)
            _write_camus_view(folders[-1], patient, loop, view, backwards=number % 3 == 0)
    for part, names in parts.items():
        write_text(folder / "database_split" / f"subgroup_{part}.txt", "\n".join(names) + "\n")
    return folders


def _write_camus_view(
    folder: Path, patient: Patient, loop: PhantomLoop, view: str, *, backwards: bool
) -> None:
    """Write one view's sequence from ED to ES, or backwards, its truth and its facts."""
    es = loop.es_frame
    ed = int(loop.volumes_ml[: es + 1].argmax())
    order = slice(es, ed - 1 if ed else None, -1) if backwards else slice(ed, es + 1)
    frames, masks = loop.frames[order], loop.masks[order]
    joined = np.round(frames.reshape(*frames.shape[:2], -1, 2).mean(-1)).astype(np.uint8)
    row_mm, column_mm = loop.spacing_mm
    zooms = (2 * column_mm, row_mm, 1.0)
    last = len(frames)
    write_nifti(folder / f"{folder.name}_{view}_half_sequence.nii.gz", joined, zooms)
    labels = masks[:, :, ::2]
    write_nifti(folder / f"{folder.name}_{view}_half_sequence_gt.nii.gz", labels, zooms)
    for phase, frame in (("ED", -1 if backwards else 0), ("ES", 0 if backwards else -1)):
        stem = f"{folder.name}_{view}_{phase}"
        write_nifti(folder / f"{stem}.nii.gz", joined[frame], zooms[:2])
        write_nifti(folder / f"{stem}_gt.nii.gz", labels[frame], zooms[:2])
    facts = {
        "ED": last if backwards else 1,
        "ES": 1 if backwards else last,
        "NbFrame": last,
        "Sex": patient.sex,
        "Age": patient.age_years,
        "ImageQuality": quality(patient),
        "EF": round(loop.ef_percent, 2),
        "FrameRate": round(1.0 / float(loop.times_s[1]), 4),
    }
    text = "".join(f"{key}: {value}\n" for key, value in facts.items())
    write_text(folder / f"Info_{view}.cfg", text)


def quality(patient: Patient) -> str:
    """Return the picture's grade by the noise and the shadows that were drawn."""
    faults = sum(
        (
            patient.scanner.noise_db > -50.0,
            patient.scanner.haze_db > -38.0,
            len(patient.scanner.shadows) > 1,
        )
    )
    return ("Good", "Medium", "Poor", "Poor")[faults]


def write_nifti(path: Path, pictures: NDArray[np.uint8], zooms: tuple[float, ...]) -> None:
    """Write ``([frames,] rows, columns)`` as NIfTI does: columns first, frames last."""
    image = nibabel.Nifti1Image(np.ascontiguousarray(pictures.T), np.eye(4))
    image.header.set_zooms(zooms)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
