"""No name, number, date or file name of a patient leaves: not in a file, not on the screen."""

from __future__ import annotations

import base64
import gzip
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from leaks import find_leaks
from scipy import ndimage

from echocli.datasets.phantom import (
    PhantomConfig,
    draw_patient,
    identifiers,
    write_dicom_study,
)
from echocli.errors import ExitCode
from echocli.intake.read import read_loop
from echocli.intake.sector import find_sector
from echocli.phantoms.screen import draw_screen

KEY = "5e" * 32
PATIENTS = 6  # one of each coding that write_dicom_study takes turns with


@dataclass(frozen=True)
class Archive:
    """A folder full of planted identifiers, in names of files and folders too."""

    folder: Path
    planted: list[str]
    key_file: Path


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    root = tmp_path_factory.mktemp("archive")
    patients = [draw_patient(11, index, PhantomConfig()) for index in range(PATIENTS)]
    planted = sorted({text for patient in patients for text in identifiers(patient)})
    files = write_dicom_study(root, patients, height=180, width=240)
    folder = root / f"{patients[0].identity.name}_{patients[0].identity.study_date}"
    (root / "dicom").rename(folder)
    files = [folder / path.name for path in files]
    whole = files[0].read_bytes()
    (folder / f"cut_{patients[1].identity.family}.dcm").write_bytes(whole[: len(whole) // 2])
    (folder / f"twin_{patients[2].identity.patient_id}").write_bytes(whole)
    (folder / f"letter_{patients[3].identity.accession}.bin").write_text(" ".join(planted))
    (root / "key").write_text(KEY)
    (root / "key").chmod(0o600)
    planted += [path.stem for path in folder.iterdir()] + [folder.name]
    return Archive(folder, planted, root / "key")


def echocli(archive: Archive, *words: str | Path) -> tuple[int, str, str]:
    environment = os.environ | {
        "ECHOCLI_KEY_FILE": str(archive.key_file),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "echocli", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200)
    return done.returncode, done.stdout, done.stderr


def test_preprocess_leaks_nothing(archive: Archive, tmp_path: Path) -> None:
    out = tmp_path / "clips"
    labels = archive.folder.parent / "labels.csv"
    options = ["--labels", labels, "--workers", "2", "--linkage", tmp_path / "who.csv"]
    code, stdout, stderr = echocli(archive, "preprocess", archive.folder, "-o", out, *options)
    assert code == ExitCode.PARTIAL, stderr
    assert f"{PATIENTS} clip(s) of {PATIENTS} patient(s), 3 refused" in stderr
    assert find_leaks([out, stdout, stderr], archive.planted) == []
    assert find_leaks([tmp_path / "who.csv"], archive.planted), "the linkage does identify"


def test_other_commands_and_errors_leak_nothing(archive: Archive, tmp_path: Path) -> None:
    bad = next(path for path in archive.folder.iterdir() if path.name.startswith("letter"))
    calls: list[list[str | Path]] = [
        ["inspect", archive.folder, "--json"],
        ["preprocess", bad, "-o", tmp_path / "none"],
        ["preprocess", archive.folder / "absent_Doe", "-o", tmp_path / "none"],
        ["preprocess", archive.folder, "-o", tmp_path / "some", "--max-fail", "1"],
    ]
    for words in calls:
        code, stdout, stderr = echocli(archive, *words)
        assert code in (ExitCode.DONE, ExitCode.INPUT, ExitCode.PARTIAL), stderr
        assert find_leaks([stdout, stderr], [*archive.planted, "absent_Doe"]) == [], words
    assert find_leaks([tmp_path], archive.planted) == []


def test_burned_in_text_is_black_and_the_scan_is_not(archive: Archive) -> None:
    for index in range(PATIENTS):
        patient = draw_patient(11, index, PhantomConfig())
        screen = draw_screen(patient, height=180, width=240)
        truth = screen.place(screen.loop.sector[None].astype(np.uint8))[0].astype(bool)
        path = next(archive.folder.glob(f"{patient.identity.accession}_*"))
        found = find_sector(read_loop(path)).mask
        # Texts, ruler and trace are all that is lit outside the true sector.
        drawn = screen.frames.max((0, 3)) * ~ndimage.binary_dilation(truth, iterations=2) > 0
        assert drawn.sum() > 500
        assert not (found & drawn).any()
        assert (found & truth).sum() > 0.9 * truth.sum()
        assert (found & ~truth).sum() < 0.05 * truth.sum()


@pytest.mark.parametrize(
    "disguise",
    [
        lambda text: text.encode(),
        lambda text: text.upper().encode(),
        lambda text: text.encode("utf-16-le"),
        lambda text: text[::-1].encode(),
        lambda text: text.encode().hex().upper().encode(),
        lambda text: base64.b64encode(b"a" + text.encode() + b"zz"),
        lambda text: base64.b64encode(b"ab" + text.encode() + b"z"),
        lambda text: gzip.compress(b"many words " + text.encode()),
    ],
)
def test_the_search_finds_disguises(disguise: object, tmp_path: Path) -> None:
    assert callable(disguise)
    content = disguise("Phantomsen^Quillonius")
    (tmp_path / "out").mkdir()
    packed = content[:2] == b"\x1f\x8b"
    (tmp_path / "out" / "file").write_bytes(content if packed else b"{" + content + b"}")
    assert find_leaks([tmp_path / "out"], ["Phantomsen^Quillonius"])
    assert not find_leaks([tmp_path / "out"], ["Nonesuchov^Mirabeldo"])


def test_the_search_looks_into_tables_and_names(tmp_path: Path) -> None:
    table = pa.table({"view": ["A4C"] * 999 + ["XACC123456789"], "n": list(range(1000))})
    pq.write_table(table, tmp_path / "part.parquet", compression="zstd")
    assert find_leaks([tmp_path], ["XACC123456789"])
    (tmp_path / "part.parquet").unlink()
    shutil.copy(__file__, tmp_path / "XACC123456789.py")
    assert find_leaks([tmp_path], ["XACC12345678"])
    assert not find_leaks([tmp_path], ["XACC98765"[::-1] + "4321"])
