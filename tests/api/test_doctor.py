"""What ``doctor`` finds, and that it would find what is broken."""

from __future__ import annotations

import dataclasses
import json
import socket
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.pixels import get_decoder

from echocli.api import _decoders
from echocli.api._decoders import RAMP, SYNTAXES, Syntax, dicom_bytes, fault_of
from echocli.api._doctor import codecs, machine, software
from echocli.api._doctor.check import Check, State
from echocli.api._doctor.software import gpus, libraries, required, torchvision_for
from echocli.api.doctor import DoctorResult, doctor, write_bundle
from echocli.intake.decode import JPEG, READERS, VIDEO
from echocli.intake.dicom import NATIVE

ROOT = Path(__file__).parents[2]


def by_name(checks: tuple[Check, ...]) -> dict[str, Check]:
    assert len({check.name for check in checks}) == len(checks)
    return {check.name: check for check in checks}


@pytest.fixture(autouse=True)
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "settings" / "pseudonym.key"
    monkeypatch.setenv("ECHOCLI_KEY_FILE", str(path))
    return path


def test_this_machine_is_fit_and_was_looked_at_within_ten_seconds(tmp_path: Path) -> None:
    result = doctor(tmp_path)
    assert result.is_fit, [check for check in result.checks if check.state is State.FAIL]
    assert result.seconds < 10
    assert {f"DICOM {syntax.name}" for syntax in SYNTAXES} <= set(by_name(result.checks))
    assert list(tmp_path.iterdir()) == []


def test_every_transfer_syntax_that_is_read_is_tried() -> None:
    assert {syntax.uid for syntax in SYNTAXES} == {*NATIVE, *JPEG, *READERS, *VIDEO}


def test_whatever_is_not_ok_names_its_remedy(tmp_path: Path) -> None:
    for check in doctor(tmp_path).checks:
        assert (check.remedy == "") == (check.state is State.OK), check


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.uid)
def test_each_picture_is_a_dicom_file_of_its_transfer_syntax(
    syntax: Syntax, tmp_path: Path
) -> None:
    path = tmp_path / "picture.dcm"
    path.write_bytes(dicom_bytes(syntax))
    dataset = dcmread(path)
    assert dataset.file_meta.TransferSyntaxUID == syntax.uid
    assert fault_of(syntax, tmp_path) is None
    if can_judge(syntax):
        difference = np.abs(dataset.pixel_array.astype(int) - RAMP)
        assert difference.max() <= syntax.tolerance


def can_judge(syntax: Syntax) -> bool:
    """Return whether pydicom and its plugins, if installed, decode the same."""
    try:
        return bool(get_decoder(syntax.uid).is_available)
    except NotImplementedError:
        return False


