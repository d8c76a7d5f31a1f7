"""CAMUS: 500 patients, A2C and A4C, with the cavity, the wall and the atrium outlined.

Two layouts are about:

- NIfTI: ``database_nifti/patientNNNN/patientNNNN_{2CH,4CH}_half_sequence[_gt].nii.gz``, with
  outlines in every frame;
- MHD, older: ``{training,testing}/patientNNNN/patientNNNN_{2CH,4CH}_sequence.mhd`` with its
  ``.raw``, and outlines in ``..._{ED,ES}_gt.mhd`` alone.

Both have ``Info_{2CH,4CH}.cfg``. Labels: 1 cavity, 2 myocardium, 3 left atrium. Pixels need not
be square. There are two schemes of splits, which papers mix: the official
``subgroup_{training,validation,testing}.txt`` and ten folds,
``subGroup{n}_{training,validation,testing}.txt``.

Source:
    Leclerc et al., IEEE Transactions on Medical Imaging 38 (2019) 2198-2210.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echocli.clips.record import Label
from echocli.datasets._pictures import (
    at_rate,
    bare_loop,
    grey_of,
    read_metaimage,
    read_volume,
    sector_of,
)
from echocli.datasets._tables import SEXES, SPLITS, choose, number
from echocli.datasets.base import PROPOSAL, DatasetItem
from echocli.datasets.rules import NormalRule
from echocli.intake.guard import check_readable, foreign
from echocli.intake.loop import MIN_FRAMES, CineLoop
from echocli.intake.nifti import spacing
from echocli.intake.reasons import Reason, Refused

VIEWS = {"2CH": "A2C", "4CH": "A4C"}
PARTS = ("database_nifti", "training", "testing", "")
"""Folders of patients, below the root or the root itself."""
LISTS = ("", "database_split", "subgroups_CAMUS", "listSubGroups")
"""Folders of split lists, below the root or beside it."""

RULE = NormalRule(
    "camus_ef",
    "ef_percent >= 55 and quality != 'Poor'",
    "ef_percent < 45 and quality != 'Poor'",
    f"{PROPOSAL}; 45 to 54 and poor pictures left out",
)
EXPECTED = {"clips": 1_000, "patients": 500, "train": 800, "val": 100, "test": 100}


def recognise(folder: Path) -> bool:
    """Return whether patients' folders with ``Info_*.cfg`` lie in it or in its parts."""
    return next(_patients(folder), None) is not None


def _patients(folder: Path) -> Iterator[Path]:
    for part in PARTS:
        for patient in sorted((folder / part).glob("patient[0-9]*")):
            if any((patient / f"Info_{view}.cfg").is_file() for view in VIEWS):
                yield patient


def loops(folder: Path) -> Iterator[DatasetItem]:
    """List both views of each patient, in the patients' order, with the split that is told."""
    splits, folds = splits_of(folder)
    row = 0
    for patient in _patients(folder):
        for view in VIEWS:
            if not (patient / f"Info_{view}.cfg").is_file():
                continue
            row += 1
            nifti = patient / f"{patient.name}_{view}_half_sequence.nii.gz"
            older = patient / f"{patient.name}_{view}_sequence.mhd"
            yield DatasetItem(
                path=older if older.is_file() and not nifti.is_file() else nifti,
                reader=read,
                row=row,
                facts={"view": view},
                labels={
                    "dataset": "camus",
                    "view": VIEWS[view],
                    "split": splits.get(patient.name),
                    "fold": folds.get(patient.name),
                },
                patient=patient.name,
            )


def how_split(folder: Path) -> str:
    """Return which of the two schemes the lists in the folder follow."""
    lists = _lists(folder)
    if None in lists:
        return "the official subgroup_training, subgroup_validation and subgroup_testing"
    if lists:
        return f"fold {min(n for n in lists if n is not None)} of the ten subGroup folds"
    return (
        "by echocli's hash of the patient: neither official lists nor folds lie in the folder"
    )


def splits_of(folder: Path) -> tuple[dict[str, str], dict[str, int]]:
    """Return the split of each patient, and the one of ten folds that tests it."""
    lists = _lists(folder)
    folds = {
        patient: fold
        for fold, parts in lists.items()
        if fold is not None
        for patient, part in parts.items()
        if part == "test"
    }
    numbered = sorted(fold for fold in lists if fold is not None)
    used = lists.get(None) or (lists[numbered[0]] if numbered else {})
    return used, folds


