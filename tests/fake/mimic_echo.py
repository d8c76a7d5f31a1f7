"""MIMIC-IV-ECHO: lists, measurements in gzip, files by subject and study; one study missing."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

from fake.dicoms import write_dicom
from fake.parts import Fake, write_csv

FILES = (
    ("10002221", "94106955", 1),
    ("10002221", "94106955", 2),
    ("10002221", "94222222", 1),
    ("10003333", "94333333", 1),
    ("10004444", "94444444", 1),  # its study was not copied
)
STILL = 1
STUDIES = (
    ("10002221", "94106955", "2180-07-02 10:00:00", "770001", "2180-07-02 11:30:00"),
    ("10002221", "94222222", "2181-01-02 10:00:00", "770002", "2181-01-20 11:30:00"),
    ("10003333", "94333333", "2150-03-01 08:00:00", "770003", "2150-03-01 09:00:00"),
    ("10004444", "94444444", "2150-03-01 08:00:00", "", ""),
)
MEASUREMENTS = (
    ("10002221", "770001", "lvef", "62.5", "%"),
    ("10002221", "770001", "height_cm", "171", "cm"),
    ("10002221", "770001", "gender", "F", ""),
    ("10002221", "770002", "lvef", "20", "%"),  # 18 days after the pictures
    ("10009999", "770003", "lvef", "61", "%"),  # another patient's
    ("10003333", "770003", "lvef", "35", "%"),
    ("10003333", "770003", "rv_function", "said, normal", ""),
)


def write(folder: Path) -> Fake:
    root = folder / "physionet.org" / "files" / "mimic-iv-echo" / "1.0"
    records = []
    for number, (subject, study, series) in enumerate(FILES):
        place = f"files/p{subject[:2]}/p{subject}/s{study}/{study}_{series:04d}.dcm"
        records.append([subject, study, "2180-07-02 10:00:00", place])
        if subject != "10004444":
            write_dicom(root / place, 100 + number, still=number == STILL)
    columns = ["subject_id", "study_id", "acquisition_datetime", "dicom_filepath"]
    write_csv(root / "echo-record-list.csv", columns, records)
    columns = ["subject_id", "study_id", "study_datetime", "measurement_id"]
    columns += ["measurement_datetime", "note_id", "note_seq", "note_charttime"]
    write_csv(root / "echo-study-list.csv", columns, [[*row, "", "", ""] for row in STUDIES])
    columns = ["subject_id", "measurement_id", "measurement_datetime", "test_type"]
    columns += ["measurement", "measurement_description", "result", "unit"]
    table = root / "structured-measurement.csv.gz"
    with gzip.open(table, "wt", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for subject, key, name, result, unit in MEASUREMENTS:
            writer.writerow(
                [subject, key, "2180-07-02 11:30:00", "tte", name, name, result, unit]
            )
    return Fake(
        root,
        clips=4,
        patients=2,
        refused=frozenset({2}),
        normal={1: True, 3: None, 4: False},
    )
