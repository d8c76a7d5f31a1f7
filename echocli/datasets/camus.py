"""CAMUS: 500 patients, A2C and A4C, with the cavity, the wall and the atrium in every frame.

Layout: ``database_nifti/patientNNNN/patientNNNN_{2CH,4CH}_half_sequence[_gt].nii.gz``,
``Info_{2CH,4CH}.cfg``, ``database_split/subgroup_{training,validation,testing}.txt``. Labels: 1
cavity, 2 myocardium, 3 left atrium. Pixels need not be square.

Source:
    Leclerc et al., IEEE Transactions on Medical Imaging 38 (2019) 2198-2210.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echocli.clips.record import Label
from echocli.datasets.base import DatasetItem, number, sector_of
from echocli.files import sha256_of
from echocli.intake.loop import CineLoop
from echocli.intake.reasons import Reason, Refused

VIEWS = {"2CH": "A2C", "4CH": "A4C"}
SPLITS = {"training": "train", "validation": "val", "testing": "test"}
NORMAL_FROM, ABNORMAL_BELOW = 55.0, 45.0


def normal_rule(ef_percent: float, quality: str) -> bool | None:
    """Call an EF normal from 55 %, abnormal below 45 %, neither between or in a poor picture.

    The data set has no diagnosis; this is echocli's proposal, not the authors'.
    """
    if quality.lower() == "poor" or ABNORMAL_BELOW <= ef_percent < NORMAL_FROM:
        return None
    return ef_percent >= NORMAL_FROM


def recognise(folder: Path) -> bool:
    """Return whether patients' folders with ``Info_*.cfg`` lie in it or in its database."""
    return next(_patients(folder), None) is not None


def _patients(folder: Path) -> Iterator[Path]:
    database = folder / "database_nifti"
    root = database if database.is_dir() else folder
    for patient in sorted(root.glob("patient[0-9]*")):
        if any((patient / f"Info_{view}.cfg").is_file() for view in VIEWS):
            yield patient


def loops(folder: Path) -> Iterator[DatasetItem]:
    """List both views of each patient, in the patients' order, with the official split."""
    splits = official_split(folder)
    for patient in _patients(folder):
        for view in VIEWS:
            if (patient / f"Info_{view}.cfg").is_file():
                path = patient / f"{patient.name}_{view}_half_sequence.nii.gz"
                yield DatasetItem(path, read, {"view": view, "split": splits.get(patient.name)})


def official_split(folder: Path) -> dict[str, str]:
    """Return the part of each patient that the authors' lists name; empty without lists."""
    found = {}
    for root in (folder / "database_split", folder.parent / "database_split"):
        for name, split in SPLITS.items():
            path = root / f"subgroup_{name}.txt"
            if path.is_file():
                found.update(dict.fromkeys(path.read_text("utf-8").split(), split))
    return found


def read_info(path: Path) -> dict[str, str]:
    """Read ``key: value`` lines."""
    pairs = (line.partition(":") for line in path.read_text("utf-8").splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs if value.strip()}


def read(path: Path, view: str, split: str | None) -> CineLoop:
    """Read one view of one patient, so that it runs from ED to ES.

    The frame numbers of ``Info_*.cfg`` count from 1, and ED may come after ES: then the
    sequence runs backwards in the file and is turned round.

    Args:
        path: The half sequence.
        view: 2CH or 4CH.
        split: Part in the official lists.

    Raises:
        Refused: If a file is missing or broken.
    """
    info = read_info(path.parent / f"Info_{view}.cfg")
    frames, spacing = read_nifti(path)
    truth = path.with_name(path.name.replace(".nii.gz", "_gt.nii.gz"))
    masks = read_nifti(truth)[0] if truth.is_file() else None
    if masks is not None and masks.shape != frames.shape:
        raise Refused(Reason.UNDECODABLE, "masks and frames differ in shape")
    first, last = (int(number(info.get(key, "")) or 0) - 1 for key in ("ED", "ES"))
    if first > last:
        frames = frames[::-1]
        masks = None if masks is None else masks[::-1]
        first, last = len(frames) - 1 - first, len(frames) - 1 - last
    grey = np.clip(np.rint(frames), 0, 255).astype(np.uint8)
    rate = number(info.get("FrameRate", ""))
    labels: dict[str, Label] = _labels(info, view, split)
    if 0 <= first < len(grey) and 0 <= last < len(grey):
        labels["ed_frame"], labels["es_frame"] = first, last
    return CineLoop(
        frames=np.ascontiguousarray(grey),
        chroma=np.zeros(grey.shape[1:], np.uint8),
        times_s=np.arange(len(grey)) / rate if rate else None,
        time_source="dataset" if rate else "unknown",
        spacing_mm=spacing,
        spacing_source="dataset",
        region=None,
        patient_key=f"camus/{path.parent.name}",
        study_key=f"camus/{path.parent.name}",
        sha256=sha256_of(path),
        labels=labels,
        masks=None if masks is None else np.ascontiguousarray(masks.astype(np.uint8)),
        mask_frames=tuple(range(len(grey))) if masks is not None else (),
        sector_known=sector_of(grey),
    )


def _labels(info: dict[str, str], view: str, split: str | None) -> dict[str, Label]:
    quality = info.get("ImageQuality", "")
    ef = number(info.get("EF") or info.get("LVef", ""))
    return {
        "dataset": "camus",
        "view": VIEWS[view],
        "ef_percent": ef,
        "edv_ml": number(info.get("LVedv", "")),
        "esv_ml": number(info.get("LVesv", "")),
        "normal": None if ef is None else normal_rule(ef, quality),
        "quality": quality or None,
        "sex": info.get("Sex"),
        "age_years": number(info.get("Age", "")),
        "split": split,
    }


def read_nifti(path: Path) -> tuple[NDArray[Any], tuple[float, float]]:
    """Read ``(frames, rows, columns)`` and the height and width of a pixel in millimetres.

    NIfTI stores columns first.

    Raises:
        Refused: If the file is missing, broken or not a sequence.
    """
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    try:
        image = nibabel.load(path)
        volume = np.asanyarray(image.dataobj)
        zooms = [float(zoom) for zoom in image.header.get_zooms()]
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise Refused(Reason.UNREADABLE, "a NIfTI file is missing or broken") from error
    if volume.ndim == 4 and volume.shape[3] == 1:
        volume = volume[..., 0]
    if volume.ndim != 3:
        raise Refused(Reason.STILL)
    return volume.transpose(2, 1, 0), (zooms[1], zooms[0])
