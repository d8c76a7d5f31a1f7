"""The wheel holds every file once and works outside the checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("setuptools", reason="building the wheel needs setuptools")
    folder = tmp_path_factory.mktemp("wheel")
    # From a copy of the tracked files: building in place would leave a build/ folder behind.
    source = folder / "source"
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if tracked.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, tracked.stdout.decode().split("\0")):
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink():
            target.symlink_to(os.readlink(ROOT / name))
        elif (ROOT / name).is_file():
            target.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_every_file_once_and_no_top_level_models(wheel: Path) -> None:
    names = [n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n]
    expected = {
        "echocli/" + str(path.relative_to(ROOT if folder == "models" else ROOT / folder))
        for folder in ("echocli", "models")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
        and path.suffix not in (".pyc",)
        and not path.is_relative_to(ROOT / "echocli/models")
    }
    assert len(names) == len(set(names))
    assert set(names) == expected


def test_the_installed_wheel_runs_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    subprocess.run([*command, str(target), str(wheel)], check=True, capture_output=True)
    code = "import echocli, echocli.models.vit as v; print(echocli.__file__, v.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(str(target)) == 2


def test_the_wheel_is_typed_and_says_what_it_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
        assert "echocli/py.typed" in names
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        text = opened.read(metadata).decode()
    assert "License-Expression: Apache-2.0" in text
    assert "Requires-Python: >=3.11" in text
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_ci_container_and_guides_use_the_versions_that_are_promised() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    classified = {line.split()[-1] for line in project["classifiers"] if ":: 3." in line}
    workflow = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    (matrix,) = re.findall(r"python: \[(.+)\]", workflow)
    assert set(matrix.replace('"', "").split(", ")) == classified
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pair = set(re.findall(r"^(torch|torchvision)==([\d.]+)", constraints, re.MULTILINE))
    assert "-c constraints.txt" in workflow
    for name in ("Containerfile", "docs/releasing.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert set(re.findall(r"\b(torch|torchvision)==([\d.]+)", text)) == pair, name
    assert "docs/howto/air-gapped.md" in (ROOT / "Containerfile").read_text(encoding="utf-8")
