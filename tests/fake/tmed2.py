"""TMED-2: pictures, one table of labels, three folds of two sizes."""

from __future__ import annotations

from pathlib import Path

from fake.parts import Fake, loop, write_csv
from PIL import Image

BOTH, VIEWS = "view_and_diagnosis_labeled_set/labeled", "view_labeled_set/labeled"
PICTURES = (
    ("100s1_0.png", BOTH, "PLAX", "no_AS", ("train", "test", "train")),
    ("100s1_1.png", BOTH, "A4CorA2CorOther", "no_AS", ("train", "test", "train")),
    ("2701s2_3.png", BOTH, "PSAX", "severe_AS", ("val", "train", "test")),
    ("2702s1_0.png", BOTH, "A4C", "mild_AS", ("test", "train", "val")),
    ("4001s1_0.png", VIEWS, "A2C", "Not_Provided", ("train", "train", "train")),
)
COLUMNS = ["query_key", "SourceFolder", "view_label", "diagnosis_label"]
COLUMNS += ["view_classifier_split", "diagnosis_classifier_split"]


def write(folder: Path) -> Fake:
    root = folder / "TMED2" / "approved_users_only"
    for number, (name, source, *_) in enumerate(PICTURES):
        path = root / source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(loop(number)[0][number]).save(path)
    labels = [(key, view, diagnosis) for key, _, view, diagnosis, _ in PICTURES]
    write_csv(root / "labels_per_image.csv", [COLUMNS[0], *COLUMNS[2:4]], labels)
    for fold in range(3):
        rows = [
            [*facts, splits[fold], "not_used" if facts[1] == VIEWS else splits[fold]]
            for *facts, splits in PICTURES
        ]
        write_csv(root / "DEV479" / f"TMED2_fold{fold}_labeledpart.csv", COLUMNS, rows)
        write_csv(root / "DEV56" / f"TMED2_fold{fold}_labeledpart.csv", COLUMNS, rows[:1])
    return Fake(
        root,
        clips=5,
        patients=4,
        splits={"train": 3, "val": 1, "test": 1},
        normal={1: True, 3: False, 4: None, 5: None},
        notes={1: "still_repeated"},
    )
