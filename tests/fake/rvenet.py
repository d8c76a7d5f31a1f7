"""RVENet: DICOM files and a codebook."""

from __future__ import annotations

from pathlib import Path

from fake.dicoms import write_dicom
from fake.parts import Fake, write_csv

COLUMNS = ["FileName", "PatientGroup", "Age", "Sex", "UltrasoundSystem", "FPS", "NumFrames"]
COLUMNS += ["VideoViewType", "VideoOrientation", "VideoQuality", "RVEDV", "RVESV", "RVEF"]
COLUMNS += ["HR", "Split"]
FILES = (
    ("LH_0001_001", "healthy volunteer", "Stanford", 61.0, 66, "train"),
    ("LH_0001_002", "healthy volunteer", "Mayo", 61.0, 66, "train"),
    ("LH_0002_001", "heart transplant", "Stanford", 47.0, 80, "train"),
    ("PH_0003_001", "pulmonary hypertension", "Mayo", 33.0, 180, "validation"),
)


def write(folder: Path) -> Fake:
    root = folder / "RVENet"
    rows = []
    for number, (name, group, side, rvef, beats, split) in enumerate(FILES):
        write_dicom(root / "dicoms" / f"{name}.dcm", number)
        facts = [group, 33 + number, "F", "GE Vivid E95", 22, 20, "standard", side, 4]
        rows.append([name, *facts, 120.0, 60.0, rvef, beats, split])
    write_csv(root / "codebook.csv", COLUMNS, rows)
    return Fake(
        root,
        clips=4,
        patients=3,
        splits={"train": 3, "val": 1},
        normal={1: True, 3: None, 4: False},
        notes={2: "mirrored", 4: "excluded_by_authors"},
    )