@pytest.mark.parametrize("syntax", [s for s in SYNTAXES if s.stream])
def test_a_broken_stream_is_a_fault(syntax: Syntax, tmp_path: Path) -> None:
    broken = dataclasses.replace(syntax, stream=syntax.stream[: len(syntax.stream) // 8 * 4])
    assert fault_of(broken, tmp_path)


def test_another_picture_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {syntax.uid: dicom_bytes(syntax) for syntax in SYNTAXES}
    monkeypatch.setattr(_decoders, "dicom_bytes", lambda syntax: files[syntax.uid])
    monkeypatch.setattr(_decoders, "RAMP", RAMP[::-1])
    for syntax in SYNTAXES:
        assert fault_of(syntax, tmp_path) is not None


def test_a_missing_decoder_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = dict.fromkeys((syntax.uid for syntax in SYNTAXES), "no decoder")
    monkeypatch.setattr(codecs, "faults", lambda: fault)
    result = doctor(tmp_path)
    assert not result.is_fit
    checks = by_name(result.checks)
    for syntax in SYNTAXES:
        assert checks[f"DICOM {syntax.name}"].state is State.FAIL


def test_a_key_that_others_may_read_fails(tmp_path: Path, key_file: Path) -> None:
    assert by_name(doctor(tmp_path).checks)["pseudonym key"].state is State.OK
    key_file.parent.mkdir()
    key_file.write_text("00")
    key_file.chmod(0o640)
    check = by_name(doctor(tmp_path).checks)["pseudonym key"]
    assert check.state is State.FAIL
    assert check.remedy.startswith("chmod 600 ")
    key_file.chmod(0o600)
    assert by_name(doctor(tmp_path).checks)["pseudonym key"].state is State.OK


@pytest.mark.parametrize(
    ("free", "state"), [(0.5e9, State.FAIL), (5e9, State.WARN), (50e9, State.OK)]
)
def test_a_full_disk_is_told(
    free: float, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = machine.shutil.disk_usage(tmp_path)._replace(free=int(free))
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda folder: usage)
    assert by_name(doctor(tmp_path).checks)["free disk"].state is state


@pytest.mark.parametrize(
    ("torch", "expected"),
    [("2.0.1", "0.15.*"), ("2.8.0+cu128", "0.23.*"), ("2.13.0+cpu", "0.28.*")],
)
def test_the_torchvision_of_a_torch_release(torch: str, expected: str) -> None:
    assert torchvision_for(torch) == expected


def test_the_libraries_are_those_of_the_package_and_too_old_ones_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert len(required()) == len(project["dependencies"])
    assert {"torch": "2.8", "typer": "0.26", "pydicom": "3.0.2"}.items() <= required().items()
    assert all(check.state is State.OK for check in libraries())
    monkeypatch.setattr(software, "version", lambda name: "0.25.9")
    old = by_name(tuple(libraries()))["typer"]
    assert old.state is State.FAIL
    assert old.remedy == "pip install 'typer>=0.26'"


@pytest.mark.parametrize(
    ("driver", "built", "usable", "state", "said"),
    [
        (None, None, False, State.OK, ""),
        (None, "13.0", False, State.OK, ""),
        ("12.4", None, False, State.WARN, "Install torch for CUDA"),
        ("12.4", "13.0", False, State.WARN, "Update NVIDIA's driver to one for CUDA 13.0"),
        ("13.1", "13.0", False, State.WARN, "nvidia-smi"),
        ("13.1", "13.0", True, State.OK, ""),
    ],
)
def test_a_gpu_that_cannot_be_used_says_why(
    driver: str | None,
    built: str | None,
    usable: bool,
    state: State,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(software, "driver_version", lambda: driver)
    monkeypatch.setattr("torch.version.cuda", built)
    monkeypatch.setattr("torch.cuda.is_available", lambda: usable)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda index: "NVIDIA H100")
    (check,) = gpus()
    assert check.state is state
    assert said in check.remedy
    assert ("H100" in check.found) is usable


def test_neither_the_checks_nor_the_bundle_tell_whose_machine_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "Zzyzx-Clinic"
    folder.mkdir()
    (key := folder / "Quixano.key").write_text("00")
    key.chmod(0o644)
    monkeypatch.setenv("ECHOCLI_KEY_FILE", str(key))
    monkeypatch.setenv("USER", "Quixano")
    monkeypatch.setenv("ECHOCLI_OPTIM__LR", "Zzyzx-Clinic")
    monkeypatch.chdir(folder)
    result = doctor(folder)
    assert by_name(result.checks)["pseudonym key"].remedy == 'chmod 600 "$ECHOCLI_KEY_FILE"'
    write_bundle(result, tmp_path / "doctor.zip")
    with zipfile.ZipFile(tmp_path / "doctor.zip") as bundle:
        text = "".join(bundle.read(name).decode() for name in bundle.namelist())
        assert {info.date_time[0] for info in bundle.infolist()} == {1980}
    assert "ECHOCLI_OPTIM__LR" in text
    for word in ("Quixano", "Zzyzx", str(Path.home()), str(tmp_path), socket.gethostname()):
        assert word not in text.replace("\\/", "/")
    assert json.loads(text[text.index("{") :])["fit"] is result.is_fit


def test_a_group_with_less_memory_than_the_machine_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "allowed_memory", lambda: 2 * 10**9)
    check = by_name(tuple(machine.limits()))["memory"]
    assert check.state is State.WARN
    assert check.found.endswith("of which the control group allows 2.0")


def test_a_build_without_an_encoder_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_decoders, "can_encode", lambda name: name != "libx265")
    monkeypatch.setattr(codecs, "can_encode", lambda name: name != "libx265")
    checks = by_name((*codecs.transfer_syntaxes(), *codecs.videos()))
    assert DoctorResult(tuple(checks.values()), 0.0).is_fit
    untried = {name for name, check in checks.items() if check.found.startswith("not tried")}
    assert untried == {
        "DICOM HEVC Main Profile",
        "DICOM HEVC Main 10 Profile",
        "video MP4, HEVC",
    }
