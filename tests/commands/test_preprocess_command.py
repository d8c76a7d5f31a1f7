"""``echocli preprocess`` at the command line."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from echocli.clips.store import ClipSet
from echocli.datasets.phantom import PhantomConfig, draw_patient, write_dicom_study
from echocli.errors import ExitCode
from echocli.main import run

Ran = tuple[int, str, str]


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    patients = [draw_patient(6, index, PhantomConfig()) for index in range(2)]
    write_dicom_study(folder, patients, height=160, width=214)
    return folder


@pytest.fixture
def study(phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study folder with DICOM files and labels, as a user would lay it out."""
    folder = tmp_path / "study"
    shutil.copytree(phantoms / "dicom", folder / "dicom")
    shutil.copy(phantoms / "labels.csv", folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ECHOCLI_KEY_FILE", str(tmp_path / "key"))
    return folder


def call(capsys: pytest.CaptureFixture[str], *words: str) -> Ran:
    with pytest.raises(SystemExit) as ended:
        run(["preprocess", *words])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def test_without_arguments_it_reads_the_study_and_its_labels(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(capsys)
    assert (code, out) == (ExitCode.DONE, "clips\n")
    assert "labels.csv" in err
    assert "2 source(s): 2 clip(s) of 2 patient(s), 0 refused" in err
    assert "next: look at clips/audit.html" in err
    assert err.endswith("then `echocli pretrain --plan`\n")
    assert ClipSet.open(study / "clips").manifest["ef_percent"].notna().all()
    code, out, err = call(capsys)
    assert (code, out) == (ExitCode.DONE, "clips\n")
    assert "nothing to do" in err


def test_a_data_set_in_place_is_recognised(
    phantoms: Path, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(phantoms / "phantom.json", study)
    shutil.copytree(phantoms / "truth", study / "truth")
    code, _, err = call(capsys, "-o", "elsewhere")
    assert code == ExitCode.DONE
    assert "data set phantom" in err
    assert ClipSet.open(study / "elsewhere").masks(0) is not None


def test_refusals_are_counted_and_told_by_the_exit_code(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (study / "dicom" / "Doe_Jane.dcm").write_text("not an image at all, " * 30)
    code, out, err = call(capsys, "--json", "--size", "64")
    assert code == ExitCode.PARTIAL
    document = json.loads(out)
    assert document["schema"] == "echocli.preprocess/1"
    assert (document["n_clips"], document["n_sources"]) == (2, 3)
    assert [entry["reason"] for entry in document["quarantined"]] == ["not_an_image"]
    assert "Doe" not in out + err
    code, out, err = call(capsys, "--size", "64", "dicom")
    assert code == ExitCode.USAGE  # the labels are gone
    code, out, err = call(capsys, "--size", "64", "dicom", "--overwrite", "--fail-fast")
    assert code == ExitCode.INPUT
    assert len(ClipSet.open(study / "clips")) == 2


def test_nothing_usable_and_nothing_there(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (study / "Doe_Jane.txt").write_text("a letter")
    for words in (["Doe_Jane.txt"], ["Roe_Richard.dcm"]):
        code, out, err = call(capsys, *words)
        assert (code, out) == (ExitCode.INPUT, "")
        assert "fix:" in err
        assert "oe_" not in err
    assert "not_an_image" in (study / "clips/quarantine.csv").read_text()
    assert len(ClipSet.open(study / "clips")) == 0


def test_a_folder_without_sources_says_what_it_looks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = call(capsys)
    assert code == ExitCode.INPUT
    assert "dicom/" in err


def test_a_list_on_standard_input(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import io
    from types import SimpleNamespace

    names = "\0".join(str(path) for path in sorted((study / "dicom").iterdir()))
    stdin = SimpleNamespace(buffer=io.BytesIO(names.encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    code, out, err = call(capsys, "-", "-0", "-q")
    assert (code, out, err) == (ExitCode.DONE, "clips\n", "")


def multiply(folder: Path, copies: int) -> None:
    """Add patients: copies of one file that differ in a number."""
    import pydicom

    data = pydicom.dcmread(next(folder.iterdir()))
    for number in range(copies):
        data.PatientID = f"MANY{number:06d}"
        data.save_as(folder / f"copy{number:03d}")


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "echocli", "preprocess", *words],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)],
)
def test_a_wish_to_stop_keeps_what_is_done(
    study: Path, number: int, code: ExitCode, capsys: pytest.CaptureFixture[str]
) -> None:
    multiply(study / "dicom", 18)
    process = start("dicom", "--workers", "2")
    deadline = time.monotonic() + 60
    while not list(study.glob("clips/.writing*/part/.shard*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, number)  # as a terminal does: the workers get it, too
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "same command again" in err
    assert "Traceback" not in err
    done = len(ClipSet.open(study / "clips"))
    assert 0 < done < 20
    assert ClipSet.open(study / "clips").unfinished() == ["it is not finished"]
    again, _, err = call(capsys, "dicom")
    assert (again, len(ClipSet.open(study / "clips"))) == (ExitCode.DONE, 20), err
    assert ClipSet.open(study / "clips").unfinished() == []


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_killed_again_and_again_it_ends_as_if_never(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    multiply(study / "dicom", 10)
    shutil.copy(study / "dicom/copy003", study / "dicom/twin")
    (study / "dicom/letter").write_text("dear colleague, " * 30)
    moments = iter((0.2, 2.0, 3.5, 5.0))
    for wait in moments:
        process = start("dicom", "--workers", "1", "-o", "killed")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=wait)
        process.kill()
        process.communicate()
    for out in ("killed", "whole"):
        assert call(capsys, "dicom", "-o", out, "-q")[0] == ExitCode.PARTIAL
    killed, whole = ClipSet.open(study / "killed"), ClipSet.open(study / "whole")
    assert len(killed) == len(whole) == 12
    columns = ["clip_id", "patient_id", "split", "pixels_sha256", "times_s"]
    assert killed.manifest[columns].equals(whole.manifest[columns])
    assert killed.verify() == []
    lists = [(study / out / "quarantine.csv").read_text() for out in ("killed", "whole")]
    assert lists[0] == lists[1]
    assert not list((study / "killed").glob(".*"))


@pytest.mark.skipif(os.name != "posix", reason="limits are POSIX")
def test_a_full_disk_has_its_own_code_and_spoils_nothing(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import resource

    one = next((study / "dicom").iterdir())
    assert call(capsys, str(one))[0] == ExitCode.DONE
    before = {path: path.read_bytes() for path in study.glob("clips/**/*.u8")}
    multiply(study / "dicom", 3)
    process = subprocess.run(
        [sys.executable, "-m", "echocli", "preprocess", "dicom"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000)),
    )
    assert process.returncode == ExitCode.SPACE, process.stderr
    assert "disk is full" in process.stderr
    assert {path: path.read_bytes() for path in study.glob("clips/**/*.u8")} == before
    clips = ClipSet.open(study / "clips")
    assert (len(clips), clips.verify(), clips.unfinished()) == (1, [], ["it is not finished"])
    assert not list((study / "clips").glob(".*"))
    assert call(capsys, "dicom")[0] == ExitCode.DONE
    assert len(ClipSet.open(study / "clips")) == 5


def test_a_second_process_is_refused(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    multiply(study / "dicom", 6)
    process = start("dicom", "--workers", "1")
    deadline = time.monotonic() + 60
    while not (study / "clips/settings.json").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    code, _, err = call(capsys, "dicom")
    _, first = process.communicate(timeout=120)
    assert (code, process.returncode) == (ExitCode.USAGE, ExitCode.DONE), first
    assert "Another `echocli preprocess`" in err
    assert len(ClipSet.open(study / "clips")) == 8


def test_the_guard_refuses_with_its_own_code(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--linkage", "clips/who.csv"], ["--key-file", "clips/key"]):
        code, _, err = call(capsys, *words)
        assert code == ExitCode.PRIVACY
        assert "fix:" in err
    assert not (study / "clips").exists()
    code, _, err = call(capsys, "--linkage", "../who.csv")
    assert code == ExitCode.DONE
    assert "who is who" in err