def _lists(folder: Path) -> dict[int | None, dict[str, str]]:
    """Return the split of each patient by fold; the official lists are of no fold."""
    found: dict[int | None, dict[str, str]] = {}
    for root in (folder, folder.parent):
        for name in LISTS:
            for path in sorted((root / name).glob("sub[gG]roup*_*.txt")):
                parsed = re.fullmatch(r"subgroup(\d*)_(\w+)\.txt", path.name.lower())
                split = choose(parsed[2], SPLITS) if parsed else None
                if parsed and split:
                    fold = int(parsed[1]) if parsed[1] else None
                    names = path.read_text("utf-8", "replace").split()
                    found.setdefault(fold, {}).update(dict.fromkeys(names, split))
    return found


def read_info(path: Path) -> dict[str, str]:
    """Read ``key: value`` lines; none if the file is broken.

    Raises:
        Refused: If it is missing.
    """
    check_readable(path)
    with foreign(Reason.UNREADABLE):
        text = path.read_text("utf-8", "replace")
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs if value.strip()}


def read(path: Path, view: str) -> CineLoop:
    """Read one view of one patient, so that it runs from ED to ES.

    The frame numbers of ``Info_*.cfg`` count from 1, and ED may come after ES: then the
    sequence runs backwards in the file and is turned round, and the frame numbers with it.

    Args:
        path: The half sequence.
        view: 2CH or 4CH.

    Raises:
        Refused: If a file is missing or broken, or the sequence too short.
    """
    info = read_info(path.parent / f"Info_{view}.cfg")
    first, last = (int(number(info.get(key)) or 0) - 1 for key in ("ED", "ES"))
    older = path.suffix == ".mhd"
    frames, masks, mask_frames, scale = (_read_mhd if older else _read_nifti)(path, first, last)
    count = len(frames)
    if count < MIN_FRAMES:
        raise Refused(Reason.TOO_FEW_FRAMES)
    backwards = 0 <= last < first < count
    if backwards:
        frames, masks = frames[::-1], None if masks is None else masks[::-1]
        mask_frames = tuple(count - 1 - frame for frame in reversed(mask_frames))
        first, last = count - 1 - first, count - 1 - last
    labels = _labels(info)
    if 0 <= first < count and 0 <= last < count:
        labels["ed_frame"], labels["es_frame"] = first, last
    frames = np.ascontiguousarray(frames)
    loop = bare_loop(
        path,
        frames,
        spacing_mm=scale,
        spacing_source="dataset" if scale else "unknown",
        labels=labels,
        masks=None if masks is None else np.ascontiguousarray(masks),
        mask_frames=mask_frames,
        sector_known=sector_of(frames),
        notes=("turned_round",) if backwards else (),
    )
    return at_rate(loop, number(info.get("FrameRate")))


_Sequence = tuple[
    NDArray[np.uint8],
    NDArray[np.uint8] | None,
    tuple[int, ...],
    tuple[float, float] | None,
]
"""Frames, masks, which frames they belong to, ``(row_mm, column_mm)``."""


def _read_nifti(path: Path, first: int, last: int) -> _Sequence:
    volume, (column_mm, row_mm) = read_volume(path)
    frames = grey_of(volume.transpose(2, 1, 0))
    _, height, width = frames.shape
    scale = spacing(height, width, row_mm, column_mm)
    truth = path.with_name(path.name.replace(".nii.gz", "_gt.nii.gz"))
    if not truth.is_file():
        return frames, None, (), scale
    masks = _codes(read_volume(truth)[0].transpose(2, 1, 0), frames.shape)
    return frames, masks, tuple(range(len(frames))), scale


def _read_mhd(path: Path, first: int, last: int) -> _Sequence:
    frames, scale = read_metaimage(path)
    masks, marked = [], []
    for phase, frame in sorted((("ED", first), ("ES", last)), key=lambda pair: pair[1]):
        truth = path.with_name(path.name.replace("_sequence.mhd", f"_{phase}_gt.mhd"))
        if truth.is_file() and 0 <= frame < len(frames):
            mask, _ = read_metaimage(truth)
            masks.append(_codes(mask, (1, *frames.shape[1:]))[0])
            marked.append(frame)
    return frames, np.stack(masks) if masks else None, tuple(marked), scale


def _codes(masks: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    if masks.shape != shape:
        raise Refused(Reason.UNDECODABLE, "masks and frames differ in shape")
    return masks.astype(np.uint8)


def _labels(info: dict[str, str]) -> dict[str, Label]:
    return {
        "ef_percent": number(info.get("EF") or info.get("LVef")),
        "edv_ml": number(info.get("LVedv")),
        "esv_ml": number(info.get("LVesv")),
        "quality": info.get("ImageQuality"),
        "sex": choose(info.get("Sex"), SEXES),
        "age_years": number(info.get("Age")),
    }
