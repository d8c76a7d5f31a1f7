"""What ``doctor`` finds, and that it would find what is broken."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.pixels import get_decoder

from echocli.api import _decoders
from echocli.api import doctor as module
from echocli.api._decoders import RAMP, SYNTAXES, Syntax, dicom_bytes, fault_of
from echocli.api.doctor import Check, State, doctor, torchvision_for


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
    monkeypatch.setattr(module, "faults", lambda: fault)
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
    usage = module.shutil.disk_usage(tmp_path)._replace(free=int(free))
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: usage)
    assert by_name(doctor(tmp_path).checks)["free disk"].state is state


@pytest.mark.parametrize(
    ("torch", "expected"),
    [("2.0.1", "0.15.*"), ("2.8.0+cu128", "0.23.*"), ("2.13.0+cpu", "0.28.*")],
)
def test_the_torchvision_of_a_torch_release(torch: str, expected: str) -> None:
    assert torchvision_for(torch) == expected
