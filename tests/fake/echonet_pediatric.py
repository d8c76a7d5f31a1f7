"""EchoNet-Pediatric: folds, two views, points with holes, nested as the archive unpacks."""

from __future__ import annotations

from pathlib import Path

from fake.parts import Fake, loop, outline, phases, write_avi, write_csv

A4C = (
    ("CR32a1-CR32ad-000021", 61.0, "F", "12", "40.5", "150", 0),
    ("CR32a2-CR32ae-000022", 45.0, "M", "", "", "", 8),
    ("CR32a3-CR32af-000023", 53.0, "M", "0", "3.2", "51", 9),
)
PSAX = (
    ("CR32a1-CR32ad-000031", 61.0, "F", "12", "40.5", "150", 9),  # another fold than in A4C
    ("CR32a4-CR32b0-000032", 66.0, "F", "17", "60", "171", 3),
)


def write(folder: Path) -> Fake:
    root = folder / "pediatric_echo_avi" / "pediatric_echo_avi"
    number = 40
    for view, videos in (("A4C", A4C), ("PSAX", PSAX)):
        files, points = [], []
        for name, *facts in videos:
            number += 1
            frames, masks = loop(number)
            write_avi(root / view / "Videos" / f"{name}.avi", frames)
            files.append([f"{name}.avi", *facts])
            ed, es = phases(masks)
            for frame in (ed, es):
                for x, y in outline(masks[frame], 24):
                    points.append([f"{name}.avi", x, y, frame])
            points.append([f"{name}.avi", "", "", frame])
        points.append([f"{videos[0][0]}.avi", "", "", "No Systolic"])
        columns = ["FileName", "EF", "Sex", "Age", "Weight", "Height", "Split"]
        write_csv(root / view / "FileList.csv", columns, files)
        write_csv(root / view / "VolumeTracings.csv", ["FileName", "X", "Y", "Frame"], points)
    return Fake(
        root,
        clips=5,
        patients=4,
        splits={"train": 3, "val": 1, "test": 1},
        normal={1: True, 2: False, 3: None},
    )
